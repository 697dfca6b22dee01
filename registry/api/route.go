package api

import (
	"net/http"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/registry/access"
)

// kind of an endpoint.
type kind uint8

const (
	kindNone kind = iota
	kindBase
	kindManifest
	kindBlob
	kindUploads // where uploads begin
	kindUpload
	kindTags
	kindCatalog
	kindReferrers
	kindHistory
	kindSweep
	kindScrub
	kindQuotas
	kindRetain
	kindMore // what the api itself does not know
)

// String returns the name that events have.
func (k kind) String() string {
	switch k {
	case kindBase:
		return "base"
	case kindManifest:
		return "manifest"
	case kindBlob:
		return "blob"
	case kindUploads:
		return "uploads"
	case kindUpload:
		return "upload"
	case kindTags:
		return "tags"
	case kindCatalog:
		return "catalog"
	case kindReferrers:
		return "referrers"
	case kindHistory:
		return "history"
	case kindSweep:
		return "sweep"
	case kindScrub:
		return "scrub"
	case kindQuotas:
		return "quotas"
	case kindRetain:
		return "retain"
	case kindMore:
		return "more"
	default:
		return ""
	}
}

// route is a path in parts.
type route struct {
	kind       kind
	repository string
	// ref is a tag, a digest or the ID of an upload, not checked.
	ref string
}

// split takes a path apart (distribution-spec, "Endpoints"). The end of a path says what it is, since a repository may have any
// name: "a/tags/list" is one, too. A repository that it returns is valid. ErrInvalid is a name that is none, ErrNotFound all else.
func split(path string) (route, error) {
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		if path == "/v2" {
			return route{kind: kindBase}, nil
		}
		return route{}, errdefs.NotFound("no such endpoint")
	}
	switch rest {
	case "":
		return route{kind: kindBase}, nil
	case "_catalog":
		return route{kind: kindCatalog}, nil
	case "_camada/registry/sweep":
		return route{kind: kindSweep}, nil
	case "_camada/registry/scrub":
		return route{kind: kindScrub}, nil
	case "_camada/registry/quotas":
		return route{kind: kindQuotas}, nil
	case "_camada/registry/retain":
		return route{kind: kindRetain}, nil
	}
	if name, ok := strings.CutPrefix(rest, "_camada/registry/"); ok {
		return route{kind: kindMore, ref: name}, nil
	}
	r := splitEnd(rest)
	if r.kind == kindNone {
		return route{}, errdefs.NotFound("no such endpoint")
	}
	if !reference.ValidRepository(r.repository) {
		return route{}, errdefs.Invalid("%.300q is not the name of a repository", r.repository)
	}
	return r, nil
}

// splitEnd takes what follows /v2/ apart, from its end.
func splitEnd(rest string) route {
	head, last := cutLast(rest)
	name, middle := cutLast(head)
	switch middle {
	case "manifests":
		return route{kindManifest, name, last}
	case "referrers":
		return route{kindReferrers, name, last}
	case "blobs":
		if last == "uploads" { // without the slash at its end
			return route{kindUploads, name, ""}
		}
		return route{kindBlob, name, last}
	case "uploads":
		name, blobs := cutLast(name)
		switch {
		case blobs != "blobs":
		case last == "":
			return route{kindUploads, name, ""}
		default:
			return route{kindUpload, name, last}
		}
	case "tags":
		if last == "list" {
			return route{kindTags, name, ""}
		}
	case "history":
		// <name>/_camada/history/<tag>: an extension (distribution-spec, extensions/README.md, "Repository-Level Extensions").
		if name, ext := cutLast(name); ext == "_camada" {
			return route{kindHistory, name, last}
		}
	}
	return route{}
}

// cutLast cuts before and after the last slash.
func cutLast(s string) (before, after string) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", s
	}
	return s[:i], s[i+1:]
}

// method is a method as an index.
type method uint8

const (
	methodOther method = iota
	methodGet
	methodHead
	methodPost
	methodPut
	methodPatch
	methodDelete
	methods
)

func methodOf(s string) method {
	switch s {
	case http.MethodGet:
		return methodGet
	case http.MethodHead:
		return methodHead
	case http.MethodPost:
		return methodPost
	case http.MethodPut:
		return methodPut
	case http.MethodPatch:
		return methodPatch
	case http.MethodDelete:
		return methodDelete
	default:
		return methodOther
	}
}

// action is what is done at an endpoint, and what the caller must be allowed to do.
type action struct {
	do    func(*call)
	needs access.Action
}

// actionOf chooses what is done.
func actionOf(k kind, m method) action {
	get := m == methodGet || m == methodHead
	switch {
	case k == kindBase && get:
		return action{(*call).base, access.Enter}
	case k == kindManifest && get:
		return action{(*call).getManifest, access.Pull}
	case k == kindManifest && m == methodPut:
		return action{(*call).putManifest, access.Push}
	case k == kindManifest && m == methodDelete:
		return action{(*call).deleteManifest, access.Delete}
	case k == kindBlob && get:
		return action{(*call).getBlob, access.Pull}
	case k == kindBlob && m == methodDelete:
		return action{(*call).deleteBlob, access.Delete}
	case k == kindTags && get:
		return action{(*call).listTags, access.Pull}
	case k == kindCatalog && get:
		return action{(*call).listRepositories, access.Enter | access.List}
	case k == kindReferrers && get:
		return action{(*call).listReferrers, access.Pull}
	case k == kindHistory && get:
		return action{(*call).tagLog, access.Pull}
	case k == kindHistory && m == methodPost:
		return action{(*call).moveBack, access.Push}
	case k == kindSweep && m == methodPost:
		return action{(*call).sweep, access.Admin}
	case k == kindScrub && m == methodPost:
		return action{(*call).scrub, access.Admin}
	case k == kindQuotas && get:
		return action{(*call).quotas, access.Admin}
	case k == kindRetain && m == methodPost:
		return action{(*call).retain, access.Admin}
	case k == kindMore:
		return action{(*call).more, access.Admin}
	default:
		return uploadAction(k, m)
	}
}

// uploadAction chooses what is done with uploads.
func uploadAction(k kind, m method) action {
	switch {
	case k == kindUploads && m == methodPost:
		return action{(*call).beginUpload, access.Push}
	case k != kindUpload:
		return action{}
	case m == methodGet || m == methodHead:
		return action{(*call).statUpload, access.Push}
	case m == methodPatch:
		return action{(*call).patchUpload, access.Push}
	case m == methodPut:
		return action{(*call).putUpload, access.Push}
	case m == methodDelete:
		return action{(*call).cancelUpload, access.Push}
	default:
		return action{}
	}
}

// allow lists the methods of an endpoint (RFC 9110, section 10.2.1).
func allow(k kind) string {
	var names []string
	for m, name := range [methods]string{"", http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if actionOf(k, method(m)).do != nil {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}
