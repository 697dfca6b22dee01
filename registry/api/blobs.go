package api

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/opencontainers/go-digest"
)

// getBlob answers with a blob, or a part of it ("Pulling blobs", "Checking if content exists in the registry").
func (c *call) getBlob() {
	dgst := digest.Digest(c.ref)
	if err := content.CheckDigest(dgst); err != nil {
		c.fail(codeDigest, err)
		return
	}
	c.digest = c.ref
	if c.r.Method == http.MethodHead {
		info, err := c.storage.StatBlob(c.r.Context(), c.repository, dgst)
		if err != nil {
			c.fail(codeBlobUnknown, err)
			return
		}
		if c.unchanged(dgst) {
			return
		}
		c.blobHeaders(dgst, info.Size)
		c.w.WriteHeader(http.StatusOK)
		return
	}
	if c.redirected(dgst) {
		return
	}
	r, err := c.storage.OpenBlob(c.r.Context(), c.repository, dgst)
	if err != nil {
		c.fail(codeBlobUnknown, err)
		return
	}
	defer r.Close()
	if !c.unchanged(dgst) {
		c.sendBlob(dgst, r)
	}
}

// blobHeaders says what a whole blob is.
func (c *call) blobHeaders(dgst digest.Digest, size int64) {
	h := c.w.Header()
	h["Content-Type"] = typeBytes
	h["Content-Length"] = []string{strconv.FormatInt(size, 10)}
	h["Docker-Content-Digest"] = []string{dgst.String()}
	h["Etag"] = []string{etag(dgst)}
	h["Accept-Ranges"] = bytesUnit
	h["Cache-Control"] = forEver
}

// sendBlob sends what was asked for of a blob (RFC 9110, section 14).
func (c *call) sendBlob(dgst digest.Digest, r content.Reader) {
	size := r.Size()
	start, length, what := parseRange(c.rangeHeader(dgst), size)
	h := c.w.Header()
	if what == rangeBad {
		h["Content-Range"] = []string{"bytes */" + strconv.FormatInt(size, 10)}
		c.fail(codeSize, errRange)
		return
	}
	c.blobHeaders(dgst, size)
	if what == rangeNone {
		c.w.WriteHeader(http.StatusOK)
		c.send(r, size)
		return
	}
	h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	h["Content-Range"] = []string{"bytes " + strconv.FormatInt(start, 10) + "-" + strconv.FormatInt(start+length-1, 10) + "/" + strconv.FormatInt(size, 10)}
	c.w.WriteHeader(http.StatusPartialContent)
	if s, ok := r.(io.Seeker); ok {
		if _, err := s.Seek(start, io.SeekStart); err == nil {
			c.send(r, length)
			return
		}
	}
	c.send(io.NewSectionReader(r, start, length), length)
}

// rangeHeader is the Range that counts: none when If-Range names another blob (RFC 9110, section 13.1.5).
func (c *call) rangeHeader(dgst digest.Digest) string {
	if v := c.r.Header.Get("If-Range"); v != "" && v != etag(dgst) {
		return ""
	}
	return c.r.Header.Get("Range")
}

// What a Range asks for.
type rangeKind uint8

const (
	rangeNone rangeKind = iota // everything
	rangePart
	rangeBad // nothing that is there
)

// parseRange reads a Range (RFC 9110, section 14.2). Several ranges, and units that are no bytes, are ignored, as a server may: all
// is sent then. What is malformed is refused, since a client that asks for a part seldom wants all of it.
func parseRange(s string, size int64) (start, length int64, what rangeKind) {
	spec, ok := strings.CutPrefix(s, "bytes=")
	if !ok || strings.IndexByte(spec, ',') >= 0 {
		return 0, size, rangeNone
	}
	first, last, ok := strings.Cut(strings.Trim(spec, " \t"), "-")
	if !ok {
		return 0, 0, rangeBad
	}
	if first == "" { // the last bytes
		n, ok := parseOffset(last)
		if !ok || n == 0 || size == 0 {
			return 0, 0, rangeBad
		}
		n = min(n, size)
		return size - n, n, rangePart
	}
	start, ok = parseOffset(first)
	if !ok || start >= size {
		return 0, 0, rangeBad
	}
	end := size - 1
	if last != "" {
		e, ok := parseOffset(last)
		if !ok || e < start {
			return 0, 0, rangeBad
		}
		end = min(end, e)
	}
	return start, end - start + 1, rangePart
}

// parseOffset reads digits. ParseUint alone would take signs as well.
func parseOffset(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// redirected sends the client to where the blob lies.
func (c *call) redirected(dgst digest.Digest) bool {
	if !c.opts.Redirect {
		return false
	}
	direct, ok := c.storage.(registry.Redirector)
	if !ok {
		return false
	}
	url, err := direct.BlobURL(c.r.Context(), c.repository, dgst)
	if err != nil {
		c.fail(codeBlobUnknown, err)
		return true
	}
	if url == "" {
		return false
	}
	h := c.w.Header()
	h["Location"] = []string{url}
	h["Docker-Content-Digest"] = []string{dgst.String()}
	h["Cache-Control"] = []string{"no-store"} // the place is good for minutes only
	c.empty(http.StatusTemporaryRedirect)
	return true
}

// deleteBlob takes a blob out of the repository ("Deleting Blobs").
func (c *call) deleteBlob() {
	dgst := digest.Digest(c.ref)
	if err := content.CheckDigest(dgst); err != nil {
		c.fail(codeDigest, err)
		return
	}
	c.digest = c.ref
	if err := c.storage.DeleteBlob(c.r.Context(), c.repository, dgst); err != nil {
		if errdefs.IsConflict(err) {
			err = errdefs.Conflict("a manifest of the repository requires the blob: delete that first")
		}
		c.fail(codeBlobUnknown, err)
		return
	}
	c.empty(http.StatusAccepted)
}

// etag names what a digest names: the strongest there is (RFC 9110, section 8.8.3).
func etag(dgst digest.Digest) string { return `"` + string(dgst) + `"` }

// matches reports whether a list of entity tags, or "*", has the digest's (RFC 9110, sections 13.1.1 and 13.1.2). Weak
// ones count in If-None-Match only. An empty digest is something that is not there.
func matches(list []string, dgst digest.Digest, weak bool) bool {
	for _, line := range list {
		for part := range strings.SplitSeq(line, ",") {
			part = strings.Trim(part, " \t")
			if weak {
				part = strings.TrimPrefix(part, "W/")
			}
			if part == "*" && dgst != "" || dgst != "" && part == etag(dgst) {
				return true
			}
		}
	}
	return false
}

// unchanged answers when a condition says that the client wants nothing of it (RFC 9110, section 13.2.2).
func (c *call) unchanged(dgst digest.Digest) bool {
	if list := c.r.Header["If-Match"]; len(list) > 0 && !matches(list, dgst, false) {
		c.fail(codeDenied, errPrecondition)
		return true
	}
	if list := c.r.Header["If-None-Match"]; len(list) > 0 && matches(list, dgst, true) {
		h := c.w.Header()
		h["Etag"] = []string{etag(dgst)}
		h["Docker-Content-Digest"] = []string{dgst.String()}
		c.w.WriteHeader(http.StatusNotModified)
		return true
	}
	return false
}
