// Package api speaks the HTTP of the OCI distribution-spec 1.1 over a registry.Storage.
//
//	h := api.New(storage, api.Options{})
//	server := &http.Server{Handler: h, ReadHeaderTimeout: 30 * time.Second}
//
// It knows no users and no rules: a Gate says who may do what, and without one everybody may do everything. It writes no
// log: what happened is told to Options.Done, and errors that are nobody's fault but the registry's to Options.Fault.
//
// Sections that comments name are those of the distribution-spec. HTTP statuses and the spec's error codes are chosen in errors.go.
package api

import (
	"context"
	"net/http"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/access"
)

// Gate lets people in.
type Gate interface {
	// Enter says who sends a request. ErrPermission means that his credentials are wrong, ErrLimit that he has to wait.
	Enter(r *http.Request) (Caller, error)
	// Challenge is the WWW-Authenticate of the answer to somebody who has to prove who he is before he does something in
	// a repository (RFC 9110, section 11.6.1). The repository is "" for what belongs to none.
	Challenge(r *http.Request, repository string, what access.Action) string
}

// Caller is somebody who sent a request.
type Caller interface {
	// Name is "" for somebody unknown.
	Name() string
	// May says whether he may do something in a repository; "" is the registry itself.
	May(repository string, what access.Action) access.Verdict
}

// Options of a Handler. The zero value is of use.
type Options struct {
	// Gate lets people in; nil lets everybody do everything.
	Gate Gate
	// Limiter bounds what callers do; nil does not.
	Limiter Limiter
	// Immutable says which tags never move once they are there; nil is none.
	Immutable func(repository, tag string) bool
	// MaxBlob is how big a blob may be, in bytes; 0 is DefaultMaxBlob.
	MaxBlob int64
	// Patience is how long a client may take to send or to take the next bytes; 0 is DefaultPatience.
	Patience time.Duration
	// Redirect sends clients to where blobs lie, when the storage can tell.
	Redirect bool
	// Admit says whether a manifest may be stored under a tag, or given to somebody; nil allows everything. What it refuses is ErrPermission.
	Admit func(ctx context.Context, o Object) error
	// Name says what a repository is called that a request names: ErrNotFound when it is none; nil leaves it as it is.
	Name func(r *http.Request, repository string) (string, error)
	// Quotas tells what repositories may hold, and Retain removes the tags that no rule keeps, and tells which; nil is without them.
	Quotas func(ctx context.Context) (any, error)
	Retain func(ctx context.Context, dryRun bool) (any, error)
	// Sweep are the options of a sweep that is asked for.
	Sweep registry.SweepOptions
	// More answers what is below /v2/_camada/registry/ besides sweep and scrub, by its name, to those who may look after the registry.
	More map[string]http.Handler
	// Done is told of each request after it was answered; nil drops it.
	Done func(Event)
	// Fault is told of errors that are not the client's; nil drops them.
	Fault func(error)
}

// Object is a manifest that somebody stores or fetches.
type Object struct {
	// Store is set when it is stored, else it is fetched.
	Store      bool
	Repository string
	// Tags are those that it gets, or that it was asked for by.
	Tags     []string
	Manifest registry.Manifest
	// Who is "" for somebody unknown.
	Who string
}

// The defaults of Options.
const (
	DefaultMaxBlob  = 256 << 30
	DefaultPatience = time.Minute
)

// Event is a request that was answered.
type Event struct {
	Time    time.Time
	Took    time.Duration
	Request *http.Request
	// Kind of the endpoint: "base", "manifest", "blob", "upload", "uploads", "tags", "catalog", "referrers", "history", "sweep", "scrub", "more", or "".
	Kind       string
	Repository string
	// Reference is a tag, a digest or the ID of an upload; "" when there is none.
	Reference string
	// Digest is that of the blob or manifest that was pushed, pulled or deleted.
	Digest string
	// Tags are those that were moved.
	Tags []string
	// Who sent it, "" for somebody unknown.
	Who    string
	Status int
	// Sent and Received are the bytes of the bodies.
	Sent, Received int64
}

// Handler is the http.Handler of a registry. It is safe for use by many goroutines.
type Handler struct {
	storage registry.Storage
	opts    Options
	origins *origins
}

// New returns a handler of what the storage has.
func New(storage registry.Storage, opts Options) *Handler {
	if opts.MaxBlob == 0 {
		opts.MaxBlob = DefaultMaxBlob
	}
	if opts.Patience == 0 {
		opts.Patience = DefaultPatience
	}
	return &Handler{storage: storage, opts: opts, origins: newOrigins()}
}

// call is one request and what is known of it.
type call struct {
	*Handler
	w *answer
	r *http.Request
	route
	caller Caller
	// digest and tags are what an Event tells.
	digest string
	tags   []string
}

// ServeHTTP answers a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := call{Handler: h, w: &answer{ResponseWriter: w}, r: r}
	var began time.Time
	if h.opts.Done != nil {
		began = time.Now()
	}
	c.serve()
	if h.opts.Done != nil {
		e := Event{Time: began, Took: time.Since(began), Request: r, Kind: c.kind.String(), Repository: c.repository, Reference: c.ref,
			Digest: c.digest, Tags: c.tags, Status: c.w.status, Sent: c.w.sent, Received: c.w.received}
		if c.caller != nil {
			e.Who = c.caller.Name()
		}
		h.opts.Done(e)
	}
}

// serve finds out what is asked for and by whom, and answers.
func (c *call) serve() {
	c.w.Header()["Docker-Distribution-Api-Version"] = apiVersion
	var err error
	if c.opts.Gate != nil {
		if c.caller, err = c.opts.Gate.Enter(c.r); err != nil {
			c.refuseEntry(err)
			return
		}
	}
	c.route, err = split(c.r.URL.Path)
	if err != nil {
		c.fail(codeName, err)
		return
	}
	if c.opts.Name != nil && c.repository != "" {
		if c.repository, err = c.opts.Name(c.r, c.repository); err != nil {
			c.fail(codeNameUnknown, err)
			return
		}
	}
	act := actionOf(c.kind, methodOf(c.r.Method))
	if act.do == nil {
		c.refuseMethod()
		return
	}
	if !c.allowed(c.repository, act.needs) {
		return
	}
	if c.opts.Limiter != nil {
		end, err := c.opts.Limiter.Begin(c.r, c.use(), c.w.Header())
		if err != nil {
			c.refuseEntry(err)
			return
		}
		defer end()
	}
	act.do(c)
}

// allowed asks the gate, and answers when it says no.
func (c *call) allowed(repository string, what access.Action) bool {
	if c.caller == nil || what == 0 {
		return true
	}
	switch c.caller.May(repository, what) {
	case access.Yes:
		return true
	case access.Ask:
		c.challenge(repository, what)
	default:
		c.fail(codeDenied, errdefs.Permission("you may not do this in %q", repository))
	}
	return false
}

// admit asks whether a manifest may be stored or fetched.
func (c *call) admit(store bool, tags []string, m registry.Manifest) error {
	if c.opts.Admit == nil {
		return nil
	}
	o := Object{Store: store, Repository: c.repository, Tags: tags, Manifest: m}
	if c.caller != nil {
		o.Who = c.caller.Name()
	}
	c.longer() // what has to be found out may take the registry a while
	return c.opts.Admit(c.r.Context(), o)
}

// may asks the gate without an answer to the client.
func (c *call) may(repository string, what access.Action) bool {
	return c.caller == nil || c.caller.May(repository, what) == access.Yes
}

// mover is who moves tags.
func (c *call) mover(verb string) registry.Mover {
	m := registry.Mover{Verb: verb}
	if c.caller != nil {
		m.Who = c.caller.Name()
	}
	return m
}
