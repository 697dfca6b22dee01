package remote

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Uploads remembers where uploads go on, so that a later process goes on with one that a former one could not end.
type Uploads interface {
	// Open returns what is remembered of the upload of a blob to a repository ("host/name"), and keeps others from it until it is closed. Nil
	// when another one is at it, or nothing can be remembered.
	Open(ctx context.Context, repository string, d digest.Digest) Note
}

// Note is what is remembered of one upload.
type Note interface {
	// Location is where it goes on; "" when nothing is remembered.
	Location() string
	// Keep remembers a location, and forgets it when it is "". A location that cannot be kept is none.
	Keep(location string)
	// Close lets others at it.
	Close()
}

const (
	// worthNoting is how big a blob is of whose upload something is remembered, in bytes.
	worthNoting = 1 << 20
	// minPiece is where making pieces smaller ends, in bytes: such bodies every server takes.
	minPiece = 512 << 10
	// maxPiece bounds what a registry may want as the least size of a piece.
	maxPiece = 1 << 30
)

// upload is a blob on its way into a repository.
type upload struct {
	r    *Repository
	desc ocispec.Descriptor
	from *source
	// note is where to remember it; nil is nowhere.
	note Note
	// at is where it goes on, nil before it has begun; have is how many bytes the registry has. old is set when that has to be asked.
	at   *url.URL
	have int64
	old  bool
	// piece is how many bytes one request has; 0 is all. least is what the registry wants at least.
	piece, least int64
	// resumed is set when bytes of an earlier request count.
	resumed bool
}

// PutBlob uploads a blob from src, whether it is there or not. What breaks goes on where the registry says that it stopped, also what an earlier
// process began (Options.Uploads). A blob goes as one stream; in pieces when the registry tells how big they have to be, when it or
// something before it does not take a body of that size, and when long streams break again and again.
func (r *Repository) PutBlob(ctx context.Context, src content.Provider, desc ocispec.Descriptor) error {
	u := &upload{r: r, desc: desc, from: &source{src: src, desc: desc}, piece: r.c.opts.ChunkSize}
	if n := r.c.opts.Uploads; n != nil && desc.Size >= worthNoting {
		if u.note = n.Open(ctx, r.Name(), desc.Digest); u.note != nil {
			defer u.note.Close()
			u.recall()
		}
	}
	p := patience{tries: r.c.opts.Tries}
	for {
		had := u.have
		err := u.attempt(ctx)
		if err == nil {
			u.keep(nil)
			return nil
		}
		if ctx.Err() != nil || u.from.failed() != nil && !errdefs.IsUnavailable(err) || !u.another(err) {
			return err
		}
		if u.have > had {
			p.failed = 0
		}
		if err := r.c.wait(ctx, &p, r.Host(), err); err != nil {
			return err
		}
		if p.failed > 1 && u.piece == 0 && u.desc.Size > r.c.tuning.piece && u.from.failed() == nil {
			u.shrink() // a long stream does not get through, nor does the registry keep what came of it
		}
	}
}

// another reports whether there is another way after an error, and chooses it.
func (u *upload) another(err error) bool {
	u.old = u.at != nil
	switch status := statusOf(err); {
	case errdefs.IsUnavailable(err):
		return true
	case u.at == nil:
		return false
	case status == http.StatusRequestEntityTooLarge:
		return u.shrink()
	case status == http.StatusNotFound || status == http.StatusRequestedRangeNotSatisfiable || status == http.StatusConflict:
		return true // it is gone, or somewhere else than we thought
	case u.resumed && status >= http.StatusBadRequest && status < http.StatusInternalServerError:
		u.forget() // what was there may have been damaged
		return true
	}
	return false
}

// shrink makes pieces, or smaller ones. False when they would be too small.
func (u *upload) shrink() bool {
	n := u.piece / 4
	if u.piece == 0 {
		n = u.r.c.tuning.piece
	}
	for n >= u.desc.Size && n > 0 {
		n /= 4
	}
	if n = max(n, u.least); n < minPiece || u.piece > 0 && n >= u.piece {
		return false
	}
	u.piece = n
	return true
}

// attempt begins the upload or goes on with it, until it ends or breaks.
func (u *upload) attempt(ctx context.Context) error {
	if u.at != nil && u.old {
		there, err := u.ask(ctx)
		if there || err != nil {
			return err
		}
	}
	if u.at == nil {
		if err := u.begin(ctx); err != nil {
			return err
		}
	}
	u.old = true
	if u.have == 0 && (u.piece == 0 || u.piece >= u.desc.Size) {
		return u.end(ctx, u.desc.Size)
	}
	for u.have < u.desc.Size {
		if err := u.next(ctx); err != nil {
			return err
		}
	}
	return u.end(ctx, 0)
}

// begin asks for a new upload ("POST then PUT", "Pushing a blob in chunks").
func (u *upload) begin(ctx context.Context) error {
	u.have, u.resumed = 0, false
	path := u.r.name + "/blobs/uploads/"
	if alg := u.desc.Digest.Algorithm(); alg != digest.Canonical {
		path += "?digest-algorithm=" + alg.String()
	}
	res, err := u.r.host.do(ctx, call{method: http.MethodPost, path: path, what: u.what(), scopes: u.scopes(), want: []int{http.StatusAccepted}})
	if err != nil {
		return err
	}
	res.Body.Close()
	if n, err := strconv.ParseInt(res.Header.Get("OCI-Chunk-Min-Length"), 10, 64); err == nil && n > 0 && n <= maxPiece {
		u.least = n
		if n = max(n, u.r.c.tuning.piece); u.piece > 0 {
			u.piece = max(u.piece, u.least)
		} else if u.desc.Size > n {
			u.piece = n
		}
	}
	return u.goOn(res)
}

// ask finds out how far the upload came ("Pushing a blob in chunks", "GET"). When the registry does not know it, it may have been the answer
// to its end that was lost: then there is true. Otherwise it begins anew.
func (u *upload) ask(ctx context.Context) (there bool, err error) {
	res, err := u.r.host.do(ctx, call{method: http.MethodGet, url: u.at, what: "ask for the upload of blob " + u.desc.Digest.String(), scopes: u.scopes(),
		want: []int{http.StatusNoContent, http.StatusOK, http.StatusAccepted}})
	if err == nil {
		res.Body.Close()
		n, ok := received(res.Header.Get("Range"))
		if ok && n <= u.desc.Size && u.goOn(res) == nil {
			u.have, u.resumed = n, n > 0
			if n == 0 {
				u.drop(ctx)
			}
			return false, nil
		}
	}
	if ctx.Err() != nil || errdefs.IsUnavailable(err) {
		return false, err
	}
	if errdefs.IsNotFound(err) {
		if _, err := u.r.Stat(ctx, u.desc.Digest); err == nil {
			return true, nil
		}
		u.forget()
		return false, nil
	}
	u.drop(ctx)
	return false, nil
}

// received reads the Range of an upload, "0-LAST", and returns how many bytes are there. 0-0 is what most say of none.
func received(v string) (int64, bool) {
	v = strings.TrimPrefix(v, "bytes=")
	first, last, ok := strings.Cut(v, "-")
	n, err := strconv.ParseInt(last, 10, 64)
	if !ok || first != "0" || err != nil || n < 0 || n == math.MaxInt64 {
		return 0, false
	}
	if n == 0 {
		return 0, true
	}
	return n + 1, true
}

// next sends a piece.
func (u *upload) next(ctx context.Context) error {
	off := u.have
	size := u.desc.Size - off
	if u.piece > 0 {
		size = min(size, u.piece)
	}
	res, err := u.r.host.do(ctx, call{
		method: http.MethodPatch, url: u.at, what: u.what(), scopes: u.scopes(), once: true, want: []int{http.StatusAccepted, http.StatusNoContent, http.StatusOK},
		header: http.Header{"Content-Type": {"application/octet-stream"}, "Content-Range": {fmt.Sprintf("%d-%d", off, off+size-1)}},
		size:   size, body: func(ctx context.Context) (io.ReadCloser, error) { return u.from.part(ctx, off, size) },
	})
	if err != nil {
		return u.from.blame(err)
	}
	res.Body.Close()
	if u.have = off + size; u.have < u.desc.Size {
		if n, ok := received(res.Header.Get("Range")); ok && n > off && n < u.have {
			u.have = n // it did not take all
		}
	}
	return u.goOn(res)
}

// end ends the upload, with the last size bytes.
func (u *upload) end(ctx context.Context, size int64) error {
	at := *u.at
	q := at.Query()
	q.Set("digest", u.desc.Digest.String())
	at.RawQuery = q.Encode()
	c := call{method: http.MethodPut, url: &at, what: u.what(), scopes: u.scopes(), once: true, want: []int{http.StatusCreated, http.StatusOK, http.StatusNoContent}}
	c.header = http.Header{"Content-Type": {"application/octet-stream"}}
	if size > 0 {
		c.size, c.body = size, func(ctx context.Context) (io.ReadCloser, error) { return u.from.part(ctx, u.desc.Size-size, size) }
	}
	res, err := u.r.host.do(ctx, c)
	if err != nil {
		return u.from.blame(err)
	}
	return res.Body.Close()
}

// goOn takes over where an answer says that the upload goes on, and remembers it.
func (u *upload) goOn(res *http.Response) error {
	at, err := u.r.location(res)
	if err != nil {
		return err
	}
	if u.at == nil || u.at.String() != at.String() {
		u.at = at
		if at.Host == res.Request.URL.Host && at.User == nil && !tells(at) {
			u.keep(at)
		} else {
			u.keep(nil)
		}
	}
	return nil
}

// tells reports whether an address has in it what others should not read.
func tells(at *url.URL) bool {
	for k := range at.Query() {
		k = strings.ToLower(k)
		for _, word := range []string{"token", "sig", "secret", "key", "auth", "cred", "pass"} {
			if strings.Contains(k, word) {
				return true
			}
		}
	}
	return false
}

func (u *upload) keep(at *url.URL) {
	switch {
	case u.note == nil:
	case at == nil:
		u.note.Keep("")
	default:
		u.note.Keep(at.String())
	}
}

// recall begins with what is remembered.
func (u *upload) recall() {
	at, err := url.Parse(u.note.Location())
	if err == nil && at.Host != "" && (at.Scheme == "https" || at.Scheme == "http") {
		u.at, u.old = at, true
	}
}

// forget begins anew the next time.
func (u *upload) forget() {
	u.at, u.have, u.resumed = nil, 0, false
	u.keep(nil)
}

// drop is forget for an upload that the registry may still have.
func (u *upload) drop(ctx context.Context) {
	if u.at != nil {
		u.r.giveUp(ctx, u.at)
	}
	u.forget()
}

func (u *upload) what() string     { return "write blob " + u.desc.Digest.String() }
func (u *upload) scopes() []string { return []string{u.r.scope("pull,push")} }
