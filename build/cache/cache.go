// Package cache remembers what the steps of builds made.
//
//	c := cache.Open(dir)
//	rec, err := c.Get(ctx, key, store, pins) // ErrNotFound: the step has to be executed
//	err = c.Put(key, rec)
//
// A Key says what decides a step's result: the definition of its operation, the
// content of what it reads, and the chainID of the layers that it starts from. It says
// nothing of how those layers came to be: a step whose parent was made again
// with the same bytes is found. A copy from another stage has two keys, see Result.Files.
//
//	<dir>/<digest of definition and inputs>/<chainID of the parent>
//
// A record is a small JSON file, replaced at once. It is trusted only while its blob
// is in the store, with the size that it had. Anything that cannot be read is the same
// as nothing. Records can be removed at any time.
package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/lease"
	"github.com/opencontainers/go-digest"
)

// maxRecord bounds the size of a record file in bytes: definitions can be long heredocs.
const maxRecord = 32 << 20

// noParent stands for the empty file system in paths.
const noParent = "scratch"

// Key names one step's result.
type Key struct {
	// Op is a digest over all but the parent; see NewKey.
	Op digest.Digest
	// Parent is the chainID of the layers below, "" for none.
	Parent digest.Digest
}

// NewKey makes a key of an operation's definition, the identities of its inputs besides
// the parent, and the parent's chainID.
func NewKey(definition string, inputs []string, parent digest.Digest) Key {
	data, err := json.Marshal(struct {
		Definition string
		Inputs     []string
	}{definition, inputs})
	if err != nil {
		panic(err) // strings can always be marshalled
	}
	return Key{Op: digest.FromBytes(data), Parent: parent}
}

// Result is what a step made.
type Result struct {
	// Layer is what the step made.
	Layer layer.Layer `json:"layer"`
	// ChainID is that of the layers with this one on top.
	ChainID digest.Digest `json:"chainID"`
	// Files is the digest of what a copy took from another stage or an image; "" when that is not known, and for other
	// steps. Such a result has two keys: one of all the layers that were copied from, and one of these files.
	Files digest.Digest `json:"files,omitempty"`
}

// Record is a step's result, and what it was made of.
type Record struct {
	Result
	// Definition and Inputs are what the key was made of, so that a later build
	// can say what is different.
	Definition string   `json:"definition"`
	Inputs     []string `json:"inputs,omitempty"`
}

// Cache is a directory of records. It may be used by many goroutines and processes.
type Cache struct {
	dir string
}

// Open returns the cache in dir, which need not be there.
func Open(dir string) *Cache { return &Cache{dir: dir} }

// Known reports whether there is a record for the operation with any parent.
// When not, it is of no use to wait for the parent's chainID.
func (c *Cache) Known(op digest.Digest) bool {
	entries, err := os.ReadDir(filepath.Join(c.dir, op.Encoded()))
	return err == nil && len(entries) > 0
}

// Has reports whether there is a record of a key, with or without its layer.
func (c *Cache) Has(key Key) bool {
	var rec Record
	data, err := readFile(c.path(key))
	return err == nil && json.Unmarshal(data, &rec) == nil && rec.check(key) == nil
}

// Get returns the record of a key if its layer is in the store still; ErrNotFound when
// not. The layer is pinned.
func (c *Cache) Get(ctx context.Context, key Key, store content.Statter, pins lease.Pinner) (Record, error) {
	var rec Record
	data, err := readFile(c.path(key))
	if err != nil {
		return rec, err
	}
	if err := json.Unmarshal(data, &rec); err != nil || rec.check(key) != nil {
		return Record{}, errdefs.NotFound("cache record %s is damaged", key.Op)
	}
	desc := rec.Layer.Descriptor
	if err := pins.Pin(ctx, lease.Blob(desc.Digest)); err != nil {
		return Record{}, err
	}
	info, err := store.Stat(ctx, desc.Digest)
	if err != nil {
		return Record{}, err
	}
	if info.Size != desc.Size {
		return Record{}, errdefs.NotFound("layer %s of cache record %s has another size", desc.Digest, key.Op)
	}
	c.Used(key)
	return rec, nil
}

// Used gives the record of a key the time of now: that of the file is when it was last used, for those who remove old ones. It is of
// use for the other key of a result.
func (c *Cache) Used(key Key) {
	now := time.Now()
	_ = os.Chtimes(c.path(key), now, now)
}

// check finds out whether a record belongs to its key.
func (r *Record) check(key Key) error {
	if NewKey(r.Definition, r.Inputs, key.Parent) != key {
		return errdefs.Corrupt("the record is of another key")
	}
	digests := []digest.Digest{r.Layer.Descriptor.Digest, r.Layer.DiffID, r.ChainID}
	if r.Files != "" {
		digests = append(digests, r.Files)
	}
	for _, d := range digests {
		if err := d.Validate(); err != nil {
			return errdefs.Corrupt("digest %q: %w", d, err)
		}
	}
	if want := ChainID(key.Parent, r.Layer.DiffID); r.ChainID != want {
		return errdefs.Corrupt("chainID %s, want %s", r.ChainID, want)
	}
	return nil
}

// Put stores the record of a key. The layer need not be durable yet: Get looks
// for it.
func (c *Cache) Put(key Key, rec Record) error {
	if err := rec.check(key); err != nil {
		return fmt.Errorf("cache record %s: %w", key.Op, err)
	}
	data, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("cache record %s: %w", key.Op, err)
	}
	path := c.path(key)
	const tries = 10 // a directory that is empty for a moment can be removed by Prune and Expire
	for range tries {
		if err = replace(path, data); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("cache record: %w", err)
	}
	return nil
}

// temporary ends the names of records that are being written.
const temporary = ".tmp"

func replace(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	// Two processes may write the same file: what they make unreadable is a miss.
	tmp := path + temporary
	err := os.WriteFile(tmp, data, 0o644)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
	}
	return err
}

// Prune removes the records whose layer is not in the store, and files that are no records.
func (c *Cache) Prune(ctx context.Context, store content.Statter) error {
	ops, err := os.ReadDir(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("prune build cache: %w", err)
	}
	for _, op := range ops {
		dir := filepath.Join(c.dir, op.Name())
		recs, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, r := range recs {
			if err := c.pruneOne(ctx, filepath.Join(dir, r.Name()), store); err != nil {
				return err
			}
		}
		os.Remove(dir) // fails when it is not empty
	}
	return nil
}

func (c *Cache) pruneOne(ctx context.Context, path string, store content.Statter) error {
	var rec Record
	data, err := readFile(path)
	if err == nil {
		err = json.Unmarshal(data, &rec)
	}
	if err == nil && !strings.HasSuffix(path, temporary) && rec.Layer.Descriptor.Digest.Validate() == nil {
		_, err = store.Stat(ctx, rec.Layer.Descriptor.Digest)
		if err == nil {
			return nil
		}
		if !errdefs.IsNotFound(err) {
			return fmt.Errorf("prune build cache: %w", err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("prune build cache: %w", err)
	}
	return nil
}

func (c *Cache) path(key Key) string {
	parent := noParent
	if key.Parent != "" {
		parent = key.Parent.Encoded()
	}
	return filepath.Join(c.dir, key.Op.Encoded(), parent)
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errdefs.NotFound("no cache record %s", path)
	}
	if err != nil {
		return nil, fmt.Errorf("cache record: %w", err)
	}
	if info.Size() > maxRecord || !info.Mode().IsRegular() {
		return nil, errdefs.NotFound("cache record %s is damaged", path)
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errdefs.NotFound("no cache record %s", path)
	}
	return data, err
}

// ChainID is the chainID of a layer on top of parent (OCI image-spec, config.md,
// "Layer ChainID"); parent is "" for none.
func ChainID(parent, diffID digest.Digest) digest.Digest {
	if parent == "" {
		return diffID
	}
	return digest.FromString(parent.String() + " " + diffID.String())
}
