package source

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"path"
	"slices"

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
	err := t.Walk(ctx, m, func(rel string, e *Entry) error {
		buf = appendEntry(buf[:0], rel, e)
		buf = appendNumber(appendNumber(buf, e.UID), e.GID)
		attrs, err := t.Xattrs(path.Join(m.Path, rel), e)
		if err != nil {
			return err
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
		h.Write(buf)
		return nil
	})
	if err != nil {
		return "", err
	}
	return digest.NewDigest(digest.SHA256, h), nil
}

func appendNumber(buf []byte, n uint32) []byte {
	return binary.BigEndian.AppendUint32(buf, n)
}
