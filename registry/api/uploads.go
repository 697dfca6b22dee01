package api

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/access"
	"github.com/opencontainers/go-digest"
)

// beginUpload begins an upload, mounts a blob, or takes a whole one ("Pushing blobs").
func (c *call) beginUpload() {
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		c.fail(codeUploadInvalid, errdefs.With(errdefs.ErrInvalid, err))
		return
	}
	alg := digest.SHA256
	if s := q.Get("digest-algorithm"); s != "" {
		if alg = digest.Algorithm(s); alg != digest.SHA256 && alg != digest.SHA512 {
			c.fail(codeUnsupported, errdefs.Unsupported("%.100q is neither sha256 nor sha512", s))
			return
		}
	}
	if s := q.Get("mount"); s != "" {
		dgst := digest.Digest(s)
		if err := content.CheckDigest(dgst); err != nil {
			c.fail(codeDigest, err)
			return
		}
		if c.mount(dgst, q.Get("from")) {
			return
		}
		alg = dgst.Algorithm()
	}
	if s := q.Get("digest"); s != "" {
		c.uploadWhole(digest.Digest(s))
		return
	}
	up, err := c.storage.NewUpload(c.r.Context(), c.repository, alg)
	if err != nil {
		c.fail(codeUploadInvalid, err)
		return
	}
	c.uploadStatus(up, http.StatusAccepted)
	_ = up.Close()
}

// mount mounts a blob of another repository, and tells whether it answered. When it cannot be, the upload begins ("Mounting a blob
// from another repository"); so nobody learns whether a repository that he may not read has a blob.
func (c *call) mount(dgst digest.Digest, from string) bool {
	if from == "" {
		from = c.origins.find(dgst)
	}
	if from == "" || !reference.ValidRepository(from) || !c.may(from, access.Pull) {
		return false
	}
	if err := c.storage.MountBlob(c.r.Context(), c.repository, from, dgst); err != nil {
		if errdefs.IsNotFound(err) || errdefs.IsInvalid(err) {
			return false
		}
		c.fail(codeBlobUnknown, err)
		return true
	}
	c.created(dgst)
	return true
}

// created answers that a blob is there now.
func (c *call) created(dgst digest.Digest) {
	c.digest = dgst.String()
	c.origins.note(dgst, c.repository)
	h := c.w.Header()
	h["Location"] = []string{"/v2/" + c.repository + "/blobs/" + dgst.String()}
	h["Docker-Content-Digest"] = []string{dgst.String()}
	c.empty(http.StatusCreated)
}

// uploadWhole takes a blob in one request ("Single POST").
func (c *call) uploadWhole(dgst digest.Digest) {
	if err := content.CheckDigest(dgst); err != nil {
		c.fail(codeDigest, err)
		return
	}
	up, err := c.storage.NewUpload(c.r.Context(), c.repository, dgst.Algorithm())
	if err != nil {
		c.fail(codeUploadInvalid, err)
		return
	}
	defer up.Close()
	_, err = up.Append(c.r.Context(), c.body(c.opts.MaxBlob))
	if err == nil {
		_, err = up.Commit(c.r.Context(), dgst)
	}
	if err != nil {
		// Nobody knows its ID, so nobody can go on with it.
		_ = up.Cancel(c.r.Context())
		c.fail(codeUploadInvalid, err)
		return
	}
	c.created(dgst)
}

// uploadStatus answers how far an upload came.
func (c *call) uploadStatus(up registry.Upload, status int) {
	h := c.w.Header()
	h["Location"] = []string{"/v2/" + c.repository + "/blobs/uploads/" + up.ID()}
	// Of no bytes at all it is 0-0, as of one: other registries have it so.
	h["Range"] = []string{"0-" + strconv.FormatInt(max(up.Size()-1, 0), 10)}
	h["Docker-Upload-Uuid"] = []string{up.ID()}
	c.empty(status)
}

// open opens the upload of the request, or answers.
func (c *call) open() registry.Upload {
	up, err := c.storage.OpenUpload(c.r.Context(), c.repository, c.ref)
	if err != nil {
		c.fail(codeUploadUnknown, err)
		return nil
	}
	return up
}

// statUpload tells how far an upload came ("Pushing a blob in chunks").
func (c *call) statUpload() {
	if up := c.open(); up != nil {
		defer up.Close()
		c.uploadStatus(up, http.StatusNoContent)
	}
}

// cancelUpload throws an upload away ("Cancel a blob upload").
func (c *call) cancelUpload() {
	up := c.open()
	if up == nil {
		return
	}
	defer up.Close()
	if err := up.Cancel(c.r.Context()); err != nil {
		c.fail(codeUploadUnknown, err)
		return
	}
	c.empty(http.StatusNoContent)
}

// patchUpload takes a chunk ("Pushing a blob in chunks").
func (c *call) patchUpload() {
	up := c.open()
	if up == nil {
		return
	}
	defer up.Close()
	if err := c.take(up); err != nil {
		c.failUpload(up, err)
		return
	}
	c.uploadStatus(up, http.StatusAccepted)
}

// putUpload takes the last chunk, if there is any, and ends the upload ("Pushing a blob in chunks", "POST then PUT").
func (c *call) putUpload() {
	dgst := digest.Digest(c.r.URL.Query().Get("digest"))
	if err := content.CheckDigest(dgst); err != nil {
		c.fail(codeDigest, err)
		return
	}
	up := c.open()
	if up == nil {
		return
	}
	defer up.Close()
	if err := c.take(up); err != nil {
		c.failUpload(up, err)
		return
	}
	if _, err := up.Commit(c.r.Context(), dgst); err != nil {
		c.fail(codeUploadInvalid, err)
		return
	}
	c.created(dgst)
}

// failUpload answers to a chunk that was not taken whole, and says how far the upload came.
func (c *call) failUpload(up registry.Upload, err error) {
	h := c.w.Header()
	h["Location"] = []string{"/v2/" + c.repository + "/blobs/uploads/" + up.ID()}
	h["Range"] = []string{"0-" + strconv.FormatInt(max(up.Size()-1, 0), 10)}
	c.fail(codeUploadInvalid, err)
}

// take appends the body. With a Content-Range it must begin where the upload ends.
func (c *call) take(up registry.Upload) error {
	length := c.r.ContentLength
	body := c.body(max(c.opts.MaxBlob-up.Size(), 0))
	if s := c.r.Header.Get("Content-Range"); s != "" && length != 0 {
		start, end, ok := parseContentRange(s)
		switch {
		case !ok:
			return errdefs.Invalid("Content-Range %.100q: want FIRST-LAST", s)
		case start != up.Size():
			return errRange
		case length >= 0 && length != end-start+1:
			return errRange
		case length < 0:
			body = io.LimitReader(body, end-start+1)
		}
	}
	if length == 0 {
		return nil
	}
	if length > c.opts.MaxBlob-up.Size() {
		return errdefs.Limit("a blob of more than %d bytes", c.opts.MaxBlob)
	}
	// What came before the client went away is kept, and its going ends the context: the body ends by itself then.
	_, err := up.Append(context.WithoutCancel(c.r.Context()), body)
	return err
}

// parseContentRange reads the Content-Range of a chunk: FIRST-LAST, and also what RFC 9110 has, "bytes FIRST-LAST/SIZE".
func parseContentRange(s string) (start, end int64, ok bool) {
	if rest, found := strings.CutPrefix(s, "bytes"); found {
		s, _, _ = strings.Cut(strings.TrimLeft(rest, " ="), "/")
	}
	first, last, _ := strings.Cut(s, "-")
	start, ok1 := parseOffset(first)
	end, ok2 := parseOffset(last)
	return start, end, ok1 && ok2 && end >= start
}
