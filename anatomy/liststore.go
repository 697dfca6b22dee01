package anatomy

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/inventory/language"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// aside is how the name of a file begins that is being written.
const aside = "."

// toldFormat changes whenever what is kept of languages does, or how it is found.
const toldFormat = "5"

// ListStore keeps package lists in a directory: for each layer, by diffID, one tar of lists, what its files tell of languages as JSON, and a file for the functions of each of its programs. Many processes may use it. What it has
// can go at any time.
type ListStore struct{ dir string }

// OpenLists returns the lists in dir, which need not be there.
func OpenLists(dir string) *ListStore { return &ListStore{dir: dir} }

func (s *ListStore) path(diffID digest.Digest) (string, error) {
	if err := content.CheckDigest(diffID); err != nil {
		return "", fmt.Errorf("diffID: %w", err)
	}
	return filepath.Join(s.dir, diffID.Algorithm().String()+"-"+diffID.Encoded()+".tar"), nil
}

// Get implements Kept. What is damaged was not kept.
func (s *ListStore) Get(diffID digest.Digest) map[string][]byte {
	name, err := s.path(diffID)
	if err != nil {
		return nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	files := map[string][]byte{}
	r := tar.NewReader(io.LimitReader(f, 2*maxLists))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			now := time.Now()
			_ = os.Chtimes(name, now, now) // when it was last used, for Expire
			return files
		}
		if err != nil {
			return nil
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			return nil
		}
	}
}

// Put implements Kept. The file is written aside and not synced: a tar that was cut short has no end, and is as good as none.
func (s *ListStore) Put(diffID digest.Digest, files map[string][]byte) error {
	name, err := s.path(diffID)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, n := range slices.Sorted(maps.Keys(files)) {
		err := w.WriteHeader(&tar.Header{Name: n, Mode: 0o644, Size: int64(len(files[n])), Typeflag: tar.TypeReg})
		if err == nil {
			_, err = w.Write(files[n])
		}
		if err != nil {
			return fmt.Errorf("keep package lists: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("keep package lists: %w", err)
	}
	return keep(name, buf.Bytes())
}

func (s *ListStore) toldPath(diffID digest.Digest) (string, error) {
	name, err := s.path(diffID)
	return strings.TrimSuffix(name, ".tar") + ".languages" + toldFormat + ".json", err
}

// Told implements Kept. What is damaged was not kept.
func (s *ListStore) Told(diffID digest.Digest) *Told {
	name, err := s.toldPath(diffID)
	if err != nil {
		return nil
	}
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxLists {
		return nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	t := &Told{}
	if json.Unmarshal(data, t) != nil {
		return nil
	}
	for _, program := range t.Programs {
		if !s.HasFunctions(diffID, program) {
			return nil
		}
	}
	now := time.Now()
	_ = os.Chtimes(name, now, now)
	return t
}

func (s *ListStore) functionsPath(diffID digest.Digest, program string) (string, error) {
	name, err := s.path(diffID)
	return strings.TrimSuffix(name, ".tar") + "." + digest.FromString(program).Encoded()[:32] + ".functions" + toldFormat, err
}

// HasFunctions reports whether the functions of a program of Go are kept, by the path that it has in a layer, and keeps them on.
func (s *ListStore) HasFunctions(diffID digest.Digest, program string) bool {
	name, err := s.functionsPath(diffID, program)
	if err != nil {
		return false
	}
	now := time.Now()
	return os.Chtimes(name, now, now) == nil
}

// Functions returns what is kept of the functions of a program, where it lies: the caller calls done when it asks no more. It is nil when it is not there, or damaged.
func (s *ListStore) Functions(diffID digest.Digest, program string) (f *language.Functions, done func()) {
	name, err := s.functionsPath(diffID, program)
	if err != nil {
		return nil, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, nil
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 || info.Size() > maxLists {
		return nil, nil
	}
	data, err := unix.Mmap(int(file.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED) // it is replaced, and never written to
	if err != nil {
		return nil, nil
	}
	f = &language.Functions{}
	if f.UnmarshalBinary(data) != nil {
		_ = unix.Munmap(data)
		return nil, nil
	}
	return f, func() { _ = unix.Munmap(data) }
}

// PutTold implements Kept.
func (s *ListStore) PutTold(diffID digest.Digest, t *Told) error {
	name, err := s.toldPath(diffID)
	if err != nil {
		return err
	}
	for _, program := range slices.Sorted(maps.Keys(t.Functions)) {
		list, err := t.Functions[program].MarshalBinary()
		if err != nil {
			return fmt.Errorf("keep the functions of /%s: %w", program, err)
		}
		file, err := s.functionsPath(diffID, program)
		if err != nil {
			return err
		}
		if err := keep(file, list); err != nil {
			return err
		}
	}
	data, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("keep package lists: %w", err)
	}
	return keep(name, data)
}

// keep writes a file aside and gives it its name.
func keep(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("keep package lists: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(name), aside+"*")
	if err != nil {
		return fmt.Errorf("keep package lists: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("keep package lists: %w", err)
	}
	return nil
}

// Expire removes what was not used since before, and what killed processes left there. It returns how many bytes that were.
func (s *ListStore) Expire(before time.Time, dryRun bool) (bytes int64, err error) {
	list, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("expire package lists: %w", err)
	}
	for _, e := range list {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		limit := before
		if strings.HasPrefix(e.Name(), aside) {
			limit = time.Now().Add(-time.Hour)
		}
		if info.ModTime().After(limit) {
			continue
		}
		bytes += info.Size()
		if !dryRun {
			if err := os.Remove(filepath.Join(s.dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return bytes, fmt.Errorf("expire package lists: %w", err)
			}
		}
	}
	return bytes, nil
}
