package api

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxTags is how many tags one request may move ("Pushing Manifests": at least 10).
const maxTags = 100

// reference takes a <tag-or-digest> apart, or answers. Without a digest it is a tag.
func (c *call) reference() (tag string, dgst digest.Digest, ok bool) {
	if strings.IndexByte(c.ref, ':') < 0 {
		if !reference.ValidTag(c.ref) {
			c.fail(codeManifestInvalid, errdefs.Invalid("%.150q is neither a tag nor a digest", c.ref))
			return "", "", false
		}
		return c.ref, "", true
	}
	dgst = digest.Digest(c.ref)
	if err := content.CheckDigest(dgst); err != nil {
		c.fail(codeDigest, err)
		return "", "", false
	}
	return "", dgst, true
}

// getManifest answers with a manifest ("Pulling manifests"). What Accept says chooses nothing: a digest and a tag name exactly
// one manifest, and a client that cannot read it tells its user so better than a registry can.
func (c *call) getManifest() {
	ctx := c.r.Context()
	tag, dgst, ok := c.reference()
	if !ok {
		return
	}
	var desc ocispec.Descriptor
	if tag != "" {
		t, err := c.storage.Tag(ctx, c.repository, tag)
		if err != nil {
			c.fail(codeManifestUnknown, err)
			return
		}
		desc = t.Descriptor
		dgst = desc.Digest
		if c.opts.Admit == nil && (c.r.Method == http.MethodHead || c.conditional()) {
			c.digest = dgst.String()
			if c.unchanged(dgst) {
				return
			}
			if c.r.Method == http.MethodHead {
				c.manifestHeaders(desc)
				c.w.WriteHeader(http.StatusOK)
				return
			}
		}
	}
	m, err := c.storage.Manifest(ctx, c.repository, dgst)
	if err != nil {
		c.fail(codeManifestUnknown, err)
		return
	}
	var tags []string
	if tag != "" {
		tags = []string{tag}
	}
	if err := c.admit(false, tags, m); err != nil {
		c.fail(codeDenied, err)
		return
	}
	c.digest = dgst.String()
	if (tag == "" || c.opts.Admit != nil) && c.conditional() && c.unchanged(dgst) {
		return
	}
	c.manifestHeaders(m.Descriptor)
	c.w.WriteHeader(http.StatusOK)
	if c.r.Method == http.MethodGet {
		_, _ = c.w.Write(m.Data) // a client that went away is told nothing
	}
}

// conditional reports whether the request has conditions.
func (c *call) conditional() bool {
	return len(c.r.Header["If-None-Match"]) > 0 || len(c.r.Header["If-Match"]) > 0
}

// manifestHeaders says what a manifest is.
func (c *call) manifestHeaders(desc ocispec.Descriptor) {
	h := c.w.Header()
	h["Content-Type"] = []string{desc.MediaType}
	h["Content-Length"] = []string{strconv.FormatInt(desc.Size, 10)}
	h["Docker-Content-Digest"] = []string{desc.Digest.String()}
	h["Etag"] = []string{etag(desc.Digest)}
}

// putManifest stores a manifest, and moves tags to it ("Pushing Manifests").
func (c *call) putManifest() {
	tag, dgst, ok := c.reference()
	if !ok {
		return
	}
	tags := []string{tag}
	if tag == "" {
		var err error
		if tags, err = queryTags(c.r.URL.RawQuery); err != nil {
			c.fail(codeManifestInvalid, err)
			return
		}
	}
	m, err := c.readManifest(dgst)
	if err != nil {
		c.fail(codeManifestInvalid, err)
		return
	}
	c.digest = m.Descriptor.Digest.String()
	expect, err := c.expected(tag, m.Descriptor.Digest)
	if err == nil && len(tags) > 0 { // without a tag it is a part of something, or is about to be signed
		err = c.admit(true, tags, m)
	}
	if err == nil {
		err = c.store(m, tags, expect)
	}
	if err != nil {
		if expect != nil && errdefs.IsConflict(err) {
			err = errPrecondition
		}
		c.fail(codeManifestInvalid, err)
		return
	}
	h := c.w.Header()
	h["Location"] = []string{"/v2/" + c.repository + "/manifests/" + c.digest}
	h["Docker-Content-Digest"] = []string{c.digest}
	h["Etag"] = []string{etag(m.Descriptor.Digest)}
	if m.Subject != "" {
		h["Oci-Subject"] = []string{m.Subject.String()}
	}
	if tag == "" && len(tags) > 0 {
		h["Oci-Tag"] = tags
	}
	c.tags = tags
	c.empty(http.StatusCreated)
}

// queryTags reads the tag parameters.
func queryTags(query string) ([]string, error) {
	q, err := url.ParseQuery(query)
	if err != nil {
		return nil, errdefs.With(errdefs.ErrInvalid, err)
	}
	var tags []string
	for _, t := range q["tag"] {
		if !reference.ValidTag(t) {
			return nil, errdefs.Invalid("%.150q is not a tag", t)
		}
		if !slices.Contains(tags, t) {
			if tags = append(tags, t); len(tags) > maxTags {
				return nil, errManyTags
			}
		}
	}
	return tags, nil
}

// readManifest reads and parses the manifest that is pushed; dgst is what it must be, or "".
func (c *call) readManifest(dgst digest.Digest) (registry.Manifest, error) {
	data, err := c.readAll(image.MaxManifest)
	if err != nil {
		return registry.Manifest{}, err
	}
	alg := digest.SHA256
	if dgst != "" {
		alg = dgst.Algorithm()
	}
	// The registry ignores parameters of the media type.
	mediaType, _, _ := strings.Cut(c.r.Header.Get("Content-Type"), ";")
	mediaType = strings.Trim(mediaType, " \t")
	if len(mediaType) > maxMediaType {
		return registry.Manifest{}, errdefs.Invalid("a media type of %d characters", len(mediaType))
	}
	m, err := registry.ParseManifest(mediaType, data, alg)
	if err != nil {
		return registry.Manifest{}, err
	}
	if dgst != "" && m.Descriptor.Digest != dgst {
		return registry.Manifest{}, errdefs.Corrupt("the digest of the manifest is %s", m.Descriptor.Digest)
	}
	return m, nil
}

// maxMediaType bounds media types (RFC 6838, section 4.2: 127 characters on each side of the slash).
const maxMediaType = 255

// expected is what the conditions of a request say about what the tag points to now; nil is nothing (RFC 9110, section 13.1). to is what it
// will point to.
func (c *call) expected(tag string, to digest.Digest) (*digest.Digest, error) {
	if !c.conditional() {
		return nil, nil
	}
	var now digest.Digest
	if tag != "" {
		t, err := c.storage.Tag(c.r.Context(), c.repository, tag)
		if err != nil && !errdefs.IsNotFound(err) {
			return nil, err
		}
		now = t.Descriptor.Digest
	} else if _, err := c.storage.Manifest(c.r.Context(), c.repository, to); err == nil {
		now = to
	}
	if !c.holds(now) {
		return nil, errPrecondition
	}
	if tag == "" {
		return nil, nil
	}
	return &now, nil
}

// holds reports whether the conditions of a request hold of what is there now; "" is nothing.
func (c *call) holds(now digest.Digest) bool {
	match, none := c.r.Header["If-Match"], c.r.Header["If-None-Match"]
	return (len(match) == 0 || matches(match, now, false)) && (len(none) == 0 || !matches(none, now, true))
}

// store stores a manifest and moves tags to it, those that never move only when they are not there yet.
func (c *call) store(m registry.Manifest, tags []string, expect *digest.Digest) error {
	ctx := c.r.Context()
	var fixed, free []string
	for _, t := range tags {
		if c.opts.Immutable != nil && c.opts.Immutable(c.repository, t) {
			fixed = append(fixed, t)
		} else {
			free = append(free, t)
		}
	}
	if len(fixed) == 0 {
		return c.storage.PutManifest(ctx, c.repository, m, registry.PutOptions{Tags: tags, Expect: expect, Mover: c.mover("push")})
	}
	for _, t := range fixed {
		if err := c.fixed(t, m.Descriptor.Digest); err != nil {
			return err
		}
	}
	if err := c.storage.PutManifest(ctx, c.repository, m, registry.PutOptions{Tags: free, Expect: expect, Mover: c.mover("push")}); err != nil {
		return err
	}
	for _, t := range fixed {
		none := digest.Digest("")
		err := c.storage.MoveTag(ctx, c.repository, t, registry.Move{To: m.Descriptor.Digest, Expect: &none, Mover: c.mover("push")})
		if errdefs.IsConflict(err) { // somebody was faster
			err = c.fixed(t, m.Descriptor.Digest)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fixed is an ErrConflict when a tag that never moves is there and points to something else.
func (c *call) fixed(tag string, to digest.Digest) error {
	t, err := c.storage.Tag(c.r.Context(), c.repository, tag)
	switch {
	case errdefs.IsNotFound(err):
		return nil
	case err != nil:
		return err
	case t.Descriptor.Digest != to:
		return errdefs.Conflict("the tag %s is immutable, and is %s", tag, t.Descriptor.Digest)
	}
	return nil
}

// deleteManifest removes a tag, or a manifest with its tags ("Deleting tags", "Deleting Manifests").
func (c *call) deleteManifest() {
	tag, dgst, ok := c.reference()
	if !ok {
		return
	}
	expect, err := c.expected(tag, dgst)
	switch {
	case err != nil:
	case tag != "":
		if err = c.keepFixed(tag); err == nil {
			err = c.storage.MoveTag(c.r.Context(), c.repository, tag, registry.Move{Expect: expect, Mover: c.mover("delete")})
		}
		if expect != nil && errdefs.IsConflict(err) {
			err = errPrecondition
		}
		c.tags = []string{tag}
	default:
		c.digest = dgst.String()
		if err = c.keepFixedOf(dgst); err == nil {
			err = c.storage.DeleteManifest(c.r.Context(), c.repository, dgst, c.mover("delete"))
		}
	}
	if err != nil {
		c.fail(codeManifestUnknown, err)
		return
	}
	c.empty(http.StatusAccepted)
}

// keepFixed is an ErrConflict for a tag that never moves.
func (c *call) keepFixed(tag string) error {
	if c.opts.Immutable != nil && c.opts.Immutable(c.repository, tag) {
		if _, err := c.storage.Tag(c.r.Context(), c.repository, tag); err != nil {
			return err
		}
		return errdefs.Conflict("the tag %s is immutable", tag)
	}
	return nil
}

// keepFixedOf is an ErrConflict when a tag that never moves points to a manifest.
func (c *call) keepFixedOf(dgst digest.Digest) error {
	if c.opts.Immutable == nil {
		return nil
	}
	tags, err := c.storage.ListTags(c.r.Context(), c.repository, "", -1)
	if err != nil {
		return err
	}
	for _, name := range tags {
		if !c.opts.Immutable(c.repository, name) {
			continue
		}
		if t, err := c.storage.Tag(c.r.Context(), c.repository, name); err == nil && t.Descriptor.Digest == dgst {
			return errdefs.Conflict("the tag %s is immutable and points to the manifest", name)
		}
	}
	return nil
}
