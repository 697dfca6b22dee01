package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxReferrers bounds how many referrers are listed.
	maxReferrers = 10_000
	// maxPages bounds how many pages of a list are read.
	maxPages = 1000
	// maxList bounds one page of a list, in bytes.
	maxList = 8 << 20
)

// Referrers lists the manifests whose subject is the given one; artifactType "" lists all. In a registry that
// does not know of referrers they are listed under a tag that is made of the
// subject's digest ("Unavailable Referrers API").
func (r *Repository) Referrers(ctx context.Context, subject digest.Digest, artifactType string) ([]ocispec.Descriptor, error) {
	if err := content.CheckDigest(subject); err != nil {
		return nil, err
	}
	path := r.name + "/referrers/" + subject.String()
	if artifactType != "" {
		path += "?artifactType=" + url.QueryEscape(artifactType)
	}
	var all []ocispec.Descriptor
	err := r.pages(ctx, path, "list referrers of "+subject.String(), func(data []byte) (int, error) {
		idx, err := image.ParseIndex(data, ocispec.MediaTypeImageIndex)
		all = append(all, idx.Manifests...)
		return len(all), err
	})
	if errdefs.IsNotFound(err) || errdefs.IsUnsupported(err) || errdefs.IsInvalid(err) && len(all) == 0 {
		all, err = r.taggedReferrers(ctx, subject)
		if errdefs.IsCorrupt(err) || errdefs.IsInvalid(err) || errdefs.IsUnsupported(err) {
			all, err = nil, nil // what is no index lists nothing ("Listing Referrers")
		}
	}
	if err != nil {
		return nil, err
	}
	kept := all[:0]
	for _, d := range all {
		if artifactType == "" || d.ArtifactType == artifactType {
			kept = append(kept, d)
		}
	}
	return kept, nil
}

// referrersTag is the tag under which referrers are listed where there is no better way ("Referrers Tag Schema").
func referrersTag(subject digest.Digest) string {
	cut := func(s string, n int) string { return s[:min(len(s), n)] }
	return strings.Map(func(c rune) rune {
		if c < utf8.RuneSelf && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.') {
			return c
		}
		return '-'
	}, cut(string(subject.Algorithm()), 32)+"-"+cut(subject.Encoded(), 64))
}

// taggedReferrers reads the list under the subject's tag: none when there is no such tag, ErrCorrupt when something else has the tag.
func (r *Repository) taggedReferrers(ctx context.Context, subject digest.Digest) ([]ocispec.Descriptor, error) {
	_, data, err := r.Manifest(ctx, referrersTag(subject))
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	idx, err := image.ParseIndex(data, ocispec.MediaTypeImageIndex)
	if err != nil {
		return nil, fmt.Errorf("registry %s: referrers of %s: %w", r.Host(), subject, err)
	}
	return idx.Manifests, nil
}

// addReferrer lists a manifest that has a subject under the subject's tag. Two who do so at once can lose
// one of the entries: registries without referrers offer no lock.
func (r *Repository) addReferrer(ctx context.Context, desc ocispec.Descriptor, data []byte) error {
	var m struct {
		ArtifactType string              `json:"artifactType"`
		Config       ocispec.Descriptor  `json:"config"`
		Subject      *ocispec.Descriptor `json:"subject"`
		Annotations  map[string]string   `json:"annotations"`
	}
	if err := json.Unmarshal(data, &m); err != nil || m.Subject == nil {
		return nil //nolint:nilerr // what is no JSON has no subject
	}
	if err := content.CheckDigest(m.Subject.Digest); err != nil {
		return err
	}
	list, err := r.taggedReferrers(ctx, m.Subject.Digest)
	if err != nil {
		return err
	}
	for _, d := range list {
		if d.Digest == desc.Digest {
			return nil
		}
	}
	desc = ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: int64(len(data)), ArtifactType: m.ArtifactType, Annotations: m.Annotations}
	if desc.ArtifactType == "" {
		desc.ArtifactType = m.Config.MediaType
	}
	return r.tagReferrers(ctx, m.Subject.Digest, append(list, desc))
}

// tagReferrers writes the list under the subject's tag.
func (r *Repository) tagReferrers(ctx context.Context, subject digest.Digest, list []ocispec.Descriptor) error {
	idx := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: list}
	out, err := json.Marshal(idx)
	if err != nil {
		return fmt.Errorf("encode the list of referrers: %w", err)
	}
	return r.PutManifest(ctx, referrersTag(subject), ocispec.Descriptor{MediaType: idx.MediaType, Digest: digest.FromBytes(out), Size: int64(len(out))}, out)
}

// dropReferrer takes a manifest that was removed out of the list under its subject's tag, where the registry lists none itself ("Deleting Manifests").
func (r *Repository) dropReferrer(ctx context.Context, subject, dgst digest.Digest) error {
	err := r.pages(ctx, r.name+"/referrers/"+subject.String(), "list referrers of "+subject.String(), func([]byte) (int, error) { return maxReferrers, nil })
	if !errdefs.IsNotFound(err) {
		return nil //nolint:nilerr // it has a list of its own, or cannot be asked; the manifest is removed
	}
	list, err := r.taggedReferrers(ctx, subject)
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(slices.Clone(list), func(d ocispec.Descriptor) bool { return d.Digest == dgst })
	if len(left) == len(list) {
		return nil
	}
	if left == nil {
		left = []ocispec.Descriptor{}
	}
	return r.tagReferrers(ctx, subject, left)
}

// subjectOf is what a manifest is about; "" for nothing.
func subjectOf(manifest []byte) digest.Digest {
	var m struct {
		Subject *ocispec.Descriptor `json:"subject"`
	}
	if json.Unmarshal(manifest, &m) != nil || m.Subject == nil || content.CheckDigest(m.Subject.Digest) != nil {
		return ""
	}
	return m.Subject.Digest
}

// Tags lists the tags of the repository, in the registry's order; at most limit, 0 is 100,000.
func (r *Repository) Tags(ctx context.Context, limit int) ([]string, error) {
	if limit <= 0 {
		limit = 100_000
	}
	var all []string
	err := r.pages(ctx, r.name+"/tags/list", "list tags of "+r.name, func(data []byte) (int, error) {
		var page struct {
			Tags []string `json:"tags"`
		}
		if err := json.Unmarshal(data, &page); err != nil {
			return 0, errdefs.Corrupt("parse: %w", err)
		}
		if all = append(all, page.Tags...); len(all) > limit {
			return 0, errdefs.Limit("more than %d tags", limit)
		}
		return 0, nil
	})
	return all, err
}

// pages reads a list that comes in pages, each of which names the next one in its Link header. fn
// returns how many entries there are.
func (r *Repository) pages(ctx context.Context, path, what string, fn func([]byte) (int, error)) error {
	return r.listing(ctx, path, what, r.scope("pull"), fn)
}

func (r *Repository) listing(ctx context.Context, path, what, scope string, fn func([]byte) (int, error)) error {
	c := call{method: http.MethodGet, path: path, what: what, scopes: []string{scope},
		header: http.Header{"Accept": {ocispec.MediaTypeImageIndex, "application/json"}}}
	for range maxPages {
		res, err := r.host.do(ctx, c)
		if err != nil {
			return err
		}
		data, err := io.ReadAll(io.LimitReader(res.Body, maxList+1))
		res.Body.Close()
		if err != nil {
			return errdefs.With(errdefs.ErrUnavailable, fmt.Errorf("registry %s: %s: %w", r.Host(), what, err))
		}
		if len(data) > maxList {
			return errdefs.Limit("registry %s: %s: more than %d bytes", r.Host(), what, maxList)
		}
		n, err := fn(data)
		if err != nil {
			return fmt.Errorf("registry %s: %s: %w", r.Host(), what, err)
		}
		next := nextLink(res.Header["Link"])
		if next == "" {
			return nil
		}
		u, err := res.Request.URL.Parse(next)
		if err != nil || u.Host != res.Request.URL.Host || u.Scheme != res.Request.URL.Scheme || n >= maxReferrers {
			return errdefs.Limit("registry %s: %s: the list goes on elsewhere, or is too long", r.Host(), what)
		}
		c.url = u
	}
	return errdefs.Limit("registry %s: %s: more than %d pages", r.Host(), what, maxPages)
}
