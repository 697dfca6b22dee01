package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/access"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxPage is how many names an answer has at most. A Link leads to the next.
	maxPage = 10_000
	// maxReferrers is how many descriptors a list of referrers has, and maxReferrersSize how many bytes: clients take no manifest that is bigger than
	// 4 MiB.
	maxReferrers     = 1000
	maxReferrersSize = 3 << 20
)

// page reads n and last, or answers. n is at most maxPage.
func (c *call) page() (q url.Values, n int, ok bool) {
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		c.fail(codeUnsupported, errdefs.With(errdefs.ErrInvalid, err))
		return nil, 0, false
	}
	n = maxPage
	if s := q.Get("n"); s != "" {
		v, ok := parseOffset(s)
		if !ok {
			c.fail(codeUnsupported, errdefs.Invalid("n=%.30q: want a number", s))
			return nil, 0, false
		}
		n = int(min(v, maxPage))
	}
	return q, n, true
}

// next links to the next page (RFC 5988).
func (c *call) next(q url.Values, last string) {
	q.Set("last", last)
	c.w.Header()["Link"] = []string{"<" + c.r.URL.EscapedPath() + "?" + q.Encode() + `>; rel="next"`}
}

// listTags answers with the tags of a repository ("Listing Tags").
func (c *call) listTags() {
	q, n, ok := c.page()
	if !ok {
		return
	}
	// One more than asked for tells whether there are more.
	tags, err := c.storage.ListTags(c.r.Context(), c.repository, q.Get("last"), n+1)
	if err == nil && len(tags) == 0 {
		err = c.exists()
	}
	if err != nil {
		c.fail(codeNameUnknown, err)
		return
	}
	if len(tags) > n {
		if tags = tags[:n]; n > 0 {
			c.next(q, tags[n-1])
		}
	}
	if tags == nil {
		tags = []string{}
	}
	c.json(struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{c.repository, tags})
}

// exists is ErrNotFound when there is no such repository.
func (c *call) exists() error {
	// No name lies between the one before and this one: '~' comes after all that names are made of.
	end := len(c.repository) - 1
	names, err := c.storage.ListRepositories(c.r.Context(), c.repository[:end]+string(c.repository[end]-1)+"~", 1)
	if err != nil {
		return err
	}
	if len(names) == 0 || names[0] != c.repository {
		return errdefs.NotFound("there is no repository %s", c.repository)
	}
	return nil
}

// listRepositories answers with the repositories that the caller may pull from. (It is no part of the specification; all registries have it.)
func (c *call) listRepositories() {
	q, n, ok := c.page()
	if !ok {
		return
	}
	names := []string{}
	for after := q.Get("last"); n > 0; {
		list, err := c.storage.ListRepositories(c.r.Context(), after, n+1)
		if err != nil {
			c.fail(codeNameUnknown, err)
			return
		}
		for _, name := range list {
			if c.may(name, access.List) {
				names = append(names, name)
			}
		}
		if len(names) > n || len(list) <= n {
			break
		}
		after = list[len(list)-1]
	}
	if len(names) > n {
		if names = names[:n]; n > 0 {
			c.next(q, names[n-1])
		}
	}
	c.json(struct {
		Repositories []string `json:"repositories"`
	}{names})
}

// listReferrers answers with what refers to a manifest, as an index ("Listing Referrers").
func (c *call) listReferrers() {
	dgst := digest.Digest(c.ref)
	if err := content.CheckDigest(dgst); err != nil {
		c.fail(codeDigest, err)
		return
	}
	q, n, ok := c.page()
	if !ok {
		return
	}
	if q.Get("n") == "" || n == 0 || n > maxReferrers {
		n = maxReferrers
	}
	all, err := c.storage.Referrers(c.r.Context(), c.repository, dgst)
	if err != nil && !errdefs.IsNotFound(err) {
		c.fail(codeManifestUnknown, err)
		return
	}
	if q.Has("artifactType") {
		c.w.Header()["Oci-Filters-Applied"] = []string{"artifactType"}
	}
	// A media type has no spaces: a plus sign that was not encoded arrives as one.
	filter := strings.ReplaceAll(q.Get("artifactType"), " ", "+")
	after := digest.Digest(q.Get("last"))
	list, last, more, err := referrersPage(all, n, func(d ocispec.Descriptor) bool {
		return d.Digest > after && (!q.Has("artifactType") || d.ArtifactType == filter)
	})
	if err != nil {
		c.fail(codeManifestUnknown, err)
		return
	}
	if more {
		c.next(q, last.String())
	}
	c.write(http.StatusOK, []string{ocispec.MediaTypeImageIndex}, list)
}

// referrersPage writes an index of the first n of the wanted descriptors, or fewer that make maxReferrersSize bytes. It returns the last of
// them, and whether there are more.
func referrersPage(all []ocispec.Descriptor, n int, wanted func(ocispec.Descriptor) bool) (list []byte, last digest.Digest, more bool, err error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // it would make annotations longer than they are in the manifest
	buf.WriteString(`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[`)
	count := 0
	for _, d := range all {
		if !wanted(d) {
			continue
		}
		before := buf.Len()
		if count > 0 {
			buf.WriteByte(',')
		}
		if err := enc.Encode(d); err != nil {
			return nil, "", false, err
		}
		buf.Truncate(buf.Len() - 1) // its newline
		if count == n || count > 0 && buf.Len() > maxReferrersSize {
			buf.Truncate(before)
			more = true
			break
		}
		last = d.Digest
		count++
	}
	buf.WriteString("]}")
	return buf.Bytes(), last, more, nil
}

// json answers with a value.
func (c *call) json(v any) {
	body, err := json.Marshal(v)
	if err != nil {
		c.fail(codeUnsupported, err)
		return
	}
	c.write(http.StatusOK, typeJSON, append(body, '\n'))
}
