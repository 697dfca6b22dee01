package source

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"path"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// At returns what is at a path, which is no pattern; ErrNotFound when nothing is, or .dockerignore leaves it out.
func (t *Tree) At(ctx context.Context, name string) (Match, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, err := t.match(ctx, path.Join("/", name)[1:], "", Filter{})
	m.Name = "" // what is mounted has the name of its target
	return m, err
}

// Identity is Digest with owners and extended attributes, which a file of an image or a stage has.
func (t *Tree) Identity(ctx context.Context, m Match) (digest.Digest, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.hashFiles(ctx, []Match{m}); err != nil {
		return "", err
	}
	h := sha256.New()
	var buf []byte
	err := t.Walk(ctx, m, func(rel string, e *Entry) (err error) {
		buf, err = t.appendIdentity(buf[:0], path.Join(m.Path, rel), rel, e)
		h.Write(buf)
		return err
	})
	if err != nil {
		return "", err
	}
	return digest.NewDigest(digest.SHA256, h), nil
}

// appendIdentity encodes an entry, which is at name, with its owner and its extended attributes.
func (t *Tree) appendIdentity(buf []byte, name, rel string, e *Entry) ([]byte, error) {
	buf = appendEntry(buf, rel, e)
	buf = appendNumber(appendNumber(buf, e.UID), e.GID)
	attrs, err := t.Xattrs(name, e)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(attrs))
	for k := range attrs {
		names = append(names, k)
	}
	slices.Sort(names)
	buf = appendNumber(buf, uint32(len(names)))
	for _, k := range names {
		buf = appendString(appendString(buf, k), attrs[k])
	}
	return buf, nil
}

// CopyDigest is the identity of all that a copy from an image or a stage keeps of the matches: Identity with times, of which later ones
// than latest count as latest, and with hard links among the files. Of a directory that is copied only what is in it counts.
func (t *Tree) CopyDigest(ctx context.Context, matches []Match, latest time.Time) (digest.Digest, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.hashFiles(ctx, matches); err != nil {
		return "", err
	}
	type inode struct{ dev, ino uint64 }
	links := make(map[inode]uint64) // the first of the files that are one
	h := sha256.New()
	var buf []byte
	var n uint64
	for _, m := range matches {
		h.Write(appendString(append(buf[:0], 'M'), path.Base("/"+m.Name)))
		err := t.Walk(ctx, m, func(rel string, e *Entry) (err error) {
			n++
			if rel == "" && e.IsDir() {
				h.Write([]byte("D"))
				return nil
			}
			if buf, err = t.appendIdentity(buf[:0], path.Join(m.Path, rel), rel, e); err != nil {
				return err
			}
			first := n
			if e.Nlink > 1 && !e.IsDir() {
				if was, ok := links[inode{e.Dev, e.Ino}]; ok {
					first = was
				} else {
					links[inode{e.Dev, e.Ino}] = n
				}
			}
			buf = binary.AppendUvarint(buf, n-first)
			buf = binary.AppendVarint(buf, min(e.Mtime, latest.UnixNano()))
			h.Write(buf)
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	return digest.NewDigest(digest.SHA256, h), nil
}

func appendNumber(buf []byte, n uint32) []byte {
	return binary.BigEndian.AppendUint32(buf, n)
}
