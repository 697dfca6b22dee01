package api

import (
	"strconv"
	"strings"
	"testing"

	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
)

func TestSplit(t *testing.T) {
	for path, want := range map[string]route{
		"/v2/":                                  {kindBase, "", ""},
		"/v2":                                   {kindBase, "", ""},
		"/v2/_catalog":                          {kindCatalog, "", ""},
		"/v2/a/manifests/latest":                {kindManifest, "a", "latest"},
		"/v2/a/b/c/manifests/sha256:x":          {kindManifest, "a/b/c", "sha256:x"},
		"/v2/a/blobs/sha256:x":                  {kindBlob, "a", "sha256:x"},
		"/v2/a/blobs/uploads/":                  {kindUploads, "a", ""},
		"/v2/a/blobs/uploads":                   {kindUploads, "a", ""},
		"/v2/a/blobs/uploads/123":               {kindUpload, "a", "123"},
		"/v2/a/tags/list":                       {kindTags, "a", ""},
		"/v2/a/referrers/sha256:x":              {kindReferrers, "a", "sha256:x"},
		"/v2/a/_camada/history/1":               {kindHistory, "a", "1"},
		"/v2/_camada/registry/sweep":            {kindSweep, "", ""},
		"/v2/_camada/registry/scrub":            {kindScrub, "", ""},
		"/v2/tags/list/tags/list":               {kindTags, "tags/list", ""},
		"/v2/manifests/manifests/manifests":     {kindManifest, "manifests", "manifests"},
		"/v2/blobs/uploads/blobs/uploads/1":     {kindUpload, "blobs/uploads", "1"},
		"/v2/blobs/uploads/manifests/uploads":   {kindManifest, "blobs/uploads", "uploads"},
		"/v2/a/manifests/list/manifests/latest": {kindManifest, "a/manifests/list", "latest"},
	} {
		if got, err := split(path); err != nil || got != want {
			t.Errorf("split(%q) = %v, %v; want %v", path, got, err, want)
		}
	}
	for _, path := range []string{"", "/", "/v1/", "/v2x", "/v2/a", "/v2/manifests/x", "/v2//manifests/x", "/v2/A/manifests/x", "/v2/a/../b/manifests/x", "/v2/a/tags/other",
		"/v2/_camada/manifests/x", "/v2/a/_camada/other/x", "/v2/a/uploads/x", "/v2/a/history/x", "/v2/\x00/manifests/x", "/v2/" + strings.Repeat("a/", 200) + "a/manifests/x"} {
		if got, err := split(path); err == nil {
			t.Errorf("split(%q) = %v", path, got)
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"/v2/", "/v2/a/b/manifests/latest", "/v2/a/blobs/uploads/", "/v2/a/blobs/uploads/x", "/v2/a/_camada/history/x", "/v2/../manifests/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		r, err := split(path)
		if err != nil {
			return
		}
		if r.repository != "" && !reference.ValidRepository(r.repository) || strings.Contains(r.ref, "/") {
			t.Errorf("split(%q) = %+v", path, r)
		}
		if r.kind == kindNone || allow(r.kind) == "" {
			t.Errorf("split(%q) is of a kind that does nothing", path)
		}
	})
}

func FuzzRanges(f *testing.F) {
	for _, s := range []string{"bytes=0-1", "bytes=-5", "bytes=5-", "bytes=0-0,1-1", "bytes=--", "bytes=9223372036854775807-", "0-999", "bytes 0-9/10"} {
		f.Add(s, int64(1000))
	}
	f.Fuzz(func(t *testing.T, s string, size int64) {
		size = max(size, 0)
		if start, length, what := parseRange(s, size); what != rangeBad && (start < 0 || length < 0 || start > size || length > size-start || what == rangePart && length == 0) {
			t.Errorf("parseRange(%q, %d) = %d, %d, %d", s, size, start, length, what)
		}
		if start, end, ok := parseContentRange(s); ok && (start < 0 || end < start) {
			t.Errorf("parseContentRange(%q) = %d, %d", s, start, end)
		}
	})
}

func TestOrigins(t *testing.T) {
	o := newOrigins()
	for i := range 3 * maxOrigins {
		o.note(number(i), "app")
	}
	if n := len(o.newer) + len(o.older); n > maxOrigins {
		t.Errorf("%d are remembered, more than %d", n, maxOrigins)
	}
	if o.find(number(3*maxOrigins-1)) != "app" || o.find(number(0)) != "" {
		t.Error("the last one is forgotten, or the first one is not")
	}
}

func number(i int) digest.Digest { return digest.FromString(strconv.Itoa(i)) }

func FuzzParameters(f *testing.F) {
	for _, s := range []string{"tag=a&tag=b", "n=5&last=a", "tag=%00", "mount=sha256:x&from=../y", "a;b", "%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		tags, err := queryTags(query)
		if err != nil {
			return
		}
		if len(tags) > maxTags {
			t.Errorf("%d tags", len(tags))
		}
		for _, tag := range tags {
			if !reference.ValidTag(tag) {
				t.Errorf("tag %q", tag)
			}
		}
	})
}

func FuzzMatches(f *testing.F) {
	d := number(1)
	for _, s := range []string{etag(d), "W/" + etag(d), "*", `"a", ` + etag(d), `""`, ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, list string) {
		strong, weak := matches([]string{list}, d, false), matches([]string{list}, d, true)
		if strong && !weak || strong && !strings.Contains(list, string(d)) && !strings.Contains(list, "*") {
			t.Errorf("%q: %v, %v", list, strong, weak)
		}
		if matches([]string{list}, "", true) {
			t.Errorf("%q matches what is not there", list)
		}
	})
}
