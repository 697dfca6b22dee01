package debian

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/base/debian/fetch"
	"github.com/camada/camada/base/debian/index"
	"github.com/camada/camada/base/debian/resolve"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/progress"
	"github.com/klauspost/compress/gzip"
	"github.com/mikelolasagasti/xz"
)

const (
	maxInRelease = 32 << 20
	maxPackages  = 2 << 30 // bytes of a Packages file
)

// archive is one suite of one archive.
type archive struct {
	uri        *url.URL
	suite      string
	components []string
	keyring    *index.Keyring
	// old is set when the Release may have run out, debian when its Origin must be Debian.
	old, debian bool
	release     *index.Release
}

func (a *archive) dists(elem ...string) string {
	return a.address(append([]string{"dists", a.suite}, elem...)...)
}

// address joins the archive's address and a path, and escapes what must be.
func (a *archive) address(elem ...string) string {
	u := *a.uri
	u.Path = path.Join(append([]string{"/", u.Path}, elem...)...)
	u.RawPath = ""
	return u.String()
}

// open gets the InRelease file and checks it.
func (a *archive) open(ctx context.Context, c *fetch.Client, now time.Time, snapshot time.Time) error {
	message, err := c.Get(ctx, a.dists("InRelease"), maxInRelease)
	if err != nil {
		return err
	}
	text, err := a.keyring.Open(message, now)
	if err != nil {
		return fmt.Errorf("verify %s: %w", a.dists("InRelease"), err)
	}
	if a.release, err = index.ParseRelease(text); err != nil {
		return err
	}
	if err := a.release.Check(a.suite, now, a.old); err != nil {
		return err
	}
	if !snapshot.IsZero() && a.release.Date.After(snapshot) {
		return errdefs.Corrupt("suite %s is of %s, which is after the time asked for", a.suite, a.release.Date.Format(time.RFC3339))
	}
	if a.debian && a.release.Origin != "Debian" {
		return errdefs.Invalid("the archive of apt's configuration is %s's, not Debian's: name one with --mirror, --suite and --keyring", a.release.Origin)
	}
	return nil
}

// load reads the archive's packages for arch into the pool.
func (a *archive) load(ctx context.Context, cache fetch.Cache, arch string, number int, pool *resolve.Pool, sink progress.Sink) error {
	if !slices.Contains(a.release.Architectures, arch) {
		return errdefs.NotFound("suite %s has no packages for %s", a.suite, arch)
	}
	for _, c := range a.components {
		f, err := a.release.Find(packagesPaths(c, arch)...)
		if err != nil {
			return err
		}
		if err := a.read(ctx, cache, f, number, pool, sink); err != nil {
			return err
		}
		// Where packages for all architectures have an index of their own.
		if f, err := a.release.Find(packagesPaths(c, "all")...); err == nil && a.release.SeparateAll() {
			if err := a.read(ctx, cache, f, number, pool, sink); err != nil {
				return err
			}
		}
	}
	return nil
}

// packagesPaths prefers gzip: it costs more bytes than xz, and much less time.
func packagesPaths(component, arch string) []string {
	p := component + "/binary-" + arch + "/Packages"
	return []string{p + ".gz", p + ".xz"}
}

func (a *archive) read(ctx context.Context, cache fetch.Cache, f index.File, number int, pool *resolve.Pool, sink progress.Sink) error {
	addresses := []string{a.dists(f.Path)}
	if a.release.ByHash {
		addresses = slices.Insert(addresses, 0, a.dists(path.Dir(f.Path), "by-hash", "SHA256", f.SHA256))
	}
	ev := progress.Event{ID: "index:" + f.SHA256, Name: a.suite + " " + path.Dir(f.Path), Total: f.Size}
	got, cached, err := cache.File(ctx, addresses, fetch.Want{Size: f.Size, SHA256: f.SHA256}, func(n int64) {
		ev.Current = n
		sink.Emit(ev)
	})
	if err != nil {
		return fmt.Errorf("packages of %s: %w", a.suite, err)
	}
	defer got.Close()
	var r io.Reader
	if path.Ext(f.Path) == ".gz" {
		r, err = gzip.NewReader(got)
	} else {
		r, err = xz.NewReader(got, 0)
	}
	if err != nil {
		return errdefs.Corrupt("packages of %s: %w", a.suite, err)
	}
	ahead, stop := readAhead(r)
	defer stop()
	limited := &io.LimitedReader{R: ahead, N: maxPackages}
	err = index.ReadPackages(limited, func(p index.Package) error {
		p.Archive = number
		return pool.Add(p)
	})
	if err == nil && limited.N == 0 {
		err = errdefs.Limit("more than %d bytes", int64(maxPackages))
	}
	if err != nil {
		return fmt.Errorf("packages of %s: %w", a.suite, err)
	}
	ev.State, ev.Current = progress.Done, f.Size
	if cached {
		ev.State = progress.Cached
	}
	sink.Emit(ev)
	return nil
}

// readAhead reads r in a goroutine of its own, so that decompressing and parsing
// go on side by side; stop ends it and waits for it.
func readAhead(r io.Reader) (ahead io.Reader, stop func()) {
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := io.CopyBuffer(pw, struct{ io.Reader }{r}, make([]byte, 128<<10))
		pw.CloseWithError(err)
	}()
	return bufio.NewReaderSize(pr, 256<<10), func() {
		pr.Close()
		<-done
	}
}

// source tells of the archive as apt's sources do.
func (a *archive) source() Source {
	u := *a.uri
	u.User = nil // not for everybody who gets the image
	return Source{URI: strings.TrimSuffix(u.String(), "/"), Suite: a.suite, Components: a.components, ValidUntil: !a.old}
}
