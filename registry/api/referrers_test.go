package api_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/registry/api"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// about adds a subject to a document.
func about(doc map[string]any, subject digest.Digest) map[string]any {
	doc["subject"] = map[string]any{"mediaType": ocispec.MediaTypeImageManifest, "digest": subject.String(), "size": 100}
	return doc
}

// putIndex pushes an index of nothing.
func (c *client) putIndex(repo string, subject digest.Digest, extra map[string]any) digest.Digest {
	c.Helper()
	doc := about(map[string]any{"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageIndex, "manifests": []any{}}, subject)
	for k, v := range extra {
		doc[k] = v
	}
	data, err := json.Marshal(doc)
	if err != nil {
		c.Fatal(err)
	}
	d := digest.FromBytes(data)
	c.do("PUT", "/v2/"+repo+"/manifests/"+d.String(), data, "Content-Type", ocispec.MediaTypeImageIndex).want(201, "Oci-Subject", subject.String())
	return d
}

// What a descriptor of a referrer has ("Listing Referrers"), of manifests and of indexes.
func TestReferrersDescriptors(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		// The subject comes after what refers to it ("Push": "in either order").
		image, subject := c.manifest("app", "a", nil)
		notes := map[string]string{"one": "1", "two": "2"}
		want := map[digest.Digest]ocispec.Descriptor{
			c.putIndex("app", subject, map[string]any{"artifactType": "application/set", "annotations": notes}): {MediaType: ocispec.MediaTypeImageIndex, ArtifactType: "application/set", Annotations: notes},
			c.putIndex("app", subject, nil): {MediaType: ocispec.MediaTypeImageIndex}, // without a type in it there is none in the list
		}
		for seed, extra := range map[string]map[string]any{
			"typed": {"artifactType": "application/sbom", "annotations": notes}, "by its config": {}, "empty": {"artifactType": ""},
		} {
			data, d := c.manifest("app", seed, about(extra, subject))
			c.put("app", d.String(), data).want(201, "Oci-Subject", subject.String())
			w := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: ocispec.MediaTypeImageConfig}
			if seed == "typed" {
				w.ArtifactType, w.Annotations = "application/sbom", notes
			}
			want[d] = w
		}
		c.put("app", "1", image).want(201, "Oci-Subject", "")
		a := c.do("GET", "/v2/app/referrers/"+subject.String(), nil).want(200, "Content-Type", ocispec.MediaTypeImageIndex, "Link", "")
		got := decode[ocispec.Index](a)
		if len(got.Manifests) != len(want) || strings.Count(string(a.body), `"artifactType"`) != len(want)-1 {
			t.Errorf("%d referrers of %d: %s", len(got.Manifests), len(want), a.body)
		}
		for _, d := range got.Manifests {
			w := want[d.Digest]
			if d.MediaType != w.MediaType || d.ArtifactType != w.ArtifactType || len(d.Annotations) != len(w.Annotations) || d.Annotations["two"] != w.Annotations["two"] || d.Size == 0 {
				t.Errorf("%+v, want %+v", d, w)
			}
		}
	})
}

// "A Link header MUST be included in the response when the descriptor list cannot be returned in a single manifest" ("Listing Referrers").
func TestReferrersPages(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		subject := digest.FromString("a subject")
		var want []digest.Digest
		for i := range 5 {
			// No client takes an index of more than 4 MiB.
			kind := []string{"application/odd", "application/even"}[i%2]
			d := c.putIndex("app", subject, map[string]any{"artifactType": kind, "annotations": map[string]string{"note": strings.Repeat(text(i), 1_400_000)}})
			if i%2 == 0 {
				want = append(want, d)
			}
		}
		slices.Sort(want)
		var got []digest.Digest
		pages := 0
		for path := "/v2/app/referrers/" + subject.String() + "?artifactType=application/odd"; path != ""; pages++ {
			a := c.do("GET", path, nil).want(200, "Content-Type", ocispec.MediaTypeImageIndex, "Oci-Filters-Applied", "artifactType")
			if len(a.body) > 4<<20 {
				t.Errorf("a page of %d bytes", len(a.body))
			}
			for _, d := range decode[ocispec.Index](a).Manifests {
				got = append(got, d.Digest)
				if len(d.Annotations["note"]) != 1_400_000 {
					t.Errorf("%s: an annotation of %d bytes", d.Digest, len(d.Annotations["note"]))
				}
			}
			path = next(a)
		}
		if pages < 2 || !slices.Equal(got, want) {
			t.Errorf("%d pages with %v, want %v", pages, got, want)
		}
	})
}

// Clients that do not know of the referrers API keep lists of their own under a tag: these are ordinary indexes, and what they list is listed by
// the API too ("Enabling the Referrers API").
func TestReferrersTagSchema(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		image, subject := c.manifest("app", "a", nil)
		c.put("app", "1", image).want(201)
		data, d := c.manifest("app", "b", about(map[string]any{"artifactType": "application/sbom"}, subject))
		c.put("app", d.String(), data).want(201)
		tag := "sha256-" + subject.Encoded()
		entry := desc(ocispec.MediaTypeImageManifest, data)
		entry["artifactType"] = "application/sbom"
		list, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageIndex, "manifests": []any{entry}})
		if err != nil {
			t.Fatal(err)
		}
		c.do("PUT", "/v2/app/manifests/"+tag, list, "Content-Type", ocispec.MediaTypeImageIndex).want(201)
		c.do("GET", "/v2/app/manifests/"+tag, nil).want(200, "Content-Type", ocispec.MediaTypeImageIndex)
		if got := decode[ocispec.Index](c.do("GET", "/v2/app/referrers/"+subject.String(), nil).want(200)); len(got.Manifests) != 1 || got.Manifests[0].Digest != d {
			t.Errorf("referrers %+v", got.Manifests)
		}
	})
}

// A registry that is asked by way of a proxy may be told whose repository is meant; ours is its own ("Registry Proxying").
func TestNamespace(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		data, d := c.manifest("app", "a", nil)
		c.put("app", "1", data).want(201)
		c.do("GET", "/v2/app/manifests/1?ns=registry.example.org", nil).want(200, "Oci-Namespace", "", "Docker-Content-Digest", d.String())
		c.do("GET", "/v2/app/blobs/"+digest.FromString("layer of a").String()+"?ns=registry.example.org", nil).want(200, "Oci-Namespace", "")
	})
}
