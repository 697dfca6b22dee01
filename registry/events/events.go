// Package events tells what changed in a registry: pushes, deletions, and moves of tags.
//
//	storage = events.Watch(storage, func(ctx context.Context, list []events.Event) error { ... })
//	r = r.WithContext(events.WithRequest(r.Context(), r)) // who asks is in the events
//
// A change is told after it was made and before its method returns. When telling fails the method fails, too: whoever made the change does
// it again, and it is told then. So what somebody was acknowledged was told, at least once.
package events

import (
	"context"
	"crypto/rand"
	"net/http"
	"time"

	"github.com/opencontainers/go-digest"
)

// Kind of an event.
type Kind string

// The kinds.
const (
	// Push: a manifest or an index was pushed, with its tags.
	Push Kind = "push"
	// Delete: a tag or a manifest was deleted.
	Delete Kind = "delete"
	// Rollback: a tag went back to what it was, or a deleted one came back.
	Rollback Kind = "rollback"
	// Tag: a tag was pointed to a manifest, by a push or otherwise.
	Tag Kind = "tag"
)

// Event is something that changed.
type Event struct {
	// ID is of this event alone.
	ID         string    `json:"id"`
	Time       time.Time `json:"time"`
	Kind       Kind      `json:"kind"`
	Repository string    `json:"repository"`
	// Digest, MediaType and Size are those of the manifest; of what was deleted they may be missing.
	Digest    digest.Digest `json:"digest,omitempty"`
	MediaType string        `json:"mediaType,omitempty"`
	Size      int64         `json:"size,omitempty"`
	// Tags that were moved or deleted; a Tag has one.
	Tags []string `json:"tags,omitempty"`
	// Before is what a tag pointed to, when that is known.
	Before digest.Digest `json:"before,omitempty"`
	// Subject and ArtifactType are those of a manifest that refers to another one.
	Subject      digest.Digest `json:"subject,omitempty"`
	ArtifactType string        `json:"artifactType,omitempty"`
	// Who made the change, "" for nobody in particular; Verb is what he did, as the tag's log has it.
	Who  string `json:"who,omitempty"`
	Verb string `json:"verb,omitempty"`
	// Request is zero for what the registry did by itself.
	Request Request `json:"request,omitzero"`
}

// Request is the request by which a change was made.
type Request struct {
	// ID is of this request alone.
	ID     string `json:"id,omitempty"`
	Addr   string `json:"addr,omitempty"`
	Host   string `json:"host,omitempty"`
	Method string `json:"method,omitempty"`
	Agent  string `json:"userAgent,omitempty"`
	// Base is the registry's URL, as the client called it.
	Base string `json:"base,omitempty"`
}

// requestKey is the key of a Request in a context.
type requestKey struct{}

// maxAgent bounds what a client says of itself.
const maxAgent = 256

// WithRequest returns a context with what events tell of a request.
func WithRequest(ctx context.Context, r *http.Request) context.Context {
	agent, base := r.UserAgent(), ""
	switch {
	case r.Host == "":
	case r.TLS != nil:
		base = "https://" + r.Host
	default:
		base = "http://" + r.Host
	}
	return context.WithValue(ctx, requestKey{}, Request{ID: NewID(), Addr: r.RemoteAddr, Host: r.Host, Method: r.Method, Agent: agent[:min(len(agent), maxAgent)], Base: base})
}

// requestOf is the request of a context; the zero Request without one.
func requestOf(ctx context.Context) Request {
	r, _ := ctx.Value(requestKey{}).(Request)
	return r
}

// NewID returns an ID: letters and digits that were not used before.
func NewID() string { return rand.Text() }
