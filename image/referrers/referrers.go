// Package referrers keeps which manifests refer to which: those that have another one as their
// subject (OCI image-spec, manifest.md), such as signatures, SBOMs and provenance. They belong to a digest, not
// to a name, and never change it.
//
//	refs := referrers.Open(root)
//	err := refs.Add(ctx, subject.Digest, desc) // desc is of a manifest that is in the store
//	list, err := refs.Of(ctx, subject.Digest)
//
// # On disk
//
//	referrers/<algorithm>/<hex of the subject>/<algorithm>-<hex of the referrer>   its descriptor, as JSON
//	referrers/.lock                                                                 flock: exclusive to write
//	referrers/.tmp                                                                  the file that is being written
//
// An entry is written aside, synced and renamed. The manifest that it names may be missing: whoever reads an entry
// looks. Garbage collection keeps what refers to what it keeps, and forgets the rest.
package referrers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

const (
	// Max is how many referrers one subject may have.
	Max = 4096
	// maxFile is the size of an entry in bytes.
	maxFile = 64 << 10
)

// Store is the list of a store at a root. Many processes and goroutines may use one at once.
type Store struct {
	dir string
}

// Open returns the list below root. Nothing is made until something is added.
func Open(root string) *Store { return &Store{dir: filepath.Join(root, "referrers")} }

// Add notes durably that the manifest desc refers to subject. What is known already is written again.
func (s *Store) Add(ctx context.Context, subject digest.Digest, desc ocispec.Descriptor) error {
	for _, d := range []digest.Digest{subject, desc.Digest} {
		if err := content.CheckDigest(d); err != nil {
			return fmt.Errorf("add referrer: %w", err)
		}
	}
	data, err := json.Marshal(desc)
	if err != nil {
		return fmt.Errorf("add referrer: %w", err)
	}
	if len(data) > maxFile {
		return errdefs.Limit("add referrer %s: its descriptor has %d bytes, more than %d", desc.Digest, len(data), maxFile)
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if have, err := s.Of(ctx, subject); err != nil {
		return err
	} else if len(have) >= Max && !slices.ContainsFunc(have, func(d ocispec.Descriptor) bool { return d.Digest == desc.Digest }) {
		return errdefs.Limit("add referrer: %s has %d already", subject, Max)
	}
	if err := s.write(s.of(subject), fileName(desc.Digest), data); err != nil {
		return errdefs.With(errdefs.ErrUnavailable, fmt.Errorf("add referrer of %s: %w", subject, err))
	}
	return nil
}

// Of returns the descriptors of what refers to subject, sorted by digest. Entries that cannot be read are left out.
func (s *Store) Of(ctx context.Context, subject digest.Digest) ([]ocispec.Descriptor, error) {
	if err := content.CheckDigest(subject); err != nil {
		return nil, fmt.Errorf("list referrers: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	names, err := list(s.of(subject))
	if err != nil {
		return nil, fmt.Errorf("list referrers of %s: %w", subject, err)
	}
	var out []ocispec.Descriptor
	for _, name := range names {
		if len(out) == Max {
			break
		}
		if d, ok := read(filepath.Join(s.of(subject), name), name); ok {
			out = append(out, d)
		}
	}
	return out, nil
}

// Walk calls fn for each subject that has an entry.
func (s *Store) Walk(ctx context.Context, fn func(subject digest.Digest) error) error {
	algorithms, err := list(s.dir)
	if err != nil {
		return fmt.Errorf("walk referrers: %w", err)
	}
	for _, a := range algorithms {
		subjects, err := list(filepath.Join(s.dir, a))
		if err != nil {
			return fmt.Errorf("walk referrers: %w", err)
		}
		for _, hex := range subjects {
			if err := ctx.Err(); err != nil {
				return err
			}
			d := digest.NewDigestFromEncoded(digest.Algorithm(a), hex)
			if content.CheckDigest(d) != nil {
				continue
			}
			if err := fn(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// Forget removes all entries of a subject.
func (s *Store) Forget(ctx context.Context, subject digest.Digest) error {
	if err := content.CheckDigest(subject); err != nil {
		return fmt.Errorf("forget referrers: %w", err)
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.RemoveAll(s.of(subject)); err != nil {
		return errdefs.With(errdefs.ErrUnavailable, fmt.Errorf("forget referrers: %w", err))
	}
	return nil
}

func (s *Store) of(subject digest.Digest) string {
	return filepath.Join(s.dir, subject.Algorithm().String(), subject.Encoded())
}

func fileName(d digest.Digest) string { return d.Algorithm().String() + "-" + d.Encoded() }

// read reads one entry; false when it is none.
func read(path, name string) (ocispec.Descriptor, bool) {
	var d ocispec.Descriptor
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return d, false
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil || len(data) > maxFile || json.Unmarshal(data, &d) != nil {
		return d, false
	}
	return d, content.CheckDigest(d.Digest) == nil && fileName(d.Digest) == name && d.MediaType != "" && d.Size >= 0
}

// list returns the names in a directory, sorted, without those that begin with a dot; none when it is not there.
func list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
