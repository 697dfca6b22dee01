package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// Want is what a file must be.
type Want struct {
	Size   int64
	SHA256 string // hex, small letters
}

// Cache keeps files by their digest in <Dir>/sha256/<hex>. Many processes may
// use one directory.
type Cache struct {
	Dir    string
	Client *Client
}

// File opens a file that was checked against want, positioned at its beginning.
// It comes from the cache, or else from the first of the addresses that has it.
// progress, when not nil, is told how many bytes have come. cached tells whether
// nothing had to be fetched. An error of class ErrCorrupt means that what
// came was not what was promised; nothing of it is kept.
func (c Cache) File(ctx context.Context, urls []string, want Want, progress func(int64)) (f *os.File, cached bool, err error) {
	if b, err := hex.DecodeString(want.SHA256); err != nil || len(b) != sha256.Size {
		return nil, false, errdefs.Invalid("%q is no SHA-256", want.SHA256)
	}
	dir := filepath.Join(c.Dir, "sha256")
	name := filepath.Join(dir, want.SHA256)
	f, err = open(name, want)
	if err == nil {
		return f, true, nil
	}
	if !errors.Is(err, fs.ErrNotExist) && !errdefs.IsCorrupt(err) {
		return nil, false, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, false, fmt.Errorf("make cache: %w", err)
	}
	var failed []error
	for _, u := range urls {
		f, err := c.download(ctx, u, name, want, progress)
		if err == nil {
			return f, false, nil
		}
		failed = append(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, false, errors.Join(failed...)
}

// open opens a cached file and checks it; a wrong one is taken away.
func open(name string, want Want) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, want.Size+1))
	if err == nil && (n != want.Size || hex.EncodeToString(h.Sum(nil)) != want.SHA256) {
		err = errdefs.Corrupt("%s: not what its name says", name)
		_ = os.Remove(name)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read cache: %w", err)
	}
	return f, nil
}

// download gets one address into a file without a name that becomes name once
// it was checked.
func (c Cache) download(ctx context.Context, url, name string, want Want, progress func(int64)) (*os.File, error) {
	f, named, err := temporary(filepath.Dir(name))
	if err != nil {
		return nil, fmt.Errorf("write cache: %w", err)
	}
	drop := func(err error) (*os.File, error) {
		f.Close()
		if named {
			_ = os.Remove(f.Name())
		}
		return nil, err
	}
	err = c.Client.do(ctx, url, func(r io.Reader) error {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if err := f.Truncate(0); err != nil {
			return err
		}
		h := sha256.New()
		n, err := io.Copy(io.MultiWriter(f, h, &counter{tell: progress}), io.LimitReader(r, want.Size+1))
		if err != nil {
			return err
		}
		if n != want.Size {
			return errdefs.Corrupt("size is %s, the index says %d bytes", sizeText(n, want.Size), want.Size)
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != want.SHA256 {
			return errdefs.Corrupt("SHA-256 is %s, the index says %s", got, want.SHA256)
		}
		return nil
	})
	if err != nil {
		return drop(err)
	}
	if err := f.Chmod(0o644); err != nil {
		return drop(fmt.Errorf("write cache: %w", err))
	}
	if err := publish(f, named, name); err != nil {
		return drop(fmt.Errorf("write cache: %w", err))
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		f.Close()
		return nil, fmt.Errorf("read cache: %w", err)
	}
	return f, nil
}

// temporary makes a file in dir that has no name, so that nothing is left of it
// when the process is killed; or one with a name where the file system cannot.
func temporary(dir string) (f *os.File, named bool, err error) {
	if f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o644); err == nil {
		return f, false, nil
	}
	f, err = os.CreateTemp(dir, ".part-")
	return f, true, err
}

// publish gives a temporary file its name. When another process was quicker, its
// file, which it has checked as well, stays.
func publish(f *os.File, named bool, name string) error {
	if named {
		return os.Rename(f.Name(), name)
	}
	err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func sizeText(n, want int64) string {
	if n > want {
		return "larger"
	}
	return fmt.Sprintf("%d bytes", n)
}

type counter struct {
	n    int64
	tell func(int64)
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	if c.tell != nil {
		c.tell(c.n)
	}
	return len(p), nil
}
