package api

import (
	"net/http"

	"github.com/camada/camada/registry/access"
)

// Limiter bounds how often, and how much at once, callers do something.
type Limiter interface {
	// Begin counts what somebody may do and is about to do, and adds to the header of the answer what it tells of limits. ErrLimit means that he has to
	// wait. What it returns is called once the request was answered.
	Begin(r *http.Request, use access.Use, h http.Header) (end func(), err error)
}

// use is what the request is to a Limiter. A manifest that an index leads to counts as well.
func (c *call) use() access.Use {
	u := access.Use{Repository: c.repository}
	if c.caller != nil {
		u.Who = c.caller.Name()
	}
	switch m := methodOf(c.r.Method); c.kind {
	case kindManifest:
		switch m {
		case methodGet, methodHead:
			u.Action, u.Look = access.Pull, m == methodHead
		case methodPut:
			u.Action = access.Push
		case methodDelete:
			u.Action = access.Delete
		}
	case kindUpload, kindUploads:
		u.Upload = (m == methodPatch || m == methodPut || m == methodPost) && c.r.ContentLength != 0
	}
	return u
}
