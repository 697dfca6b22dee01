package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/local/kv"
	"github.com/opencontainers/go-digest"
)

// sweepContents removes bytes that are in no repository.
func (w *sweep) sweepContents(ctx context.Context) error {
	var batch []digest.Digest
	flush := func() error {
		err := w.removeContents(batch)
		batch = batch[:0]
		return err
	}
	users := w.beside(key{kindUser})
	defer users.stop()
	err := w.each(ctx, key{kindContent}, func(rest []byte, e kv.Entry) error {
		d, _, err := parseDigest(rest)
		if err != nil {
			return err
		}
		c, err := decodeStored(e)
		if err != nil {
			return err
		}
		n := -w.gone[d]
		err = users.at(rest, func([]byte) (bool, error) {
			n++
			return n <= 0, nil
		})
		if err != nil {
			return err
		}
		if n > 0 || c.at.After(w.cutoff) {
			w.report.Kept++
			w.report.KeptBytes += c.size
			return nil
		}
		if batch = append(batch, d); len(batch) < atOnce {
			return nil
		}
		return flush()
	})
	return errors.Join(err, flush())
}

// used reports whether bytes are in a repository, and in a dry run whether they still would be.
func (w *sweep) used(d digest.Digest) (bool, error) {
	prefix := key{kindUser}.digest(d)
	n := -w.gone[d]
	err := w.db.Scan(prefix, end(prefix), func(kv.Entry) error {
		if n++; n > 0 {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return n > 0, err
}

// removeContents removes bytes, when they are in no repository still.
func (w *sweep) removeContents(batch []digest.Digest) error {
	var paths []string
	seq, err := w.removeEntries(batch, &paths)
	if err != nil || len(paths) == 0 {
		return err
	}
	// An entry must not come back after its file went.
	if err := w.db.Sync(seq); err != nil {
		return err
	}
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return class("remove a blob", err)
		}
	}
	return nil
}

func (w *sweep) removeEntries(batch []digest.Digest, paths *[]string) (uint64, error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	var b kv.Batch
	for _, d := range batch {
		e, ok, err := w.db.Get(contentKey(d))
		if err != nil {
			return 0, err
		}
		if !ok {
			continue
		}
		c, err := decodeStored(e)
		if err != nil {
			return 0, err
		}
		if used, err := w.used(d); err != nil {
			return 0, err
		} else if used {
			w.report.Kept++
			w.report.KeptBytes += c.size
			continue
		}
		w.report.Blobs++
		w.report.Bytes += c.size
		if w.opts.DryRun {
			continue
		}
		b.Delete(e.Key)
		if c.file != "" {
			*paths = append(*paths, w.filePath(d, c.file))
		}
	}
	return w.db.Write(&b)
}

// sweepFiles removes files that no entry names: their process was killed between the two.
func (w *sweep) sweepFiles(ctx context.Context) error {
	return w.walkFiles(ctx, func(path string, d digest.Digest, file string) error {
		if w.opts.DryRun {
			return nil
		}
		_, err := w.removeStray(path, d, file)
		return err
	})
}

// removeStray removes a file when it is no blob's.
func (s *Store) removeStray(path string, d digest.Digest, file string) (bool, error) {
	stray, err := s.stray(path, d, file)
	if err != nil || !stray {
		return false, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, class("remove a stray file", err)
	}
	return true, nil
}

// stray reports whether a file is no blob's. Names of files are not used again, so what is stray stays so.
func (s *Store) stray(path string, d digest.Digest, file string) (bool, error) {
	if d == "" {
		return true, nil
	}
	// First whether it is being published: one that was is in the map then.
	if s.publishing.has(filepath.Base(path)) {
		return false, nil
	}
	c, _, err := s.content(d)
	if err != nil || c.file == file {
		return false, err
	}
	_, err = os.Lstat(path)
	return err == nil, nil
}

// walkFiles calls fn for each file among the blobs, with the digest and the end of its name; without a digest when it has no such name.
func (s *Store) walkFiles(ctx context.Context, fn func(path string, d digest.Digest, file string) error) error {
	root := filepath.Join(s.root, "blobs")
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return class("walk over the blobs", err)
		}
		if err := ctx.Err(); err != nil || e.IsDir() {
			return err
		}
		hex, file, _ := strings.Cut(e.Name(), "-")
		rel := strings.Split(strings.TrimPrefix(path, root+"/"), "/")
		d := digest.NewDigestFromEncoded(digest.Algorithm(rel[0]), hex)
		if len(rel) != 3 || content.CheckDigest(d) != nil || rel[1] != hex[:2] {
			d = ""
		}
		return fn(path, d, file)
	})
}

// lost is the error of bytes that should be there.
func lost(d digest.Digest) error { return errdefs.Corrupt("the bytes of %s are gone", d) }
