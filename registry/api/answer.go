package api

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/camada/camada/errdefs"
)

// Values of headers that are the same in each answer. They are not changed.
var (
	apiVersion = []string{"registry/2.0"}
	typeJSON   = []string{"application/json"}
	typeBytes  = []string{"application/octet-stream"}
	bytesUnit  = []string{"bytes"}
	forEver    = []string{"max-age=31536000, immutable"}
)

// answer is a ResponseWriter that counts.
type answer struct {
	http.ResponseWriter
	status         int
	sent, received int64
}

// WriteHeader notes the status.
func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Write counts the bytes.
func (a *answer) Write(p []byte) (int, error) {
	n, err := a.ResponseWriter.Write(p)
	a.sent += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// write answers with a body.
func (c *call) write(status int, mediaType []string, body []byte) {
	h := c.w.Header()
	h["Content-Type"] = mediaType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead {
		_, _ = c.w.Write(body) // a client that went away is told nothing
	}
}

// empty answers without a body.
func (c *call) empty(status int) {
	if status != http.StatusNoContent {
		c.w.Header()["Content-Length"] = []string{"0"}
	}
	c.w.WriteHeader(status)
}

// base answers whether there is a registry ("Determining Support").
func (c *call) base() { c.write(http.StatusOK, typeJSON, []byte("{}")) }

// piece is how many bytes a client has to take within the patience of the registry.
const piece = 1 << 20

// grower is a reader whose bytes may take a while to come: then the client has as long for fewer of them.
type grower interface{ Grows() }

// send copies n bytes to the client. A client that takes nothing for too long is cut off. A file goes by sendfile.
func (c *call) send(r io.Reader, n int64) {
	control := http.NewResponseController(c.w.ResponseWriter)
	_ = control.SetReadDeadline(time.Time{}) // it would end the request while the answer is on its way
	size := int64(piece)
	if _, ok := r.(grower); ok {
		size = piece / 32
	}
	for n > 0 {
		// Servers without deadlines, as that of a pipe, have no slow clients.
		_ = control.SetWriteDeadline(time.Now().Add(c.opts.Patience))
		// The ResponseWriter itself, since its ReadFrom is what uses sendfile.
		sent, err := io.CopyN(c.w.ResponseWriter, r, min(n, size))
		n -= sent
		c.w.sent += sent
		if err != nil {
			return // the client sees from the length that something is missing
		}
	}
}

// body is what a client sends, read with the patience of the registry: errSlow when it takes too long, and a *http.MaxBytesError
// (ErrLimit by status) when it is more than limit bytes.
func (c *call) body(limit int64) io.Reader {
	return &pacedReader{call: c, r: http.MaxBytesReader(c.w.ResponseWriter, c.r.Body, limit), control: http.NewResponseController(c.w.ResponseWriter)}
}

// pacedReader reads a body with deadlines.
type pacedReader struct {
	*call
	r       io.Reader
	control *http.ResponseController
	// set is when the deadline was set.
	set time.Time
}

// Read reads what has come.
func (p *pacedReader) Read(b []byte) (int, error) {
	if now := time.Now(); now.Sub(p.set) > p.opts.Patience/8 {
		p.set = now
		_ = p.control.SetReadDeadline(now.Add(p.opts.Patience))
		_ = p.control.SetWriteDeadline(now.Add(p.opts.Patience))
	}
	n, err := p.r.Read(b)
	p.w.received += int64(n)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			_ = p.control.SetWriteDeadline(time.Now().Add(p.opts.Patience)) // for the answer
			return n, errSlow
		}
		var tooBig *http.MaxBytesError
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.As(err, &tooBig) {
			err = errdefs.Invalid("the body cannot be read: %w", err) // it is the client's doing, also when he is gone
		}
		// What follows (a commit, a sync) takes the registry's time, not the client's.
		_ = p.control.SetReadDeadline(time.Time{})
		_ = p.control.SetWriteDeadline(time.Time{})
	}
	return n, err
}

// readAll reads a body of at most limit bytes.
func (c *call) readAll(limit int64) ([]byte, error) {
	if c.r.ContentLength > limit {
		return nil, errdefs.Limit("%d bytes, more than the limit of %d", c.r.ContentLength, limit)
	}
	var buf bytes.Buffer
	// The length is only what the client says: memory comes with the bytes.
	buf.Grow(int(min(max(c.r.ContentLength, 0), 64<<10)) + bytes.MinRead)
	if _, err := buf.ReadFrom(c.body(limit)); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// longer lifts the deadlines of a request whose answer takes the registry a while.
func (c *call) longer() {
	control := http.NewResponseController(c.w.ResponseWriter)
	_ = control.SetReadDeadline(time.Time{})
	_ = control.SetWriteDeadline(time.Time{})
}
