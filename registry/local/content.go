package local

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/local/kv"
	"github.com/opencontainers/go-digest"
)

// inline is up to how many bytes a blob lies in the map and not in a file.
const inline = 64 << 10

// stored is what is known of bytes: the value of a kindContent key.
type stored struct {
	size int64
	at   time.Time
	// file ends the name of the file; "" means that the bytes lie in the map.
	file string
	// damaged is set when the bytes were found to be others. They are as good as gone, and a push replaces them.
	damaged bool
	entry   kv.Entry
}

func (c stored) encode() []byte {
	var flags int64
	if c.damaged {
		flags = 1
	}
	return fields(nil).number(c.size).time(c.at).text(c.file).number(flags)
}

func decodeStored(e kv.Entry) (stored, error) {
	s := scanner{rest: e.Head}
	c := stored{size: s.number(), at: s.time(), file: s.text(), damaged: s.number() == 1, entry: e}
	if c.file != "" && !fs.ValidPath(c.file) || c.size < 0 || c.file == "" && c.size != e.BodySize {
		s.bad = true
	}
	return c, s.err("the entry of a blob")
}

// filePath is where the bytes lie.
func (s *Store) filePath(d digest.Digest, file string) string {
	return filepath.Join(s.root, "blobs", d.Algorithm().String(), d.Encoded()[:2], d.Encoded()+"-"+file)
}

// content looks for bytes, whatever repository they are in; false when there are none.
func (s *Store) content(d digest.Digest) (stored, bool, error) {
	e, ok, err := s.db.Get(contentKey(d))
	if !ok || err != nil {
		return stored{}, false, err
	}
	c, err := decodeStored(e)
	return c, err == nil && !c.damaged, err
}

// intact is content, for who would otherwise bring the bytes: a file that is gone or has another size does not count.
func (s *Store) intact(d digest.Digest) (stored, bool, error) {
	c, ok, err := s.content(d)
	if !ok || err != nil || c.file == "" {
		return c, ok, err
	}
	fi, err := os.Stat(s.filePath(d, c.file))
	if errors.Is(err, fs.ErrNotExist) {
		return c, false, nil
	}
	if err != nil {
		return c, false, class("look at a blob", err)
	}
	return c, fi.Size() == c.size, nil
}

// open opens bytes.
func (s *Store) open(d digest.Digest, c stored) (content.Reader, error) {
	if c.file == "" {
		b, err := s.db.Body(c.entry)
		if err != nil {
			return nil, err
		}
		return &bytesReader{bytes.NewReader(b)}, nil
	}
	f, err := os.Open(s.filePath(d, c.file))
	if errors.Is(err, fs.ErrNotExist) {
		if _, ok, err := s.db.Get(contentKey(d)); err != nil || !ok {
			return nil, errors.Join(errdefs.NotFound("blob %s was removed", d), err)
		}
		return nil, errdefs.Corrupt("blob %s: its file is gone", d)
	}
	if err != nil {
		return nil, class("open blob "+d.String(), err)
	}
	return &fileReader{File: f, size: c.size}, nil
}

type bytesReader struct{ *bytes.Reader }

func (bytesReader) Close() error { return nil }

// fileReader gives io.Copy the file itself, so that the kernel can send it.
type fileReader struct {
	*os.File
	size int64
}

func (r *fileReader) Size() int64 { return r.size }

// publish makes the bytes of in a blob of a repository, with more changes in the same step. When it fails in still has them.
func (s *Store) publish(ctx context.Context, repository string, d digest.Digest, in *incoming, more *kv.Batch) (content.Info, error) {
	if err := ctx.Err(); err != nil {
		return content.Info{}, err
	}
	seen, ok, err := s.intact(d)
	if err != nil {
		return content.Info{}, err
	}
	for {
		have, seq, err := s.publishOnce(repository, d, in, seen, ok, more)
		if errors.Is(err, errRemoved) {
			ok = false
			continue
		}
		if err != nil {
			return content.Info{}, err
		}
		return content.Info{Digest: d, Size: have.size, ModTime: have.at}, s.db.Sync(seq)
	}
}

// errRemoved says that bytes went that were there a moment before.
var errRemoved = errors.New("removed meanwhile")

// publishOnce does it when what was seen still is so.
func (s *Store) publishOnce(repository string, d digest.Digest, in *incoming, seen stored, ok bool, more *kv.Batch) (stored, uint64, error) {
	fresh := stored{size: in.size, at: s.now()}
	before := in.path
	if !ok && in.file != nil {
		var err error
		if fresh.file, err = s.nameFile(d, in); err != nil {
			return fresh, 0, err
		}
		defer s.publishing.remove(d.Encoded() + "-" + fresh.file)
		// Of two who come with the same bytes the second sees the entry of the first, and not each its own.
		defer s.named.lock(d.String())()
	}
	s.mutex.RLock()
	have, seq, err := s.link(repository, d, in, fresh, seen, ok, more)
	s.mutex.RUnlock()
	switch {
	case fresh.file == "":
	case err != nil:
		err = errors.Join(err, os.Rename(in.path, before))
		in.path = before
	default:
		in.named = true
	}
	if in.named && have.file != fresh.file {
		os.Remove(in.path) // another one was faster
	}
	return have, seq, err
}

// link writes the entries of a blob, with the mutex held, and returns what its bytes are now.
func (s *Store) link(repository string, d digest.Digest, in *incoming, fresh, seen stored, ok bool, more *kv.Batch) (stored, uint64, error) {
	have, there, err := s.content(d)
	if err != nil {
		return have, 0, err
	}
	b := *more
	if !there || !ok && have.file != "" && have.file == seen.file { // a file that is broken is replaced
		have = fresh
		switch {
		case in.file == nil:
			b.PutBody(contentKey(d), fresh.encode(), in.buf)
		case fresh.file == "":
			return have, 0, errRemoved
		default:
			b.Put(contentKey(d), fresh.encode())
		}
	}
	if err := s.addBlob(&b, repository, d); err != nil {
		return have, 0, err
	}
	seq, err := s.db.Write(&b)
	return have, seq, err
}

// addBlob adds what makes bytes a blob of a repository.
func (s *Store) addBlob(b *kv.Batch, repository string, d digest.Digest) error {
	now := fields(nil).time(s.now())
	if ok, err := s.has(repositoryKey(repository)); err != nil {
		return err
	} else if !ok {
		b.Put(repositoryKey(repository), now)
	}
	b.Put(blobKey(repository, d), now)
	b.Put(userKey(d, repository), nil)
	return nil
}

// nameFile syncs the file of in and gives it a name among the blobs. Until its entry is written it is noted as being published.
func (s *Store) nameFile(d digest.Digest, in *incoming) (string, error) {
	if err := in.file.Sync(); err != nil {
		return "", class("sync a blob", err)
	}
	file := rand.Text()[:13]
	path := s.filePath(d, file)
	for _, dir := range []string{filepath.Dir(filepath.Dir(path)), filepath.Dir(path)} {
		if err := makeDir(dir); err != nil {
			return "", class("make a directory", err)
		}
	}
	name, before := d.Encoded()+"-"+file, in.path
	s.publishing.add(name)
	err := os.Rename(before, path)
	if err == nil {
		in.path = path
		if err = syncDir(filepath.Dir(path)); err != nil {
			err = errors.Join(err, os.Rename(path, before))
			in.path = before
		}
	}
	if err != nil {
		s.publishing.remove(name)
		return "", class(fmt.Sprintf("name blob %s", d), err)
	}
	return file, nil
}
