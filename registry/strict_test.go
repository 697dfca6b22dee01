package registry

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A document that parsers read differently would be another image to the registry than to its clients.
func TestUnambiguous(t *testing.T) {
	descriptor := `{"mediaType":"a/b","digest":"` + digestA + `","size":2}`
	good := `{"schemaVersion":2,"config":` + descriptor + `,"layers":[` + descriptor + `],"annotations":{"Digest":"x","digest":"y","CONFIG":"z"},"Other":{"layers":1,"LAYERS":2}}`
	if _, err := ParseManifest(ocispec.MediaTypeImageManifest, []byte(good), digest.SHA256); err != nil {
		t.Errorf("%v", err)
	}
	for name, tc := range map[string]string{
		"twice":                 `{"schemaVersion":2,"config":` + descriptor + `,"layers":[` + descriptor + `],"layers":[]}`,
		"another case":          `{"schemaVersion":2,"config":` + descriptor + `,"layers":[` + descriptor + `],"Layers":[]}`,
		"another letter":        `{"schemaVersion":2,"config":` + descriptor + `,"layer` + "\u017f" + `":[]}`,
		"escaped":               `{"schemaVersion":2,"config":` + descriptor + `,"con\u0066ig":` + descriptor + `}`,
		"escaped in capitals":   `{"schemaVersion":2,"config":` + descriptor + `,"con\u0046ig":` + descriptor + `}`,
		"a digest":              `{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"` + digestA + `","size":2,"DIGEST":"` + digestB + `"}}`,
		"a digest of a layer":   `{"schemaVersion":2,"config":` + descriptor + `,"layers":[{"digest":"` + digestA + `","digest" : "` + digestB + `","size":2}]}`,
		"a subject":             `{"schemaVersion":2,"config":` + descriptor + `,"subject":` + descriptor + `,"subject":` + descriptor + `}`,
		"only in another case":  `{"schemaVersion":2,"Config":` + descriptor + `}`,
		"the size of a subject": `{"schemaVersion":2,"config":` + descriptor + `,"subject":{"digest":"` + digestA + `","size":1,"Size":2}}`,
	} {
		if !json.Valid([]byte(tc)) {
			t.Errorf("%s is no JSON", name)
		}
		if _, err := ParseManifest(ocispec.MediaTypeImageManifest, []byte(tc), digest.SHA256); !errdefs.IsInvalid(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is deep, or compressed, is refused before it costs anything.
func TestParseManifestBombs(t *testing.T) {
	for name, data := range map[string]string{
		"lists": strings.Repeat("[", 4<<20), "objects": strings.Repeat(`{"a":`, 500_000), "lists in it": `{"schemaVersion":2,"layers":` + strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20) + `}`,
		"gzip": "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "zstd": "\x28\xb5\x2f\xfd\x04\x00", "a number": `{"schemaVersion":` + strings.Repeat("9", 1<<20) + `}`,
	} {
		if _, err := ParseManifest(ocispec.MediaTypeImageManifest, []byte(data), digest.SHA256); !errdefs.IsInvalid(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzUnambiguous(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"config":{"digest":"a","Digest":"b"},"layers":[{"size":1}]}`))
	f.Add([]byte(`[{"a\"b" :{}},"\u0041",{"layers":[[{}]]}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) || unambiguous(data) != nil {
			return
		}
		// Go takes names in any case, and the last of several; a map has each by itself. What is not ambiguous is the same in both.
		var folded struct {
			Config *struct {
				Digest any `json:"digest"`
			} `json:"config"`
			Layers any `json:"layers"`
		}
		var exact map[string]any
		if json.Unmarshal(data, &folded) != nil || json.Unmarshal(data, &exact) != nil {
			return
		}
		if (folded.Layers == nil) != (exact["layers"] == nil) {
			t.Errorf("layers: %v, %v", folded.Layers, exact["layers"])
		}
		config, _ := exact["config"].(map[string]any)
		if folded.Config != nil && (folded.Config.Digest == nil) != (config["digest"] == nil) {
			t.Errorf("digest: %v, %v", folded.Config.Digest, config["digest"])
		}
	})
}
