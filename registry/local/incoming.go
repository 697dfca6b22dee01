package local

import (
	"bytes"
	"errors"
	"hash"
	"io"
	"os"

	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
)

// bufferSize is how much is read at once.
const bufferSize = 128 << 10

// incoming are bytes on their way in: in memory as long as they are few, then in a file.
type incoming struct {
	store *Store
	path  string // of the file, when there is one
	named bool   // the file has become that of a blob
	file  *os.File
	buf   []byte
	alg   digest.Algorithm
	hash  hash.Hash
	size  int64
}

func (s *Store) newIncoming(path string, alg digest.Algorithm) *incoming {
	return &incoming{store: s, path: path, alg: alg, hash: alg.Hash()}
}

// append stores what r has.
func (in *incoming) append(r io.Reader) (int64, error) {
	buf := in.store.buffers.Get().(*[]byte)
	defer in.store.buffers.Put(buf)
	var total int64
	for {
		n, err := r.Read(*buf)
		if n > 0 {
			n, werr := in.write((*buf)[:n])
			total += int64(n)
			if werr != nil {
				return total, werr
			}
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

func (in *incoming) write(p []byte) (int, error) {
	if in.file == nil && in.size+int64(len(p)) > inline {
		if err := in.spill(); err != nil {
			return 0, err
		}
	}
	n, err := len(p), error(nil)
	if in.file != nil {
		if err := in.store.db.Room(); err != nil {
			return 0, err
		}
		if n, err = in.file.WriteAt(p, in.size); err != nil {
			err = class("write an upload", err)
		}
	} else {
		in.buf = append(in.buf, p...)
	}
	in.hash.Write(p[:n])
	in.size += int64(n)
	return n, err
}

// spill moves the bytes from memory to the file.
func (in *incoming) spill() error {
	f, err := os.OpenFile(in.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return class("write an upload", err)
	}
	if _, err := f.Write(in.buf); err != nil {
		f.Close()
		os.Remove(in.path)
		return class("write an upload", err)
	}
	in.file, in.buf = f, nil
	return nil
}

// verify checks that the bytes are what d names.
func (in *incoming) verify(d digest.Digest) error {
	got := digest.NewDigest(in.alg, in.hash)
	if d.Algorithm() != in.alg {
		v := d.Verifier()
		var r io.Reader = bytes.NewReader(in.buf)
		if in.file != nil {
			r = io.NewSectionReader(in.file, 0, in.size)
		}
		if _, err := io.Copy(v, r); err != nil {
			return class("read an upload", err)
		}
		if v.Verified() {
			return nil
		}
	} else if got == d {
		return nil
	}
	return errdefs.Corrupt("%d bytes with digest %s came instead of %s", in.size, got, d)
}

// drop throws the bytes away, unless they have become a blob.
func (in *incoming) drop(published bool) {
	if in.file == nil {
		return
	}
	in.file.Close()
	in.file = nil
	if !published {
		os.Remove(in.path)
	}
}
