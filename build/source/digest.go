package source

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
	"os"
	"path"
	"runtime"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// Digest is the identity of what a copy takes: names, types, permissions, link
// targets and contents. Owners and times are not in it, nor where the tree lies.
func (t *Tree) Digest(ctx context.Context, matches []Match) (digest.Digest, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.hashFiles(ctx, matches); err != nil {
		return "", err
	}
	h := sha256.New()
	buf := make([]byte, 0, 64<<10)
	for _, m := range matches {
		buf = appendString(append(buf, 'M'), path.Base("/"+m.Name))
		err := t.Walk(ctx, m, func(rel string, e *Entry) error {
			buf = appendEntry(buf, rel, e)
			if len(buf) > 60<<10 {
				h.Write(buf)
				buf = buf[:0]
			}
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	h.Write(buf)
	return digest.NewDigest(digest.SHA256, h), nil
}

// List calls fn for each file that the matches take, in their order, with its path in the tree. The entry
// is the tree's. Digest was called with the same matches before.
func (t *Tree) List(ctx context.Context, matches []Match, fn func(name string, e *Entry) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range matches {
		if err := t.Walk(ctx, m, func(rel string, e *Entry) error { return fn(path.Join(m.Path, rel), e) }); err != nil {
			return err
		}
	}
	return nil
}

// appendEntry encodes an entry so that no two different ones have the same bytes.
func appendEntry(buf []byte, rel string, e *Entry) []byte {
	buf = appendString(buf, rel)
	buf = binary.BigEndian.AppendUint32(buf, e.Mode)
	switch e.Type() {
	case unix.S_IFREG:
		buf = append(buf, e.sha256[:]...)
	case unix.S_IFLNK:
		buf = appendString(buf, e.Link)
	case unix.S_IFCHR, unix.S_IFBLK:
		buf = binary.BigEndian.AppendUint32(buf, e.Major)
		buf = binary.BigEndian.AppendUint32(buf, e.Minor)
	}
	return buf
}

func appendString(buf []byte, s string) []byte {
	return append(binary.AppendUvarint(buf, uint64(len(s))), s...)
}

// pending is a file to be hashed.
type pending struct {
	path string
	e    *Entry
}

// hashFiles hashes the regular files of the matches that are not hashed yet and
// that the cache does not know.
func (t *Tree) hashFiles(ctx context.Context, matches []Match) error {
	var todo []pending
	for _, m := range matches {
		err := t.Walk(ctx, m, func(rel string, e *Entry) error {
			if e.Type() != unix.S_IFREG || e.hashed {
				return nil
			}
			if t.hashes.lookup(e) {
				return nil
			}
			todo = append(todo, pending{path.Join(m.Path, rel), e})
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := t.hashAll(ctx, todo); err != nil {
		return err
	}
	for _, p := range todo {
		t.hashes.add(p.e, t.opened)
	}
	return nil
}

func (t *Tree) hashAll(ctx context.Context, todo []pending) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan pending)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), max(len(todo), 1)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			h, buf := sha256.New(), make([]byte, 128<<10)
			for p := range next {
				if err := t.hashFile(p, h, buf); err != nil {
					cancel(err)
				}
			}
		}()
	}
	for _, p := range todo {
		if ctx.Err() != nil {
			break
		}
		next <- p
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

func (t *Tree) hashFile(p pending, h hash.Hash, buf []byte) error {
	f, err := t.File(p.path, p.e)
	if err != nil {
		return err
	}
	defer f.Close()
	h.Reset()
	// A plain Reader, so that the buffer is used.
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{f}, buf); err != nil {
		return classify(&os.PathError{Op: "read", Path: p.path, Err: err})
	}
	if err := t.Unchanged(f, p.e); err != nil {
		return err
	}
	h.Sum(p.e.sha256[:0])
	p.e.hashed = true
	return nil
}
