package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/api"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// decode reads the body of an answer.
func decode[T any](a *answer) T {
	a.t.Helper()
	var v T
	if err := json.Unmarshal(a.body, &v); err != nil {
		a.t.Errorf("%s: %v: %.200s", a.Request.URL, err, a.body)
	}
	return v
}

// next is the path of a Link header (RFC 5988).
func next(a *answer) string {
	link := a.Header.Get("Link")
	path, rel, _ := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	if link != "" && rel != `; rel="next"` {
		a.t.Errorf("link %q", link)
	}
	return path
}

type tagList struct {
	Name string
	Tags []string
}

// "Listing Tags"; end-8a, end-8b.
func TestListTags(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		c.do("GET", "/v2/app/tags/list", nil).want(404).code("NAME_UNKNOWN")
		data, d := c.manifest("app", "a", nil)
		c.do("GET", "/v2/app/tags/list", nil).want(200) // it has blobs
		c.put("app", d.String(), data).want(201)
		a := c.do("GET", "/v2/app/tags/list", nil).want(200, "Content-Type", "application/json")
		if string(a.body) != "{\"name\":\"app\",\"tags\":[]}\n" {
			t.Errorf("no tags: %s", a.body)
		}
		want := []string{"1", "10", "2", "A", "_x", "b"} // ASCIIbetical
		for _, tag := range []string{"b", "10", "A", "_x", "2", "1"} {
			c.put("app", tag, data).want(201)
		}
		if got := decode[tagList](c.do("GET", "/v2/app/tags/list", nil).want(200, "Link", "")); got.Name != "app" || !slices.Equal(got.Tags, want) {
			t.Errorf("tags %v", got)
		}
		if got := decode[tagList](c.do("GET", "/v2/app/tags/list?n=0", nil).want(200, "Link", "")); len(got.Tags) != 0 {
			t.Errorf("n=0: %v", got)
		}
		var pages []string
		for path := "/v2/app/tags/list?n=4"; path != ""; {
			a := c.do("GET", path, nil).want(200)
			pages = append(pages, decode[tagList](a).Tags...)
			path = next(a)
		}
		if !slices.Equal(pages, want) {
			t.Errorf("pages %v", pages)
		}
		for query, want := range map[string][]string{
			"?n=6": want, "?n=100": want, "?n=2&last=2": {"A", "_x"}, "?last=A": {"_x", "b"}, "?last=B": {"_x", "b"}, "?n=2&last=b": {},
		} {
			if got := decode[tagList](c.do("GET", "/v2/app/tags/list"+query, nil).want(200)); !slices.Equal(got.Tags, want) {
				t.Errorf("%s: %v, want %v", query, got.Tags, want)
			}
		}
		c.do("GET", "/v2/app/tags/list?n=6", nil).want(200, "Link", "")
		c.do("GET", "/v2/app/tags/list?n=-1", nil).want(400)
		c.do("GET", "/v2/app/tags/list?n=x", nil).want(400)
	})
}

func TestCatalog(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		type catalog struct{ Repositories []string }
		if got := string(c.do("GET", "/v2/_catalog", nil).want(200).body); got != "{\"repositories\":[]}\n" {
			t.Errorf("an empty one: %s", got)
		}
		var want []string
		for i := range 7 {
			name := fmt.Sprintf("team/app%d", i)
			c.manifest(name, "a", nil)
			want = append(want, name)
		}
		var got []string
		for path := "/v2/_catalog?n=3"; path != ""; {
			a := c.do("GET", path, nil).want(200)
			got = append(got, decode[catalog](a).Repositories...)
			path = next(a)
		}
		if !slices.Equal(got, want) {
			t.Errorf("repositories %v", got)
		}
		if got := decode[catalog](c.do("GET", "/v2/_catalog?last=team/app4", nil).want(200)); !slices.Equal(got.Repositories, want[5:]) {
			t.Errorf("after the fifth: %v", got)
		}
	})
}

// "Listing Referrers", "Pushing Manifests with Subject"; end-12a, end-12b.
func TestReferrers(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		image, subject := c.manifest("app", "a", nil)
		about := func(seed string, extra map[string]any) digest.Digest {
			extra["subject"] = map[string]any{"mediaType": ocispec.MediaTypeImageManifest, "digest": subject.String(), "size": len(image)}
			data, d := c.manifest("app", seed, extra)
			c.put("app", d.String(), data).want(201, "Oci-Subject", subject.String())
			return d
		}
		list := func(query string, headers ...string) ocispec.Index {
			return decode[ocispec.Index](c.do("GET", "/v2/app/referrers/"+subject.String()+query, nil).want(200, append([]string{"Content-Type", ocispec.MediaTypeImageIndex}, headers...)...))
		}
		// Never a 404, whether the repository or the subject is there or not.
		if got := list(""); got.SchemaVersion != 2 || got.MediaType != ocispec.MediaTypeImageIndex || got.Manifests == nil || len(got.Manifests) != 0 {
			t.Errorf("none: %+v", got)
		}
		c.do("GET", "/v2/unknown/referrers/"+absent, nil).want(200)
		c.do("GET", "/v2/app/referrers/x", nil).want(400)
		// The subject need not be there, and MUST be accepted.
		sbom := about("sbom", map[string]any{"artifactType": "application/sbom", "annotations": map[string]string{"k": "v"}})
		plain := about("plain", map[string]any{})
		if got := list("", "Oci-Filters-Applied", ""); len(got.Manifests) != 2 {
			t.Errorf("two: %+v", got)
		}
		got := list("?artifactType=application/sbom", "Oci-Filters-Applied", "artifactType")
		if len(got.Manifests) != 1 || got.Manifests[0].Digest != sbom || got.Manifests[0].Annotations["k"] != "v" || got.Manifests[0].ArtifactType != "application/sbom" {
			t.Errorf("filtered: %+v", got)
		}
		// Without an artifactType it is the config's media type.
		if got := list("?artifactType=" + ocispec.MediaTypeImageConfig); len(got.Manifests) != 1 || got.Manifests[0].Digest != plain {
			t.Errorf("by the config's type: %+v", got)
		}
		if got := list("?artifactType=a/b", "Oci-Filters-Applied", "artifactType"); len(got.Manifests) != 0 {
			t.Errorf("none of the type: %+v", got)
		}
		// Pages.
		a := c.do("GET", "/v2/app/referrers/"+subject.String()+"?n=1", nil).want(200)
		first, second := decode[ocispec.Index](a), decode[ocispec.Index](c.do("GET", next(a), nil).want(200, "Link", ""))
		if len(first.Manifests) != 1 || len(second.Manifests) != 1 || first.Manifests[0].Digest == second.Manifests[0].Digest {
			t.Errorf("pages %+v and %+v", first, second)
		}
		c.do("DELETE", "/v2/app/manifests/"+sbom.String(), nil).want(202)
		if got := list(""); len(got.Manifests) != 1 {
			t.Errorf("after a delete: %+v", got)
		}
	})
}

// "Deleting tags", "Deleting Manifests", "Deleting Blobs", so that all of "Requirements" is there; end-9, end-10.
func TestDelete(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		data, d := c.manifest("app", "a", nil)
		c.put("app", d.String()+"?tag=1&tag=2", data).want(201)
		layer := digest.FromString("layer of a").String()
		c.do("DELETE", "/v2/app/blobs/"+layer, nil).want(409).code("DENIED") // the manifest requires it
		c.do("DELETE", "/v2/app/manifests/1", nil).want(202)
		c.do("GET", "/v2/app/manifests/1", nil).want(404)
		c.do("GET", "/v2/app/manifests/"+d.String(), nil).want(200)
		c.do("DELETE", "/v2/app/manifests/1", nil).want(404).code("MANIFEST_UNKNOWN")
		c.do("DELETE", "/v2/app/manifests/"+d.String(), nil).want(202)
		c.do("GET", "/v2/app/manifests/"+d.String(), nil).want(404)
		c.do("GET", "/v2/app/manifests/2", nil).want(404) // "any tag pointing to that digest"
		c.do("DELETE", "/v2/app/manifests/"+d.String(), nil).want(404)
		c.do("DELETE", "/v2/unknown/manifests/"+d.String(), nil).want(404)
		c.do("DELETE", "/v2/app/blobs/"+layer, nil).want(202)
		c.do("GET", "/v2/app/blobs/"+layer, nil).want(404)
		c.do("DELETE", "/v2/app/blobs/"+layer, nil).want(404).code("BLOB_UNKNOWN")
	})
}

func TestHistory(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		type history struct {
			Name, Tag string
			History   []registry.LogEntry
		}
		one, oneDigest := c.manifest("app", "one", nil)
		two, twoDigest := c.manifest("app", "two", nil)
		c.do("GET", "/v2/app/_camada/history/x", nil).want(404)
		c.put("app", "x", one).want(201)
		c.do("POST", "/v2/app/_camada/history/x", nil).want(404) // it was nothing before
		c.put("app", "x", two).want(201)
		got := decode[history](c.do("GET", "/v2/app/_camada/history/x", nil).want(200))
		if len(got.History) != 2 || got.History[0].To != twoDigest || got.History[0].From != oneDigest || got.History[0].Verb != "push" {
			t.Errorf("history %+v", got)
		}
		if got := decode[history](c.do("GET", "/v2/app/_camada/history/x?n=1", nil).want(200)); len(got.History) != 1 {
			t.Errorf("one entry: %+v", got)
		}
		c.do("POST", "/v2/app/_camada/history/x", nil).want(200, "Docker-Content-Digest", oneDigest.String())
		c.do("HEAD", "/v2/app/manifests/x", nil).want(200, "Docker-Content-Digest", oneDigest.String())
		c.do("POST", "/v2/app/_camada/history/x?to="+twoDigest.String(), nil).want(200)
		c.do("POST", "/v2/app/_camada/history/x?to="+absent, nil).want(404) // it never was that
		// A tag that was deleted comes back.
		c.do("DELETE", "/v2/app/manifests/x", nil).want(202)
		c.do("POST", "/v2/app/_camada/history/x", nil).want(200)
		c.do("HEAD", "/v2/app/manifests/x", nil).want(200, "Docker-Content-Digest", twoDigest.String())
		// Somebody may have been faster (RFC 9110, 13.1).
		back := "/v2/app/_camada/history/x?to=" + oneDigest.String()
		c.do("POST", back, nil, "If-Match", `"`+oneDigest.String()+`"`).want(412)
		c.do("POST", back, nil, "If-None-Match", "*").want(412)
		got = decode[history](c.do("GET", "/v2/app/_camada/history/x", nil).want(200))
		if len(got.History) != 6 || got.History[0].Verb != "restore" || got.History[2].Verb != "rollback" {
			t.Errorf("history %+v", got)
		}
		c.do("POST", back, nil, "If-Match", `"`+twoDigest.String()+`"`).want(200)
		c.do("DELETE", "/v2/app/manifests/x", nil).want(202)
		c.do("POST", back, nil, "If-Match", `"`+oneDigest.String()+`"`).want(412)
		c.do("POST", back, nil, "If-None-Match", "*").want(200, "Docker-Content-Digest", oneDigest.String())
	})
}

// A tag is not moved back to what may not be stored any more.
func TestHistoryAdmitted(t *testing.T) {
	var refused atomic.Pointer[digest.Digest]
	admit := func(_ context.Context, o api.Object) error {
		if d := refused.Load(); d != nil && o.Store && o.Manifest.Descriptor.Digest == *d && slices.Equal(o.Tags, []string{"x"}) {
			return errdefs.Permission("not this one")
		}
		return nil
	}
	each(t, api.Options{Admit: admit}, func(t *testing.T, c *client) {
		refused.Store(nil)
		one, oneDigest := c.manifest("app", "one", nil)
		two, twoDigest := c.manifest("app", "two", nil)
		c.put("app", "x", one).want(201)
		c.put("app", "x", two).want(201)
		refused.Store(&oneDigest)
		c.do("POST", "/v2/app/_camada/history/x", nil).want(403).code("DENIED")
		c.do("HEAD", "/v2/app/manifests/x", nil).want(200, "Docker-Content-Digest", twoDigest.String())
		refused.Store(nil)
		c.do("POST", "/v2/app/_camada/history/x", nil).want(200, "Docker-Content-Digest", oneDigest.String())
	})
}

func TestImmutable(t *testing.T) {
	immutable := func(repository, tag string) bool { return strings.HasPrefix(tag, "v") }
	each(t, api.Options{Immutable: immutable}, func(t *testing.T, c *client) {
		one, oneDigest := c.manifest("app", "one", nil)
		two, twoDigest := c.manifest("app", "two", nil)
		c.put("app", "v1", one).want(201)
		c.put("app", "v1", one).want(201) // the same again
		c.put("app", "v1", two).want(409).code("DENIED")
		c.put("app", twoDigest.String()+"?tag=latest&tag=v1", two).want(409)
		c.do("GET", "/v2/app/manifests/latest", nil).want(404)
		c.put("app", twoDigest.String()+"?tag=latest&tag=v2", two).want(201)
		c.do("HEAD", "/v2/app/manifests/v2", nil).want(200, "Docker-Content-Digest", twoDigest.String())
		c.do("DELETE", "/v2/app/manifests/v1", nil).want(409)
		c.do("DELETE", "/v2/app/manifests/"+oneDigest.String(), nil).want(409)
		c.do("HEAD", "/v2/app/manifests/v1", nil).want(200, "Docker-Content-Digest", oneDigest.String())
		c.do("DELETE", "/v2/app/manifests/latest", nil).want(202)
		c.do("DELETE", "/v2/app/manifests/none", nil).want(404)
	})
}

func TestSweepAndScrub(t *testing.T) {
	each(t, api.Options{Sweep: registry.SweepOptions{Grace: time.Nanosecond}}, func(t *testing.T, c *client) {
		data, d := c.manifest("app", "a", nil)
		c.put("app", "1", data).want(201)
		stray := c.push("app", []byte("stray"))
		c.do("POST", "/v2/_camada/registry/sweep?dry-run=1", nil).want(200)
		c.do("HEAD", "/v2/app/blobs/"+stray.String(), nil).want(200)
		got := decode[struct{ Blobs int }](c.do("POST", "/v2/_camada/registry/sweep", nil).want(200))
		if got.Blobs != 1 {
			t.Errorf("swept %d blobs, want 1", got.Blobs)
		}
		c.do("HEAD", "/v2/app/blobs/"+stray.String(), nil).want(404)
		c.do("HEAD", "/v2/app/manifests/"+d.String(), nil).want(200)
		report := decode[struct {
			Manifests, Problems int
			Found               []registry.Problem
		}](c.do("POST", "/v2/_camada/registry/scrub", nil).want(200))
		if report.Manifests != 1 || report.Problems != 0 || report.Found == nil {
			t.Errorf("scrubbed: %+v", report)
		}
		c.do("GET", "/v2/_camada/registry/sweep", nil).want(405)
	})
}
