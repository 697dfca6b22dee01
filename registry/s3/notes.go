package s3

import (
	"context"
	"fmt"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/s3/internal/object"
)

// noteKey is where a note is. Names are encoded as those of repositories, so that none is a folder of another.
func (s *Store) noteKey(name string) (string, error) {
	n, err := encodeName(name)
	return s.prefix + "n/" + n, err
}

// Note reads a note.
func (s *Store) Note(ctx context.Context, name string) ([]byte, string, error) {
	key, err := s.noteKey(name)
	if err != nil {
		return nil, "", err
	}
	c, err := s.find(ctx, key)
	if err == nil && (c == nil || c.State != live) {
		err = errdefs.NotFound("it is not there")
	}
	if err != nil {
		return nil, "", fmt.Errorf("note %s: %w", name, err)
	}
	return append([]byte{}, c.body...), c.etag, nil
}

// PutNote writes a note, or marks it as deleted: it may be written over then.
func (s *Store) PutNote(ctx context.Context, name string, data []byte, version string) error {
	key, err := s.noteKey(name)
	if err != nil {
		return err
	}
	if len(data) > registry.MaxNote {
		return errdefs.Limit("note %s: %d bytes, more than the limit of %d", name, len(data), registry.MaxNote)
	}
	h := head{State: live}
	if data == nil {
		h.State = deleted
	}
	var old *cell
	if version != "" {
		old = &cell{key: key, etag: version}
	} else if old, err = s.find(ctx, key); err == nil && old != nil && old.State == live {
		err = errdefs.Conflict("it is there already")
	}
	if err == nil && (version != "" || data != nil) {
		_, err = s.write(ctx, key, old, h, data)
	}
	if err != nil {
		return fmt.Errorf("note %s: %w", name, err)
	}
	return nil
}

// ListNotes lists notes.
func (s *Store) ListNotes(ctx context.Context, folder string) ([]string, error) {
	start, err := s.noteKey(folder + "/x")
	if err != nil {
		return nil, err
	}
	start = strings.TrimSuffix(start, "x!")
	var names []string
	err = s.o.List(ctx, object.ListOptions{Prefix: start}, func(e object.Entry) (bool, error) {
		if name := decodeName(strings.TrimPrefix(e.Key, s.prefix+"n/")); name != "" && isLive(e) {
			names = append(names, name)
		}
		return true, nil
	})
	return names, err
}
