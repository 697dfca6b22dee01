package layout

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
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// value is a ref's file.
type value struct {
	Descriptor ocispec.Descriptor `json:"descriptor"`
	Updated    time.Time          `json:"updated"`
	Immutable  bool               `json:"immutable,omitempty"`
}

// Get returns a ref. A reference with a digest and no tag finds a tag of its
// repository that points to the digest.
func (r *Refs) Get(ctx context.Context, ref reference.Reference) (image.Tag, error) {
	if err := ctx.Err(); err != nil {
		return image.Tag{}, err
	}
	r.heal()
	if ref.Tag == "" && ref.Digest != "" {
		return r.find(ref)
	}
	name, err := tagOf(ref)
	if err != nil {
		return image.Tag{}, err
	}
	v, err := r.read(name)
	if err != nil {
		return image.Tag{}, err
	}
	if ref.Digest != "" && v.Descriptor.Digest != ref.Digest {
		return image.Tag{}, errdefs.NotFound("%s points to %s, not to %s", name.Familiar(), v.Descriptor.Digest, ref.Digest)
	}
	return v.tag(name), nil
}

// find looks for a digest among the tags of one repository.
func (r *Refs) find(ref reference.Reference) (image.Tag, error) {
	name, err := tagOf(ref.WithTag(reference.DefaultTag))
	if err != nil {
		return image.Tag{}, err
	}
	file, _ := r.paths(name)
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return image.Tag{}, class("list tags of "+ref.FamiliarName(), err)
	}
	for _, e := range entries {
		if !reference.ValidTag(e.Name()) {
			continue
		}
		name.Tag = e.Name()
		v, err := r.read(name)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return image.Tag{}, err
		}
		if v.Descriptor.Digest == ref.Digest {
			return v.tag(name), nil
		}
	}
	return image.Tag{}, errdefs.NotFound("no tag of %s points to %s", ref.FamiliarName(), ref.Digest)
}

// List returns all refs as they are at one moment, sorted by name.
func (r *Refs) List(ctx context.Context) ([]image.Tag, error) {
	if _, err := os.Lstat(filepath.Join(r.root, "refs")); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	unlock, err := r.readLock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return r.list(ctx)
}

// list is List under the lock.
func (r *Refs) list(ctx context.Context) ([]image.Tag, error) {
	var tags []image.Tag
	err := r.each(ctx, "refs", func(ref reference.Reference) error {
		v, err := r.read(ref)
		if err != nil {
			return err
		}
		tags = append(tags, v.tag(ref))
		return nil
	})
	sortTags(tags)
	return tags, err
}

// listWhole is list under the exclusive lock: a file that cannot be read is made
// anew from its log, and left out when that cannot be done. One damaged file
// must not keep all others from moving.
func (r *Refs) listWhole() ([]image.Tag, error) {
	var tags []image.Tag
	// What a move began does not end with the caller's context.
	err := r.each(context.Background(), "refs", func(ref reference.Reference) error {
		v, err := r.read(ref)
		if errdefs.IsCorrupt(err) || errdefs.IsLimit(err) {
			log, lerr := r.openLog(ref)
			if lerr != nil {
				return nil
			}
			defer log.close()
			cur, rerr := r.replay(ref, log)
			if rerr != nil || cur == nil {
				return nil
			}
			v, err = *cur, nil
		}
		if err == nil {
			tags = append(tags, v.tag(ref))
		}
		return err
	})
	sortTags(tags)
	return tags, err
}

func sortTags(tags []image.Tag) {
	slices.SortFunc(tags, func(a, b image.Tag) int {
		return strings.Compare(a.Reference.String(), b.Reference.String())
	})
}

// each calls fn for every ref that has a file below kind, "refs" or "reflog".
// Files of other names are passed over; fsck tells of them.
func (r *Refs) each(ctx context.Context, kind string, fn func(reference.Reference) error) error {
	base := filepath.Join(r.root, kind)
	err := filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !d.Type().IsRegular() {
			return nil
		}
		if ref, ok := refOf(strings.TrimPrefix(path, base+"/")); ok {
			return fn(ref)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("walk %s: %w", kind, err)
	}
	return nil
}

// read reads a ref's file.
func (r *Refs) read(ref reference.Reference) (value, error) {
	file, _ := r.paths(ref)
	data, err := readBounded(file, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return value{}, errdefs.NotFound("no image is named %s", ref.Familiar())
	}
	if err != nil {
		return value{}, fmt.Errorf("read ref %s: %w", ref.Familiar(), err)
	}
	v, err := parseValue(data)
	if err != nil {
		return value{}, fmt.Errorf("read ref %s: %w", ref.Familiar(), err)
	}
	return v, nil
}

func parseValue(data []byte) (value, error) {
	var v value
	if err := json.Unmarshal(data, &v); err != nil {
		return value{}, errdefs.With(errdefs.ErrCorrupt, err)
	}
	if err := checkDescriptor(v.Descriptor); err != nil {
		return value{}, errdefs.With(errdefs.ErrCorrupt, err)
	}
	return v, nil
}

func (v value) tag(ref reference.Reference) image.Tag {
	return image.Tag{Reference: ref, Descriptor: v.Descriptor, Updated: v.Updated, Immutable: v.Immutable}
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return nil, class("open", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, class("read", err)
	}
	if int64(len(data)) > limit {
		return nil, errdefs.Limit("%s has more than %d bytes", path, limit)
	}
	return data, nil
}
