package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/camada/camada/content"
	"github.com/opencontainers/go-digest"
)

const (
	// scanFormat changes whenever what is remembered, or how packages are found, does.
	scanFormat = "5"
	// maxScan is the size of what is remembered of an image, in bytes.
	maxScan = 256 << 20
	// renewed is how old the time of a file may be before a use renews it.
	renewed = time.Hour
)

// scanStore remembers what is in images, by the digest of the config: one file each. It can go at any time.
type scanStore struct{ dir string }

func (e *Engine) scans() *scanStore { return &scanStore{filepath.Join(e.root, "cache", "scans")} }

func (s *scanStore) path(id digest.Digest) (string, error) {
	if err := content.CheckDigest(id); err != nil {
		return "", fmt.Errorf("image ID: %w", err)
	}
	return filepath.Join(s.dir, scanFormat+"-"+id.Algorithm().String()+"-"+id.Encoded()), nil
}

// get is nil when nothing is remembered, or it is damaged.
func (s *scanStore) get(id digest.Digest) *scanned {
	name, err := s.path(id)
	if err != nil {
		return nil
	}
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxScan {
		return nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	out := &scanned{}
	if out.UnmarshalBinary(data) != nil {
		return nil
	}
	if now := time.Now(); now.Sub(info.ModTime()) > renewed {
		_ = os.Chtimes(name, now, now)
	}
	return out
}

// put writes aside, and does not sync: what was cut short has another checksum.
func (s *scanStore) put(id digest.Digest, what *scanned) error {
	name, err := s.path(id)
	if err != nil {
		return err
	}
	data, err := what.MarshalBinary()
	if err != nil {
		return err
	}
	if err := s.write(name, data); err != nil {
		return fmt.Errorf("remember what is in the image: %w", err)
	}
	return nil
}

// write writes a file aside, and does not sync it.
func (s *scanStore) write(name string, data []byte) error {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.dir, ".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	return err
}

// Expire removes what was not used since before, and what killed processes left.
func (s *scanStore) Expire(before time.Time, dryRun bool) (bytes int64, err error) {
	list, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("forget images: %w", err)
	}
	for _, f := range list {
		info, err := f.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		limit := before
		if strings.HasPrefix(f.Name(), ".") {
			limit = time.Now().Add(-time.Hour)
		}
		if info.ModTime().After(limit) {
			continue
		}
		bytes += info.Size()
		if !dryRun {
			if err := os.Remove(filepath.Join(s.dir, f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return bytes, fmt.Errorf("forget images: %w", err)
			}
		}
	}
	return bytes, nil
}
