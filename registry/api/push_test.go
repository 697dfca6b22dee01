package api_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/api"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// "POST then PUT"; end-4a, end-6.
func TestPostPut(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		data, d := blob("x", 1000)
		loc := c.upload("app")
		a := c.do("PUT", loc+"?digest="+d.String(), data, "Content-Type", "application/octet-stream").want(201, "Docker-Content-Digest", d.String())
		got := c.do("GET", a.Header.Get("Location"), nil).want(200)
		if !bytes.Equal(got.body, data) {
			t.Error("other bytes than were pushed")
		}
		c.do("PUT", loc+"?digest="+d.String(), data).want(404).code("BLOB_UPLOAD_UNKNOWN") // it ended
		// A digest that does not match, is invalid, or of an unknown algorithm: 400 ("Pushing blobs").
		c.do("PUT", c.upload("app")+"?digest="+absent, data).want(400).code("DIGEST_INVALID")
		c.do("PUT", c.upload("app")+"?digest=sha256:abc", data).want(400).code("DIGEST_INVALID")
		c.do("PUT", c.upload("app")+"?digest=md5:d41d8cd98f00b204e9800998ecf8427e", data).want(400)
		c.do("PUT", c.upload("app"), data).want(400)
		c.do("GET", "/v2/app/blobs/"+absent, nil).want(404)
	})
}

// "Single POST"; end-4b.
func TestSinglePost(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		for _, size := range []int{0, 10, 2 << 20} {
			data, d := blob("y", size)
			a := c.do("POST", "/v2/app/blobs/uploads/?digest="+d.String(), data).want(201, "Docker-Content-Digest", d.String())
			c.do("GET", a.Header.Get("Location"), nil).want(200, "Content-Length", text(size))
		}
		c.do("POST", "/v2/app/blobs/uploads/?digest="+absent, "x").want(400).code("DIGEST_INVALID")
		c.do("POST", "/v2/app/blobs/uploads/?digest=x", "x").want(400).code("DIGEST_INVALID")
		c.do("GET", "/v2/app/blobs/"+absent, nil).want(404)
	})
}

// "Pushing a blob in chunks"; end-5, end-6, end-13.
func TestChunks(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		data, d := blob("0123456789", 3000)
		loc := c.upload("app")
		// The first chunk's range MUST begin with 0.
		c.do("PATCH", loc, data[1000:2000], "Content-Range", "1000-1999").want(416)
		loc = c.do("PATCH", loc, data[:1000], "Content-Range", "0-999").want(202, "Range", "0-999").Header.Get("Location")
		// Out of order, and again.
		c.do("PATCH", loc, data[2000:], "Content-Range", "2000-2999").want(416, "Range", "0-999")
		c.do("PATCH", loc, data[:1000], "Content-Range", "0-999").want(416)
		// A range that is not the length, and one that is none.
		c.do("PATCH", loc, data[1000:2000], "Content-Range", "1000-1500").want(416)
		c.do("PATCH", loc, data[1000:2000], "Content-Range", "x").want(400).code("BLOB_UPLOAD_INVALID")
		// The status after an error.
		loc = c.do("GET", loc, nil).want(204, "Range", "0-999").Header.Get("Location")
		loc = c.do("PATCH", loc, data[1000:2000], "Content-Range", "1000-1999").want(202, "Range", "0-1999").Header.Get("Location")
		c.do("PUT", loc+"?digest="+d.String(), data[1000:], "Content-Range", "1000-2999").want(416)
		// The last chunk out of order left the session as it was.
		loc = c.do("GET", loc, nil).want(204, "Range", "0-1999").Header.Get("Location")
		a := c.do("PUT", loc+"?digest="+d.String(), data[2000:], "Content-Range", "2000-2999").want(201)
		if got := c.do("GET", a.Header.Get("Location"), nil).want(200); !bytes.Equal(got.body, data) {
			t.Error("other bytes than were pushed")
		}
		// The last chunk by PATCH, and an end without a body.
		loc = c.upload("app")
		c.do("PATCH", loc, data, "Content-Range", "0-2999").want(202)
		c.do("PUT", loc+"?digest="+d.String(), nil).want(201)
		// There is no least size of chunks, and none is told: one of a byte is taken.
		loc = c.do("POST", "/v2/app/blobs/uploads/", nil).want(202, "Oci-Chunk-Min-Length", "").Header.Get("Location")
		loc = c.do("PATCH", loc, data[:1], "Content-Range", "0-0").want(202, "Range", "0-0").Header.Get("Location")
		loc = c.do("PATCH", loc, data[1:2], "Content-Range", "1-1").want(202, "Range", "0-1").Header.Get("Location")
		c.do("PUT", loc+"?digest="+d.String(), data[2:], "Content-Range", "2-2999").want(201)
		// A stream without ranges, of unknown length.
		loc = c.upload("app")
		c.do("PATCH", loc, io.MultiReader(bytes.NewReader(data[:700]))).want(202, "Range", "0-699")
		c.do("PATCH", loc, io.MultiReader(bytes.NewReader(data[700:]))).want(202, "Range", "0-2999")
		c.do("PUT", loc+"?digest="+d.String(), nil).want(201)
		for _, method := range []string{"GET", "PATCH", "DELETE"} {
			c.do(method, "/v2/app/blobs/uploads/00000000-0000-0000-0000-000000000000", nil).want(404).code("BLOB_UPLOAD_UNKNOWN")
			c.do(method, "/v2/app/blobs/uploads/..%2f..%2fx", nil).want(404)
		}
		// An upload belongs to its repository.
		loc = c.upload("app")
		c.do("GET", strings.Replace(loc, "/app/", "/other/", 1), nil).want(404)
	})
}

// digest-algorithm ("Pushing a blob in chunks"; end-4c), and sha512 in every place that a digest has ("Pushing Manifests" among them).
func TestAlgorithms(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		for _, size := range []int{0, 10, 100_000} {
			data := bytes.Repeat([]byte("b"), size)
			d := digest.SHA512.FromBytes(data)
			for i, query := range []string{"?digest-algorithm=sha512", ""} { // SHOULD include it, so others do not
				repo := "app" + text(i)
				loc := c.do("POST", "/v2/"+repo+"/blobs/uploads/"+query, nil).want(202).Header.Get("Location")
				loc = c.do("PATCH", loc, data[:size/2], "Content-Range", "0-"+text(max(size/2-1, 0))).want(202).Header.Get("Location")
				c.do("PUT", loc+"?digest="+d.String(), data[size/2:]).want(201, "Docker-Content-Digest", d.String())
				c.do("PUT", c.do("POST", "/v2/"+repo+"/blobs/uploads/"+query, nil).Header.Get("Location")+"?digest="+d.String(), "other").want(400).code("DIGEST_INVALID")
			}
			c.do("POST", "/v2/app/blobs/uploads/?digest="+d.String(), data).want(201)
			if a := c.do("GET", "/v2/app/blobs/"+d.String(), nil).want(200, "Docker-Content-Digest", d.String(), "Content-Length", text(size)); !bytes.Equal(a.body, data) {
				t.Errorf("%d bytes came back as %d others", size, len(a.body))
			}
			c.do("POST", "/v2/other/blobs/uploads/?mount="+d.String()+"&from=app", nil).want(201, "Docker-Content-Digest", d.String())
			c.do("DELETE", "/v2/other/blobs/"+d.String(), nil).want(202)
			c.do("HEAD", "/v2/other/blobs/"+d.String(), nil).want(404)
		}
		c.do("POST", "/v2/app/blobs/uploads/?digest-algorithm=md5", nil).want(400).code("UNSUPPORTED")
		// A manifest by sha512, of blobs by sha512, and with a tag and a referrer.
		config := []byte("{}")
		cd := digest.SHA512.FromBytes(config)
		c.do("POST", "/v2/app/blobs/uploads/?digest="+cd.String(), config).want(201)
		doc := func(extra string) []byte {
			return []byte(`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `","config":{"mediaType":"a/b","digest":"` + cd.String() + `","size":2},"layers":[]` + extra + `}`)
		}
		m := doc("")
		md := digest.SHA512.FromBytes(m)
		c.put("app", md.String()+"?tag=512", m).want(201, "Docker-Content-Digest", md.String(), "Oci-Tag", "512")
		for _, ref := range []string{md.String(), "512"} {
			c.do("GET", "/v2/app/manifests/"+ref, nil).want(200, "Docker-Content-Digest", md.String())
			c.do("HEAD", "/v2/app/manifests/"+ref, nil).want(200, "Docker-Content-Digest", md.String())
		}
		about := doc(`,"subject":{"mediaType":"` + ocispec.MediaTypeImageManifest + `","digest":"` + md.String() + `","size":` + text(len(m)) + `}`)
		ad := digest.SHA512.FromBytes(about)
		c.put("app", ad.String(), about).want(201, "Oci-Subject", md.String())
		if got := decode[ocispec.Index](c.do("GET", "/v2/app/referrers/"+md.String(), nil).want(200)); len(got.Manifests) != 1 || got.Manifests[0].Digest != ad {
			t.Errorf("referrers %+v", got.Manifests)
		}
		c.do("DELETE", "/v2/app/blobs/"+cd.String(), nil).want(409)
		c.do("DELETE", "/v2/app/manifests/"+md.String(), nil).want(202)
		c.do("GET", "/v2/app/manifests/512", nil).want(404)
	})
}

// "Cancel a blob upload"; end-14.
func TestCancel(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		loc := c.upload("app")
		c.do("PATCH", loc, "abc").want(202)
		c.do("DELETE", loc, nil).want(204)
		c.do("GET", loc, nil).want(404).code("BLOB_UPLOAD_UNKNOWN")
		c.do("DELETE", loc, nil).want(404).code("BLOB_UPLOAD_UNKNOWN")
	})
}

// "the server SHOULD eventually timeout unfinished uploads" ("Cancel a blob upload").
func TestUploadsEnd(t *testing.T) {
	each(t, api.Options{Sweep: registry.SweepOptions{Uploads: time.Nanosecond}}, func(t *testing.T, c *client) {
		loc := c.upload("app")
		c.do("PATCH", loc, "abc").want(202)
		time.Sleep(20 * time.Millisecond)
		c.do("POST", "/v2/_camada/registry/sweep", nil).want(200)
		c.do("GET", loc, nil).want(404).code("BLOB_UPLOAD_UNKNOWN")
	})
}

// "Mounting a blob from another repository"; end-11.
func TestMount(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		data, d := blob("m", 5000)
		c.push("from/here", data)
		a := c.do("POST", "/v2/to/there/blobs/uploads/?mount="+d.String()+"&from=from/here", nil).want(201, "Docker-Content-Digest", d.String())
		c.do("GET", a.Header.Get("Location"), nil).want(200)
		c.do("POST", "/v2/a/blobs/uploads/?mount="+d.String(), nil).want(201) // from MAY be left out
		c.do("GET", "/v2/a/blobs/"+d.String(), nil).want(200)
		// What cannot be mounted becomes an upload.
		for _, query := range []string{"?mount=" + d.String() + "&from=nowhere", "?mount=" + absent, "?mount=" + absent + "&from=from/here", "?mount=" + d.String() + "&from=../x"} {
			loc := c.do("POST", "/v2/b/blobs/uploads/"+query, nil).want(202).Header.Get("Location")
			c.do("GET", loc, nil).want(204)
		}
		c.do("GET", "/v2/b/blobs/"+d.String(), nil).want(404)
		c.do("POST", "/v2/b/blobs/uploads/?mount=x&from=from/here", nil).want(400).code("DIGEST_INVALID")
	})
}

// "Pushing Manifests", with what "Push" and "Pulling manifests" say of what was pushed; end-7a, end-7b.
func TestPushManifest(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		data, _ := c.manifest("app", "a", nil)
		data = append(data, "\n "...) // the exact bytes MUST be kept
		d := digest.FromBytes(data)
		a := c.put("app", "1", data).want(201, "Docker-Content-Digest", d.String())
		got := c.do("GET", a.Header.Get("Location"), nil).want(200)
		if !bytes.Equal(got.body, data) {
			t.Error("other bytes than were pushed")
		}
		c.put("app", d.String(), data).want(201, "Docker-Content-Digest", d.String(), "Oci-Tag", "")
		// Parameters of the media type SHOULD be ignored.
		c.do("PUT", "/v2/app/manifests/2", data, "Content-Type", ocispec.MediaTypeImageManifest+"; charset=utf-8").want(201)
		c.do("GET", "/v2/app/manifests/2", nil).want(200, "Content-Type", ocispec.MediaTypeImageManifest)
		c.do("PUT", "/v2/app/manifests/2", data, "Content-Type", ocispec.MediaTypeImageIndex).want(400).code("MANIFEST_INVALID")
		// Tags as parameters: at least 10.
		query := "?tag=1.2.3&tag=1.2&tag=1.2"
		for _, n := range strings.Fields("a b c d e f g h i j") {
			query += "&tag=" + n
		}
		c.put("app", d.String()+query, data).want(201, "Oci-Tag", "1.2.3, 1.2, a, b, c, d, e, f, g, h, i, j")
		c.do("HEAD", "/v2/app/manifests/j", nil).want(200, "Docker-Content-Digest", d.String())
		c.put("app", d.String()+"?tag=-", data).want(400)
		c.put("app", d.String()+"?"+strings.Repeat("tag=x&", 1)+manyTags(101), data).want(414)
		// Other bytes than the digest's, and digests that are none.
		c.put("app", absent, data).want(400).code("DIGEST_INVALID")
		c.put("app", "sha256:baddigeststring", data).want(400).code("DIGEST_INVALID")
		c.put("app", "1", []byte("{")).want(400).code("MANIFEST_INVALID")
		c.put("app", "1", []byte("")).want(400).code("MANIFEST_INVALID")
		// What it requires is missing, and so is the whole repository.
		a = c.put("other", "1", data).want(404).code("MANIFEST_BLOB_UNKNOWN")
		if n := bytes.Count(a.body, []byte(`"MANIFEST_BLOB_UNKNOWN"`)); n != 2 {
			t.Errorf("of a config and a layer that are missing %d are told: %s", n, a.body)
		}
		c.do("GET", "/v2/other/manifests/1", nil).want(404)
		// "manifest pushes of at least 4 megabytes", and a limit that is answered with 413.
		big, _ := c.manifest("app", "big", map[string]any{"annotations": map[string]string{"x": strings.Repeat("x", 4_000_000)}})
		c.put("app", "big", big).want(201)
		c.put("app", "bigger", bytes.Repeat([]byte(" "), 4<<20+1)).want(413).code("SIZE_INVALID")
		c.do("PUT", "/v2/app/manifests/bigger", io.MultiReader(bytes.NewReader(bytes.Repeat([]byte(" "), 4<<20+1)))).want(413)
	})
}

func manyTags(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("&tag=t" + text(i))
	}
	return b.String()
}

// An index requires its manifests ("Push"); what is foreign or unknown is not required (image-spec, layer.md, "Non-Distributable Layers").
func TestPushKinds(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		m, _ := c.manifest("app", "a", nil)
		index := []byte(`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[{"mediaType":"` + ocispec.MediaTypeImageManifest +
			`","digest":"` + digest.FromBytes(m).String() + `","size":` + text(len(m)) + `}]}`)
		push := func() *answer {
			return c.do("PUT", "/v2/app/manifests/idx", index, "Content-Type", ocispec.MediaTypeImageIndex)
		}
		push().want(404).code("MANIFEST_BLOB_UNKNOWN")
		c.put("app", digest.FromBytes(m).String(), m).want(201)
		push().want(201)
		c.do("GET", "/v2/app/manifests/idx", nil).want(200, "Content-Type", ocispec.MediaTypeImageIndex)
		for i, kind := range []string{
			"application/vnd.oci.image.layer.nondistributable.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
			"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
		} {
			layer := []byte("foreign " + text(i))
			foreign, _ := c.manifest("app", "f", map[string]any{"layers": []any{desc(kind, layer)}})
			c.put("app", "foreign", foreign).want(201)
			if a := c.do("GET", "/v2/app/manifests/foreign", nil).want(200); !bytes.Equal(a.body, foreign) {
				t.Errorf("%s: another manifest", kind)
			}
			// It may be pushed as well, and it is no part of what a manifest keeps.
			c.push("app", layer)
			c.do("GET", "/v2/app/blobs/"+digest.FromBytes(layer).String(), nil).want(200)
			c.do("DELETE", "/v2/app/blobs/"+digest.FromBytes(layer).String(), nil).want(202)
		}
		empty, _ := c.manifest("app", "e", map[string]any{"layers": []any{}})
		c.put("app", "empty", empty).want(201)
	})
}

func TestBlobLimit(t *testing.T) {
	each(t, api.Options{MaxBlob: 1000}, func(t *testing.T, c *client) {
		data, d := blob("l", 1001)
		c.do("POST", "/v2/app/blobs/uploads/?digest="+d.String(), data).want(413).code("SIZE_INVALID")
		loc := c.upload("app")
		c.do("PATCH", loc, data[:600]).want(202)
		c.do("PATCH", loc, data[600:]).want(413)
		c.do("PATCH", loc, io.MultiReader(bytes.NewReader(data[600:]))).want(413)
		ok, okDigest := blob("l", 1000)
		c.do("POST", "/v2/app/blobs/uploads/?digest="+okDigest.String(), ok).want(201)
	})
}
