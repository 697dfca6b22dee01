package local

import (
	"bytes"
	"context"
	"crypto/rand"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/local/kv"
)

func noteKey(name string) key { return key{kindNote}.text(name) }

func checkNote(name string) error {
	if !reference.ValidRepository(name) {
		return errdefs.Invalid("%.300q is not the name of a note", name)
	}
	return nil
}

// note finds a note; false when there is none.
func (s *Store) note(name string) (e kv.Entry, version string, ok bool, err error) {
	if e, ok, err = s.db.Get(noteKey(name)); err != nil || !ok {
		return e, "", false, err
	}
	head := scanner{rest: e.Head}
	version = head.text()
	return e, version, true, head.err("a note")
}

// Note reads a note.
func (s *Store) Note(ctx context.Context, name string) ([]byte, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	if err := checkNote(name); err != nil {
		return nil, "", err
	}
	e, version, ok, err := s.note(name)
	if err == nil && !ok {
		err = errdefs.NotFound("there is no note %s", name)
	}
	if err == nil {
		err = s.db.Settle(e)
	}
	if err != nil {
		return nil, "", err
	}
	data, err := s.db.Body(e)
	return bytes.Clone(data), version, err
}

// PutNote writes or removes a note.
func (s *Store) PutNote(ctx context.Context, name string, data []byte, version string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkNote(name); err != nil {
		return err
	}
	if len(data) > registry.MaxNote {
		return errdefs.Limit("note %s: %d bytes, more than the limit of %d", name, len(data), registry.MaxNote)
	}
	// No repository's tag has such a name.
	unlock := s.tags.lock("note " + name)
	seq, err := s.putNote(name, data, version)
	unlock()
	if err != nil {
		return err
	}
	return s.db.Sync(seq)
}

func (s *Store) putNote(name string, data []byte, version string) (uint64, error) {
	_, now, _, err := s.note(name)
	if err != nil {
		return 0, err
	}
	if now != version {
		return 0, errdefs.Conflict("note %s was changed", name)
	}
	var b kv.Batch
	if data == nil {
		b.Delete(noteKey(name))
	} else {
		b.PutBody(noteKey(name), fields(nil).text(rand.Text()), data)
	}
	return s.db.Write(&b)
}

// ListNotes lists notes.
func (s *Store) ListNotes(ctx context.Context, folder string) ([]string, error) {
	names, err := s.list(ctx, noteKey(folder+"/"), "", -1)
	for i := range names {
		names[i] = folder + "/" + names[i]
	}
	return names, err
}
