package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/camada/camada/registry/api"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const absent = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// "Determining Support"; end-1.
func TestSupport(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		c.do("GET", "/v2/", nil).want(200, "Docker-Distribution-Api-Version", "registry/2.0")
		c.do("HEAD", "/v2/", nil).want(200)
		c.do("GET", "/v2", nil).want(200)
		c.do("POST", "/v2/", nil).want(405, "Allow", "GET, HEAD").code("UNSUPPORTED")
		c.do("GET", "/", nil).want(404)
		c.do("GET", "/v2/app/unknown/x", nil).want(404)
	})
}

// "Requirements", "Pulling manifests", "Checking if content exists in the registry"; end-3.
func TestPullManifest(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		data, d := c.manifest("team/app", "a", nil)
		c.put("team/app", "1.0", data).want(201)
		for _, ref := range []string{"1.0", d.String()} {
			a := c.do("GET", "/v2/team/app/manifests/"+ref, nil, "Accept", ocispec.MediaTypeImageIndex, "Accept", ocispec.MediaTypeImageManifest)
			a.want(200, "Content-Type", ocispec.MediaTypeImageManifest, "Docker-Content-Digest", d.String(), "Content-Length", text(len(data)), "Etag", `"`+d.String()+`"`)
			if string(a.body) != string(data) {
				t.Errorf("%s: other bytes than were pushed", ref)
			}
			h := c.do("HEAD", "/v2/team/app/manifests/"+ref, nil)
			h.want(200, "Content-Type", ocispec.MediaTypeImageManifest, "Docker-Content-Digest", d.String(), "Content-Length", text(len(data)))
		}
		for _, method := range []string{"GET", "HEAD"} {
			c.do(method, "/v2/team/app/manifests/none", nil).want(404)
			c.do(method, "/v2/team/app/manifests/"+absent, nil).want(404)
			c.do(method, "/v2/team/other/manifests/1.0", nil).want(404) // not in the repository
			c.do(method, "/v2/team/other/manifests/"+d.String(), nil).want(404)
		}
		c.do("GET", "/v2/team/app/manifests/none", nil).code("MANIFEST_UNKNOWN")
		longest := strings.Repeat("a", 128)
		c.put("team/app", longest, data).want(201)
		c.do("GET", "/v2/team/app/manifests/"+longest, nil).want(200)
		// "The <tag-or-digest> MUST NOT be in any other format."
		c.do("GET", "/v2/team/app/manifests/-x", nil).want(400)
		c.do("GET", "/v2/team/app/manifests/"+strings.Repeat("a", 129), nil).want(400)
		c.do("GET", "/v2/team/app/manifests/sha256:baddigeststring", nil).want(400).code("DIGEST_INVALID")
		c.do("GET", "/v2/team/app/manifests/md5:d41d8cd98f00b204e9800998ecf8427e", nil).want(400)
		// A name MUST match the expression.
		for _, name := range []string{"Team/app", "team//app", "team/_app", "team/app-", "../app", "team/a___b", strings.Repeat("a", 256)} {
			a := c.do("GET", "/v2/"+name+"/manifests/1.0", nil)
			if a.StatusCode != http.StatusBadRequest && a.StatusCode != http.StatusNotFound {
				t.Errorf("name %q: status %d", name, a.StatusCode)
			}
		}
		c.do("GET", "/v2/Team/app/manifests/1.0", nil).want(400).code("NAME_INVALID")
	})
}

// "Pulling blobs", "Checking if content exists in the registry"; end-2.
func TestPullBlob(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		for _, size := range []int{0, 1, 1000, 3 << 20} {
			data, d := blob("0123456789", size)
			c.push("app", data)
			a := c.do("GET", "/v2/app/blobs/"+d.String(), nil).want(200, "Docker-Content-Digest", d.String(), "Content-Length", text(size), "Accept-Ranges", "bytes")
			if digest.FromBytes(a.body) != d {
				t.Errorf("size %d: other bytes than were pushed", size)
			}
			c.do("HEAD", "/v2/app/blobs/"+d.String(), nil).want(200, "Docker-Content-Digest", d.String(), "Content-Length", text(size))
			c.do("GET", "/v2/other/blobs/"+d.String(), nil).want(404)
		}
		c.do("GET", "/v2/app/blobs/"+absent, nil).want(404).code("BLOB_UNKNOWN")
		c.do("HEAD", "/v2/app/blobs/"+absent, nil).want(404)
		c.do("GET", "/v2/app/blobs/sha256:xyz", nil).want(400).code("DIGEST_INVALID")
		c.do("GET", "/v2/app/blobs/latest", nil).want(400).code("DIGEST_INVALID")
	})
}

// "A registry SHOULD support the Range request header" ("Pulling blobs"; RFC 9110, section 14).
func TestRange(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		data, d := blob("0123456789abcdef", 3000)
		big, bigDigest := blob("0123456789abcdef", 3<<20)
		c.push("app", data)
		c.push("app", big)
		for _, tc := range []struct {
			header, contentRange string
			from, to             int
			status               int
		}{
			{"bytes=500-1499", "bytes 500-1499/3000", 500, 1500, 206},
			{"bytes=0-0", "bytes 0-0/3000", 0, 1, 206},
			{"bytes=500-", "bytes 500-2999/3000", 500, 3000, 206},
			{"bytes=-500", "bytes 2500-2999/3000", 2500, 3000, 206},
			{"bytes=-5000", "bytes 0-2999/3000", 0, 3000, 206},
			{"bytes=2000-5000", "bytes 2000-2999/3000", 2000, 3000, 206},
			{"bytes=0-1,5-6", "", 0, 3000, 200}, // several may be ignored
			{"lines=0-1", "", 0, 3000, 200},     // so must be units that are not known
			{"bytes=500-0", "bytes */3000", 0, 0, 416},
			{"bytes=3000-", "bytes */3000", 0, 0, 416},
			{"bytes=-0", "bytes */3000", 0, 0, 416},
			{"bytes=a-b", "bytes */3000", 0, 0, 416},
			{"bytes=99999999999999999999-", "bytes */3000", 0, 0, 416},
		} {
			a := c.do("GET", "/v2/app/blobs/"+d.String(), nil, "Range", tc.header).want(tc.status, "Content-Range", tc.contentRange)
			if tc.status < 300 && string(a.body) != string(data[tc.from:tc.to]) {
				t.Errorf("%s: %d bytes that are others", tc.header, len(a.body))
			}
		}
		a := c.do("GET", "/v2/app/blobs/"+bigDigest.String(), nil, "Range", "bytes=1000000-2500000").want(206, "Content-Length", "1500001")
		if string(a.body) != string(big[1000000:2500001]) {
			t.Error("a big range has other bytes")
		}
		// If-Range (RFC 9110, section 13.1.5).
		c.do("GET", "/v2/app/blobs/"+d.String(), nil, "Range", "bytes=0-9", "If-Range", `"`+d.String()+`"`).want(206)
		c.do("GET", "/v2/app/blobs/"+d.String(), nil, "Range", "bytes=0-9", "If-Range", `"other"`).want(200)
	})
}

// Conditional requests (RFC 9110, section 13; "API").
func TestConditions(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		data, d := c.manifest("app", "a", nil)
		c.put("app", "x", data).want(201)
		layer := digest.FromString("layer of a")
		for _, tc := range []struct{ path, tag string }{
			{"/v2/app/manifests/x", d.String()}, {"/v2/app/manifests/" + d.String(), d.String()}, {"/v2/app/blobs/" + layer.String(), layer.String()},
		} {
			for _, method := range []string{"GET", "HEAD"} {
				c.do(method, tc.path, nil, "If-None-Match", `"`+tc.tag+`"`).want(304, "Etag", `"`+tc.tag+`"`)
				c.do(method, tc.path, nil, "If-None-Match", `"a", W/"`+tc.tag+`"`).want(304)
				c.do(method, tc.path, nil, "If-None-Match", "*").want(304)
				c.do(method, tc.path, nil, "If-None-Match", `"a"`).want(200)
				c.do(method, tc.path, nil, "If-Match", `"`+tc.tag+`"`).want(200)
				c.do(method, tc.path, nil, "If-Match", "*").want(200)
				c.do(method, tc.path, nil, "If-Match", `"a"`).want(412)
				c.do(method, tc.path, nil, "If-Match", `W/"`+tc.tag+`"`).want(412)
			}
		}
		// Tags by conditional writes.
		next, nextDigest := c.manifest("app", "b", nil)
		c.put("app", "x", next, "If-None-Match", "*").want(412)
		c.put("app", "x", next, "If-Match", `"`+nextDigest.String()+`"`).want(412)
		c.put("app", "none", next, "If-Match", "*").want(412)
		c.put("app", "new", next, "If-None-Match", "*").want(201)
		c.put("app", "x", next, "If-Match", `"`+d.String()+`"`).want(201)
		c.do("GET", "/v2/app/manifests/x", nil).want(200, "Docker-Content-Digest", nextDigest.String())
		c.do("DELETE", "/v2/app/manifests/x", nil, "If-Match", `"`+d.String()+`"`).want(412)
		c.do("DELETE", "/v2/app/manifests/x", nil, "If-Match", `"`+nextDigest.String()+`"`).want(202)
	})
}

// "Error Codes", "Warnings": the form of each answer is looked at as it comes.
func TestHeadersOfErrors(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		a := c.do("GET", "/v2/app/blobs/"+absent, nil).want(http.StatusNotFound, "Content-Type", "application/json", "Etag", "", "Cache-Control", "")
		if strings.Contains(string(a.body), "/tmp") {
			t.Errorf("an error tells where the registry keeps its data: %s", a.body)
		}
	})
}
