package debian

import (
	"archive/tar"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/camada/camada/base/debian/deb"
	"github.com/camada/camada/base/debian/fetch"
	"github.com/camada/camada/base/debian/index"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/progress"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// downloads is how many files are fetched at once.
const downloads = 6

// unpacked is a package whose files lie in a spool.
type unpacked struct {
	pkg     *index.Package
	control *deb.Package
	items   []item
}

// item is one entry of a package's data archive.
type item struct {
	header tar.Header
	spool  *os.File
	offset int64
	md5    string // of a regular file, where it is needed
}

// Fetch gets the packages, checks them, and unpacks those of the core into
// temporary files. Close the Tree.
func (p *Plan) Fetch(ctx context.Context) (*Tree, error) {
	t := &Tree{plan: p, sink: p.opts.Progress}
	if err := p.fetch(ctx, t); err != nil {
		t.Close()
		return nil, err
	}
	t.Epoch = p.epoch(t)
	if err := t.merge(ctx); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// epoch is the time of the youngest package; but a package cannot be younger than
// the archive it is in.
func (p *Plan) epoch(t *Tree) time.Time {
	youngest := t.youngest
	if youngest.IsZero() || youngest.Unix() <= 0 || youngest.After(p.Released) {
		youngest = p.Released
	}
	return youngest.UTC().Truncate(time.Second)
}

type fetched struct {
	number int // of the core; -1 for an extra
	pkg    *index.Package
	file   *os.File
}

func (p *Plan) fetch(ctx context.Context, t *Tree) error {
	workers := min(runtime.GOMAXPROCS(0), 8)
	for range workers {
		spool, err := newSpool(p.opts.TempDir)
		if err != nil {
			return err
		}
		t.spools = append(t.spools, spool)
	}
	t.core = make([]*unpacked, len(p.core))
	times := make([]time.Time, len(p.core)+len(p.extra))
	sum := &tally{sink: p.opts.Progress, have: map[string]int64{},
		event: progress.Event{ID: "packages", Name: fmt.Sprintf("get and unpack %d packages", len(p.core)+len(p.extra)), Total: p.Download()}}
	g, gctx := errgroup.WithContext(ctx)
	work := make(chan fetched, len(p.core))
	g.Go(func() error {
		defer close(work)
		get, gctx := errgroup.WithContext(gctx)
		get.SetLimit(downloads)
		for i, q := range append(p.core[:len(p.core):len(p.core)], p.extra...) {
			get.Go(func() error {
				f, err := p.get(gctx, q, sum)
				if err != nil {
					return err
				}
				if i >= len(p.core) {
					times[i], err = timeOf(f)
					f.Close()
					return err
				}
				work <- fetched{i, q, f} // never blocks: there is room for all
				return nil
			})
		}
		return get.Wait()
	})
	for _, spool := range t.spools {
		g.Go(func() error {
			for f := range work {
				u, err := p.unpack(gctx, f, spool)
				f.file.Close()
				if err != nil {
					return fmt.Errorf("unpack package %s: %w", f.pkg.Name, err)
				}
				t.core[f.number], times[f.number] = u, u.control.Time
			}
			return nil
		})
	}
	err := g.Wait()
	sum.end(err)
	for f := range work {
		f.file.Close()
	}
	for _, at := range times {
		if at.After(t.youngest) {
			t.youngest = at
		}
	}
	return err
}

// newSpool makes a file without a name.
func newSpool(dir string) (*os.File, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	if f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600); err == nil {
		return f, nil
	}
	f, err := os.CreateTemp(dir, "camada-debian-")
	if err != nil {
		return nil, fmt.Errorf("make temporary file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("make temporary file: %w", err)
	}
	return f, nil
}

// tally adds up what has come of all packages, for one line of progress.
type tally struct {
	sink  progress.Sink
	mu    sync.Mutex
	have  map[string]int64
	event progress.Event
}

// at notes that n bytes of a package are there. A nil tally notes nothing.
func (t *tally) at(sha256 string, n int64) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.event.Current += n - t.have[sha256]
	t.have[sha256] = n
	t.sink.Emit(t.event)
}

func (t *tally) end(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.event.State, t.event.Err = progress.Done, err
	if err != nil {
		t.event.State = progress.Failed
	}
	t.sink.Emit(t.event)
}

// get opens the package's verified file.
func (p *Plan) get(ctx context.Context, q *index.Package, sum *tally) (*os.File, error) {
	f, _, err := p.cache.File(ctx, []string{p.repos[q.Archive].address(q.Filename)}, fetch.Want{Size: q.Size, SHA256: q.SHA256}, func(n int64) {
		sum.at(q.SHA256, n)
	})
	if err != nil {
		return nil, fmt.Errorf("get package %s: %w", q.Name, err)
	}
	sum.at(q.SHA256, q.Size)
	return f, nil
}

func timeOf(f *os.File) (time.Time, error) {
	d, err := deb.Open(f)
	if err != nil {
		return time.Time{}, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	return d.Time, nil
}

// unpack reads a package; the contents of its files go to the end of the spool.
func (p *Plan) unpack(ctx context.Context, f fetched, spool *os.File) (*unpacked, error) {
	d, err := deb.Open(f.file)
	if err != nil {
		return nil, err
	}
	q := f.pkg
	if c := d.Control; c.Get("Package") != q.Name || c.Get("Version") != q.Version || c.Get("Architecture") != q.Architecture {
		return nil, errdefs.Corrupt("it says that it is %s %s for %s", c.Get("Package"), c.Get("Version"), c.Get("Architecture"))
	}
	offset, err := spool.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	u := &unpacked{pkg: q, control: d}
	conffiles := conffileNames(d)
	sums := d.InfoData("md5sums") == nil
	buf := make([]byte, 256<<10)
	err = d.Files(func(h *tar.Header, content io.Reader) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		it := item{header: *h, spool: spool, offset: offset}
		if h.Typeflag == tar.TypeReg {
			w := io.Writer(spool)
			var sum hash.Hash
			if sums || conffiles[h.Name] {
				sum = md5.New()
				w = io.MultiWriter(spool, sum)
			}
			n, err := io.CopyBuffer(onlyWriter{w}, content, buf)
			if err != nil {
				return err
			}
			if sum != nil {
				it.md5 = hex.EncodeToString(sum.Sum(nil))
			}
			it.header.Size = n
			offset += n
		}
		u.items = append(u.items, it)
		return nil
	})
	return u, err
}

// onlyWriter hides a file's ReadFrom, so that the buffer is used.
type onlyWriter struct{ io.Writer }
