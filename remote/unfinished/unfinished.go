// Package unfinished remembers in a directory where uploads go on that were cut off, for the processes that come later.
//
//	c := remote.New(remote.Options{Uploads: unfinished.Open(dir)})
//
// A file stands for the upload of one blob to one repository. It is under a flock while a process is at the upload, so that two never send to
// the same one, and it goes when the upload has ended. Nothing is synced, and all of it can be removed at any time: an upload that is not remembered begins anew.
package unfinished

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/camada/camada/internal/flock"
	"github.com/camada/camada/remote"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

const (
	// MaxAge is how long an upload is remembered: registries remove theirs after some days.
	MaxAge = 7 * 24 * time.Hour
	// maxFile bounds a file in bytes.
	maxFile = 16 << 10
)

// Dir is a directory of uploads. It is safe for use by many goroutines and processes.
type Dir struct{ path string }

var _ remote.Uploads = (*Dir)(nil)

// Open returns the directory, which is made when it is needed.
func Open(path string) *Dir { return &Dir{path} }

// entry is what a file has.
type entry struct {
	Repository string        `json:"repository"`
	Digest     digest.Digest `json:"digest"`
	Location   string        `json:"location"`
	Begun      time.Time     `json:"begun"`
}

// Open implements remote.Uploads.
func (d *Dir) Open(_ context.Context, repository string, dgst digest.Digest) remote.Note {
	path := filepath.Join(d.path, digest.FromString(repository+"@"+dgst.String()).Encoded())
	f := lock(path)
	if f == nil && os.MkdirAll(d.path, 0o700) == nil {
		f = lock(path)
	}
	if f == nil {
		return nil
	}
	n := &note{file: f, entry: entry{Repository: repository, Digest: dgst}}
	if e, ok := read(f); ok && e.Repository == repository && e.Digest == dgst && time.Since(e.Begun) < MaxAge {
		n.entry = e
	}
	return n
}

// lock opens a file, makes it when there is none, and takes the only lock on it. Nil when that cannot be.
func lock(path string) *os.File {
	for range 3 { // who ends an upload removes its file, and it may be this one
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil
		}
		ok, err := flock.TryExclusive(f)
		if err != nil || !ok {
			f.Close()
			return nil
		}
		have, err1 := f.Stat()
		now, err2 := os.Lstat(path)
		if err1 == nil && err2 == nil && os.SameFile(have, now) {
			return f
		}
		f.Close()
	}
	return nil
}

// read reads a file; false when it says nothing.
func read(f *os.File) (entry, bool) {
	var e entry
	data, err := io.ReadAll(io.NewSectionReader(f, 0, maxFile))
	if err != nil || json.Unmarshal(data, &e) != nil {
		return entry{}, false
	}
	return e, e.Location != ""
}

// note is a file that is locked.
type note struct {
	file  *os.File
	entry entry
}

// Location implements remote.Note.
func (n *note) Location() string { return n.entry.Location }

// Keep implements remote.Note.
func (n *note) Keep(location string) {
	if n.entry.Location == "" {
		n.entry.Begun = time.Now().UTC()
	}
	n.entry.Location = location
	data, err := json.Marshal(n.entry)
	if location == "" || err != nil || len(data) > maxFile {
		data = nil
	}
	// A write that is torn by a kill is no entry.
	if n.file.Truncate(0) == nil {
		_, _ = n.file.WriteAt(data, 0)
	}
}

// Close implements remote.Note.
func (n *note) Close() {
	if n.entry.Location == "" {
		_ = os.Remove(n.file.Name())
	}
	n.file.Close()
}

// Expire removes what was last written before the time given and that nobody is at, or only counts it for a dry run.
func (d *Dir) Expire(before time.Time, dryRun bool) (removed int, err error) {
	entries, err := os.ReadDir(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("remove old uploads: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || !info.ModTime().Before(before) {
			continue
		}
		f := lock(filepath.Join(d.path, e.Name()))
		if f == nil {
			continue
		}
		if removed++; !dryRun {
			err = os.Remove(f.Name())
		}
		f.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, fmt.Errorf("remove old uploads: %w", err)
		}
	}
	return removed, nil
}
