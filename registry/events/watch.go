package events

import (
	"context"
	"fmt"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/opencontainers/go-digest"
)

// Watch returns a storage that is the given one, and tells note of what changes through it. note is called by many goroutines.
func Watch(storage registry.Storage, note func(context.Context, []Event) error) registry.Storage {
	w := &watched{Storage: storage, note: note}
	if direct, ok := storage.(registry.Redirector); ok {
		return &watchedDirect{w, direct}
	}
	return w
}

type watched struct {
	registry.Storage
	note func(context.Context, []Event) error
}

// watchedDirect is watched over a Redirector.
type watchedDirect struct {
	*watched
	registry.Redirector
}

// PutManifest implements registry.Manifests.
func (w *watched) PutManifest(ctx context.Context, repository string, m registry.Manifest, opts registry.PutOptions) error {
	if err := w.Storage.PutManifest(ctx, repository, m, opts); err != nil {
		return err
	}
	e := begin(ctx, Push, repository, opts.Mover)
	e.Digest, e.MediaType, e.Size, e.Tags = m.Descriptor.Digest, m.Descriptor.MediaType, m.Descriptor.Size, opts.Tags
	e.Subject, e.ArtifactType = m.Subject, m.ArtifactType
	if len(opts.Tags) == 1 && opts.Expect != nil {
		e.Before = *opts.Expect
	}
	return w.tell(ctx, append([]Event{e}, tagged(e)...))
}

// tagged are the events of the tags of a push.
func tagged(e Event) []Event {
	var list []Event
	for _, t := range e.Tags {
		one := e
		one.ID, one.Kind, one.Tags = NewID(), Tag, []string{t}
		list = append(list, one)
	}
	return list
}

// MoveTag implements registry.Tags.
func (w *watched) MoveTag(ctx context.Context, repository, tag string, m registry.Move) error {
	var was digest.Digest
	if m.Expect != nil {
		was = *m.Expect
	} else if m.To == "" {
		if t, err := w.Tag(ctx, repository, tag); err == nil {
			was = t.Descriptor.Digest
		}
	}
	if err := w.Storage.MoveTag(ctx, repository, tag, m); err != nil {
		return err
	}
	e := begin(ctx, kindOf(m), repository, m.Mover)
	e.Tags, e.Before, e.Digest = []string{tag}, was, m.To
	if m.To == "" {
		e.Before, e.Digest = "", was
		return w.tell(ctx, []Event{e})
	}
	// The client may have gone; the tag has moved.
	if t, err := w.Tag(context.WithoutCancel(ctx), repository, tag); err == nil && t.Descriptor.Digest == m.To {
		e.MediaType, e.Size = t.Descriptor.MediaType, t.Descriptor.Size
	}
	list := []Event{e}
	if e.Kind == Push {
		list = append(list, tagged(e)...)
	}
	return w.tell(ctx, list)
}

// kindOf is the kind of a move.
func kindOf(m registry.Move) Kind {
	switch {
	case m.To == "":
		return Delete
	case m.Mover.Verb == "rollback", m.Mover.Verb == "restore":
		return Rollback
	case m.Mover.Verb == "push":
		return Push
	default:
		return Tag
	}
}

// DeleteManifest implements registry.Manifests.
func (w *watched) DeleteManifest(ctx context.Context, repository string, dgst digest.Digest, by registry.Mover) error {
	if err := w.Storage.DeleteManifest(ctx, repository, dgst, by); err != nil {
		return err
	}
	e := begin(ctx, Delete, repository, by)
	e.Digest = dgst
	return w.tell(ctx, []Event{e})
}

func begin(ctx context.Context, kind Kind, repository string, by registry.Mover) Event {
	return Event{ID: NewID(), Time: time.Now().UTC(), Kind: kind, Repository: repository, Who: by.Who, Verb: by.Verb, Request: requestOf(ctx)}
}

// tell tells of events, also when the client has gone meanwhile.
func (w *watched) tell(ctx context.Context, list []Event) error {
	if err := w.note(context.WithoutCancel(ctx), list); err != nil {
		return errdefs.With(errdefs.ErrUnavailable, fmt.Errorf("note what changed in %s: %w", list[0].Repository, err))
	}
	return nil
}
