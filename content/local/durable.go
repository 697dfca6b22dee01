package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// Sync makes blobs durable that were committed with NoSync: their bytes, then
// their names, and then their modes tell so. A durable blob costs one lstat.
func (s *Store) Sync(ctx context.Context, dgsts ...digest.Digest) error {
	var paths []string
	for _, d := range dgsts {
		if err := ctx.Err(); err != nil {
			return err
		}
		path, fi, err := s.find(ctx, d)
		if err != nil {
			return err
		}
		if fi.Mode() != durable {
			paths = append(paths, path)
		}
	}
	return syncBlobs(paths...)
}

// syncBlobs makes blobs durable. The mode comes last: it must never promise what
// is not on disk.
func syncBlobs(paths ...string) error {
	dirs := map[string]bool{}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return class("sync blob", err)
		}
		err = f.Sync()
		f.Close()
		if err != nil {
			return class("sync blob", err)
		}
		dirs[filepath.Dir(path)] = true
	}
	for dir := range dirs {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	for _, path := range paths {
		if err := os.Chmod(path, durable); err != nil {
			return class("sync blob", err)
		}
	}
	return nil
}

// settle decides on a blob that is not durable. One that was written since the machine
// started is whole, as long as the machine runs. Of an older one nothing
// is known: it is verified, and then made durable or removed (ErrNotFound).
func (s *Store) settle(d digest.Digest, path string, fi fs.FileInfo) error {
	if !fi.Mode().IsRegular() {
		return errdefs.Corrupt("blob %s: %s is not a regular file", d, path)
	}
	if fi.Mode() != unsettled || fi.ModTime().After(s.started()) {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return notFound(d, err)
	}
	defer f.Close()
	v, err := content.NewVerifyReader(f, ocispec.Descriptor{Digest: d, Size: -1})
	if err != nil {
		return err
	}
	switch _, err := io.Copy(io.Discard, v); {
	case errdefs.IsCorrupt(err):
		if err := os.Remove(path); err != nil {
			return notFound(d, err)
		}
		return errdefs.NotFound("blob %s was not whole after the machine had stopped; it is removed", d)
	case err != nil:
		return class("verify blob "+d.String(), err)
	}
	return syncBlobs(path)
}

// machineStart returns when the machine was started, a little late rather than early;
// the future when that is not known, so that nothing is believed.
func machineStart() time.Time {
	now := time.Now()
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return now.AddDate(100, 0, 0)
	}
	return now.Add(-time.Duration(up.Nano())).Add(time.Second)
}

// bootID tells one run of the machine from another; "" when it is not known.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return string(b[:min(len(b), 36)])
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return class("sync directory", err)
	}
	defer f.Close()
	// Some file systems cannot sync directories, and need not.
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return class("sync directory", err)
	}
	return nil
}

// makeDir makes a directory below the root durably, with its parents.
func makeDir(dir string) error {
	if _, err := os.Lstat(dir); err == nil {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return class(fmt.Sprintf("make directory %s", dir), err)
	}
	return syncDir(parent)
}
