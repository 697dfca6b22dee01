package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/policy"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/access"
)

// code is an error code of the spec ("Error Codes"). It is chosen for what was asked for: fail makes another of it when the error says more.
type code string

const (
	codeBlobUnknown     code = "BLOB_UNKNOWN"
	codeUploadInvalid   code = "BLOB_UPLOAD_INVALID"
	codeUploadUnknown   code = "BLOB_UPLOAD_UNKNOWN"
	codeDigest          code = "DIGEST_INVALID"
	codeManifestBlob    code = "MANIFEST_BLOB_UNKNOWN"
	codeManifestInvalid code = "MANIFEST_INVALID"
	codeManifestUnknown code = "MANIFEST_UNKNOWN"
	codeName            code = "NAME_INVALID"
	codeNameUnknown     code = "NAME_UNKNOWN"
	codeSize            code = "SIZE_INVALID"
	codeUnauthorized    code = "UNAUTHORIZED"
	codeDenied          code = "DENIED"
	codeUnsupported     code = "UNSUPPORTED"
	codeTooMany         code = "TOOMANYREQUESTS"
)

// Errors that have a status of their own.
var (
	errRange        = errdefs.Invalid("the range is not what comes next")
	errPrecondition = errdefs.Conflict("the condition of the request does not hold")
	errManyTags     = errdefs.Limit("more than %d tags", maxTags)
	errSlow         = errdefs.Unavailable("the client sent nothing for too long")
)

// status chooses the HTTP status of an error. It is the only place that does.
func status(err error) int {
	var tooBig *http.MaxBytesError
	switch {
	case errors.Is(err, errRange):
		return http.StatusRequestedRangeNotSatisfiable
	case errors.Is(err, errPrecondition):
		return http.StatusPreconditionFailed
	case errors.Is(err, errManyTags):
		return http.StatusRequestURITooLong
	case errors.Is(err, errSlow):
		return http.StatusRequestTimeout
	case errors.As(err, &tooBig), errdefs.IsLimit(err):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return http.StatusInsufficientStorage
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.Canceled), errors.Is(err, net.ErrClosed):
		return http.StatusBadRequest // the client went away, and will not read it
	case errdefs.IsNotFound(err):
		return http.StatusNotFound
	case errdefs.IsInvalid(err), errdefs.IsCorrupt(err), errdefs.IsUnsupported(err):
		return http.StatusBadRequest
	case errdefs.IsConflict(err), errdefs.IsAlreadyExists(err):
		return http.StatusConflict
	case errdefs.IsPermission(err):
		return http.StatusForbidden
	case errdefs.IsUnavailable(err):
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// problem is one error of an answer ("Error Codes").
type problem struct {
	Code    code   `json:"code"`
	Message string `json:"message"`
	Detail  any    `json:"detail,omitempty"`
}

// fail answers with an error.
func (c *call) fail(what code, err error) {
	status := status(err)
	if errdefs.IsCorrupt(err) && (c.r.Method == http.MethodGet || c.r.Method == http.MethodHead) {
		status = http.StatusBadGateway // what is kept, or what it is a copy of, is not what it should be: no fault of the client's
	}
	c.failAs(status, what, err)
}

// failAs answers with an error and a status.
func (c *call) failAs(status int, what code, err error) {
	message := err.Error()
	var missing *registry.MissingError
	switch {
	case errors.As(err, &missing):
		c.missing(missing)
		return
	case status >= http.StatusInternalServerError:
		// What went wrong inside is for whoever runs the registry.
		message = http.StatusText(status)
		if status != http.StatusServiceUnavailable && c.opts.Fault != nil {
			c.opts.Fault(err)
		}
		if what = codeUnsupported; status == http.StatusServiceUnavailable {
			what = codeTooMany
			c.w.Header()["Retry-After"] = []string{"1"}
		}
	case status == http.StatusRequestTimeout:
		c.w.Header()["Connection"] = []string{"close"}
	case status == http.StatusRequestEntityTooLarge:
		what = codeSize
	case status == http.StatusForbidden, status == http.StatusConflict, status == http.StatusPreconditionFailed:
		what = codeDenied
	case errdefs.IsCorrupt(err):
		what = codeDigest
	}
	p := problem{Code: what, Message: message}
	if d := policy.Refused(err); d != nil {
		p.Detail = refusals(d)
	}
	c.problems(status, p)
}

// refusals are the rules that refuse something.
func refusals(d *policy.Decision) any {
	type refusal struct {
		Rule    string `json:"rule"`
		Message string `json:"message"`
		Fix     string `json:"fix,omitempty"`
	}
	out := []refusal{}
	for i := range d.Results {
		if r := &d.Results[i]; r.Refuses() {
			out = append(out, refusal{r.Rule, r.Message, r.Fix})
		}
	}
	return map[string]any{"digest": d.Digest, "rules": out}
}

// missing answers to a manifest that requires what is not there ("Push").
func (c *call) missing(err *registry.MissingError) {
	list := make([]problem, 0, min(len(err.Digests), maxProblems))
	for _, d := range err.Digests[:cap(list)] {
		list = append(list, problem{codeManifestBlob, "the manifest requires a blob or manifest that the repository has not got", map[string]string{"digest": d.String()}})
	}
	c.problems(http.StatusNotFound, list...)
}

// maxProblems bounds an answer.
const maxProblems = 100

// problems writes an answer with errors.
func (c *call) problems(status int, list ...problem) {
	body, err := json.Marshal(map[string][]problem{"errors": list})
	if err != nil {
		body = []byte(`{"errors":[]}`)
	}
	h := c.w.Header()
	for _, name := range []string{"Etag", "Cache-Control", "Docker-Content-Digest"} {
		delete(h, name)
	}
	c.write(status, typeJSON, body)
}

// challenge answers to somebody who has to prove who he is.
func (c *call) challenge(repository string, what access.Action) {
	if s := c.opts.Gate.Challenge(c.r, repository, what); s != "" {
		c.w.Header()["Www-Authenticate"] = []string{s}
	}
	c.problems(http.StatusUnauthorized, problem{Code: codeUnauthorized, Message: "authentication required"})
}

// refuseEntry answers to somebody who was not let in.
func (c *call) refuseEntry(err error) {
	var wait interface{ RetryAfter() int }
	switch {
	case errors.As(err, &wait):
		c.w.Header()["Retry-After"] = []string{strconv.Itoa(wait.RetryAfter())}
		c.problems(http.StatusTooManyRequests, problem{Code: codeTooMany, Message: err.Error()})
	case errdefs.IsPermission(err):
		r, splitErr := split(c.r.URL.Path)
		needs := actionOf(r.kind, methodOf(c.r.Method)).needs
		if splitErr != nil {
			needs = 0
		}
		c.challenge(r.repository, needs)
	default:
		c.fail(codeUnauthorized, err)
	}
}

// refuseMethod answers to a method that an endpoint has not got.
func (c *call) refuseMethod() {
	c.w.Header()["Allow"] = []string{allow(c.kind)}
	c.problems(http.StatusMethodNotAllowed, problem{Code: codeUnsupported, Message: "the endpoint does not do this"})
}
