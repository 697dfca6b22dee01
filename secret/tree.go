package secret

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sync/errgroup"
)

// MaxTotal is how many secrets of a directory or an archive are told, and how many archives that were not looked into to their end.
const MaxTotal = 10000

// Summary is what was found in many files.
type Summary struct {
	// Findings are sorted by path and place.
	Findings []Finding
	// Files and Bytes are how much was read.
	Files int
	Bytes int64
	// More are files of which not all findings are told, Unread those that could not be read.
	More   []string `json:",omitempty"`
	Unread []string `json:",omitempty"`
	// Closed are archives that were not looked into to their end: see Result.
	Closed []string `json:",omitempty"`
	// Cut is set when there are more than MaxTotal findings, or of Closed.
	Cut bool `json:",omitempty"`
}

func (s *Summary) add(name string, n int64, res Result) {
	s.Files++
	s.Bytes += n
	switch {
	case !res.More:
	case len(s.Findings)+len(res.Findings) >= MaxTotal: // there was no room for what the file has
		s.Cut = true
	default:
		s.More = fitting(s, s.More, []string{name})
	}
	s.Closed = fitting(s, s.Closed, res.Closed)
	s.Findings = fitting(s, s.Findings, res.Findings)
}

// fitting puts behind a list of s what there is room for.
func fitting[T any](s *Summary, list, more []T) []T {
	if room := MaxTotal - len(list); len(more) > room {
		s.Cut = true
		more = more[:room]
	}
	return append(list, more...)
}

func (s *Summary) sort() {
	slices.SortStableFunc(s.Findings, func(a, b Finding) int { return strings.Compare(a.Path, b.Path) })
	slices.Sort(s.More)
	slices.Sort(s.Unread)
	slices.Sort(s.Closed)
}

// counted counts what is read.
type counted struct {
	io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// Tree looks into all regular files of a file system, and into archives. Those that cannot be read are in the summary.
func (s *Scanner) Tree(ctx context.Context, fsys fs.FS) (Summary, error) {
	var sum Summary
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	unread := func(name string) {
		mu.Lock()
		defer mu.Unlock()
		sum.Unread = append(sum.Unread, s.Mask(name))
	}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			if name == "." {
				return err
			}
			unread(name)
			return nil
		}
		if !d.Type().IsRegular() {
			return gctx.Err()
		}
		g.Go(func() error {
			f, err := fsys.Open(name)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // gone by now
			}
			if err != nil {
				unread(name)
				return nil
			}
			defer f.Close()
			c := &counted{Reader: f}
			res, err := s.File(gctx, c, name)
			if err != nil {
				if gctx.Err() != nil {
					return err
				}
				unread(name)
			}
			mu.Lock()
			defer mu.Unlock()
			sum.add(name, c.n, res)
			return nil
		})
		return nil
	})
	err = errors.Join(err, g.Wait())
	sum.sort()
	return sum, err
}

// Tar looks into all regular files of a tar, such as a layer, and into archives among them, and reads it to its end. A path that is in it more than once counts each time.
func (s *Scanner) Tar(ctx context.Context, r io.Reader) (Summary, error) {
	return s.tar(ctx, r, budget{maxLayerUnpacked, maxLayerMembers})
}

func (s *Scanner) tar(ctx context.Context, r io.Reader, left budget) (Summary, error) {
	var sum Summary
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			if ctx.Err() != nil {
				return sum, ctx.Err()
			}
			return sum, fmt.Errorf("look for secrets in a tar: %w", errdefs.Corrupt("malformed tar: %w", err))
		}
		d := left.dig(s)
		d.before = len(sum.Findings)
		content := d.content(tr, h)
		if content == nil {
			continue
		}
		name := path.Clean(strings.TrimLeft(h.Name, "/"))
		c := &counted{Reader: content}
		res, err := d.file(ctx, c, name)
		if err != nil {
			return sum, err
		}
		left.spend(d)
		sum.add(told(name), c.n, res)
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // its digest is checked at the end
		return sum, err
	}
	sum.sort()
	return sum, nil
}

// Version changes whenever other things may be found.
func Version() string {
	h := sha256.New()
	h.Write([]byte(codeVersion))
	h.Write(gitleaksRules)
	h.Write(ownRules)
	h.Write(serviceRules)
	return hex.EncodeToString(h.Sum(nil)[:6])
}

// codeVersion changes when the code finds other things with the same rules.
const codeVersion = "5"
