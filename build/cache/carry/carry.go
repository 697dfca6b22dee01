// Package carry takes the results of a build's steps to other machines, as an artifact that any
// OCI registry, layout or tool can keep and copy.
//
//	var recs carry.Records
//	recs.Add(key, result)                           // for each step of a build
//	a, err := recs.Encode(blobs, nil)               // a manifest and its config; blobs are the layers that go along
//
//	recs, blobs, err := carry.Read(ctx, registry, desc) // elsewhere
//	result, ok := recs.Find(key)                        // the blob is still where it was
//
// # Format
//
// A manifest (OCI image-spec, manifest.md) of the artifactType ArtifactType. Its config, of the type
// ConfigType, is JSON:
//
//	{"records": [{"op": "sha256:…", "parent": "sha256:…", "chainID": "sha256:…",
//	              "layer": {"descriptor": {…}, "diffID": "sha256:…", "size": 1024}}, …]}
//
// op is the digest over the definition of a step and its inputs, see cache.NewKey; parent is the chainID of the layers below it, "" for none.
// A copy from another stage or an image has two records: one with an op over the layers that it copies from, which has the digest of the
// files that are copied in "files", and one with an op over that digest.
// Records are sorted by op and parent, so the same cache has the same digest. The layers of the manifest are blobs that records name. A
// record may name a layer that is not among them: it tells the chainID of a step whose result nobody may need.
//
// Definitions themselves do not travel: they have the values of build arguments in them.
package carry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/build/cache"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The media types.
const (
	ArtifactType = "application/vnd.camada.build-cache.v1"
	ConfigType   = "application/vnd.camada.build-cache.config.v1+json"
)

const (
	// maxConfig bounds a config in bytes, maxRecords how many records it has.
	maxConfig  = 32 << 20
	maxRecords = 50_000
)

// Records are results of steps by their keys. The zero value is empty. They may be used by many goroutines.
type Records struct {
	mu  sync.Mutex
	ops map[digest.Digest]map[digest.Digest]cache.Result // op, parent
}

// Add keeps the result of a step.
func (r *Records) Add(key cache.Key, res cache.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ops == nil {
		r.ops = make(map[digest.Digest]map[digest.Digest]cache.Result)
	}
	if r.ops[key.Op] == nil {
		r.ops[key.Op] = make(map[digest.Digest]cache.Result)
	}
	r.ops[key.Op][key.Parent] = res
}

// Known reports whether there is a record for the operation with any parent.
func (r *Records) Known(op digest.Digest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ops[op]) > 0
}

// Find returns the result of a step.
func (r *Records) Find(key cache.Key) (cache.Result, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	res, ok := r.ops[key.Op][key.Parent]
	return res, ok
}

// Layers are the layers that records name, each once, sorted by digest.
func (r *Records) Layers() []ocispec.Descriptor {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := make(map[digest.Digest]ocispec.Descriptor)
	for _, parents := range r.ops {
		for _, f := range parents {
			seen[f.Layer.Descriptor.Digest] = f.Layer.Descriptor
		}
	}
	out := make([]ocispec.Descriptor, 0, len(seen))
	for _, d := range seen {
		out = append(out, d)
	}
	sortByDigest(out)
	return out
}

// Without returns the records whose layers are not missing.
func (r *Records) Without(missing func(digest.Digest) bool) *Records {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := &Records{}
	for op, parents := range r.ops {
		for parent, f := range parents {
			if !missing(f.Layer.Descriptor.Digest) {
				out.Add(cache.Key{Op: op, Parent: parent}, f)
			}
		}
	}
	return out
}

func sortByDigest(ds []ocispec.Descriptor) {
	slices.SortFunc(ds, func(a, b ocispec.Descriptor) int { return cmp.Compare(a.Digest, b.Digest) })
}

// config is the config of the artifact.
type config struct {
	Records []record `json:"records"`
}

type record struct {
	Op     digest.Digest `json:"op"`
	Parent digest.Digest `json:"parent"`
	cache.Result
}

// Artifact is an encoded cache: documents that are to be stored beside the layers.
type Artifact struct {
	// Manifest is the descriptor of the manifest, with its artifactType.
	Manifest ocispec.Descriptor
	// Documents are the bytes of manifest and config by their digests.
	Documents map[digest.Digest][]byte
}

// Encode makes the artifact. blobs are the layers that go with it, each of which a record names; subject is the image that the cache
// belongs to, nil for none. ErrLimit when there are too many records.
func (r *Records) Encode(blobs []ocispec.Descriptor, subject *ocispec.Descriptor) (Artifact, error) {
	var c config
	r.mu.Lock()
	for op, parents := range r.ops {
		for parent, f := range parents {
			f.Layer.Descriptor = plain(f.Layer.Descriptor)
			c.Records = append(c.Records, record{Op: op, Parent: parent, Result: f})
		}
	}
	r.mu.Unlock()
	if len(c.Records) > maxRecords {
		return Artifact{}, errdefs.Limit("the cache has more than %d records", maxRecords)
	}
	slices.SortFunc(c.Records, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.Op, b.Op), cmp.Compare(a.Parent, b.Parent))
	})
	layers := make([]ocispec.Descriptor, 0, len(blobs))
	for _, b := range blobs {
		layers = append(layers, plain(b))
	}
	sortByDigest(layers)
	return encode(ArtifactType, ConfigType, c, layers, subject)
}

// plain keeps of a descriptor what names the bytes.
func plain(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

// encode makes an artifact with a JSON config.
func encode(artifactType, configType string, config any, layers []ocispec.Descriptor, subject *ocispec.Descriptor) (Artifact, error) {
	a := Artifact{Documents: make(map[digest.Digest][]byte)}
	put := func(mediaType string, v any) (ocispec.Descriptor, error) {
		data, err := json.Marshal(v)
		if err != nil {
			return ocispec.Descriptor{}, fmt.Errorf("encode %s: %w", mediaType, err)
		}
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
		a.Documents[d.Digest] = data
		return d, nil
	}
	conf, err := put(configType, config)
	if err != nil {
		return a, err
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType,
		Config: conf, Layers: layers,
	}
	if subject != nil {
		s := plain(*subject)
		m.Subject = &s
	}
	if a.Manifest, err = put(ocispec.MediaTypeImageManifest, m); err != nil {
		return a, err
	}
	if a.Manifest.Size > image.MaxManifest {
		return a, errdefs.Limit("the cache has %d layers, more than a manifest can name", len(layers))
	}
	a.Manifest.ArtifactType = artifactType
	return a, nil
}

// Read reads an artifact, and returns its records and the layers that are with it. Both were verified; the layers were not
// looked at. ErrUnsupported when the manifest is of something else.
func Read(ctx context.Context, p content.Provider, desc ocispec.Descriptor) (*Records, []ocispec.Descriptor, error) {
	m, data, err := read(ctx, p, desc, ArtifactType, ConfigType)
	if err != nil {
		return nil, nil, err
	}
	recs, err := Parse(data)
	if err != nil {
		return nil, nil, fmt.Errorf("cache %s: %w", desc.Digest, err)
	}
	return recs, m.Layers, nil
}

// read reads the manifest of an artifact and its config.
func read(ctx context.Context, p content.Provider, desc ocispec.Descriptor, artifactType, configType string) (ocispec.Manifest, []byte, error) {
	_, m, err := image.ReadManifest(ctx, p, desc)
	if err != nil {
		return m, nil, err
	}
	if m.ArtifactType != artifactType || m.Config.MediaType != configType {
		return m, nil, errdefs.Unsupported("manifest %s is not of the type %s", desc.Digest, artifactType)
	}
	data, err := content.ReadAll(ctx, p, m.Config, maxConfig)
	if err != nil {
		return m, nil, fmt.Errorf("manifest %s: %w", desc.Digest, err)
	}
	return m, data, nil
}

// Parse reads a config. What is not a record of ours makes all of it ErrCorrupt.
func Parse(data []byte) (*Records, error) {
	if len(data) > maxConfig {
		return nil, errdefs.Limit("%d bytes, more than the limit of %d", len(data), maxConfig)
	}
	var c config
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&c); err != nil {
		return nil, errdefs.Corrupt("parse: %w", err)
	}
	if len(c.Records) > maxRecords {
		return nil, errdefs.Limit("more than %d records", maxRecords)
	}
	recs := &Records{}
	for i, r := range c.Records {
		if err := r.check(); err != nil {
			return nil, errdefs.Corrupt("record %d: %w", i, err)
		}
		recs.Add(cache.Key{Op: r.Op, Parent: r.Parent}, r.Result)
	}
	return recs, nil
}

func (r *record) check() error {
	for _, d := range []digest.Digest{r.Op, r.ChainID, r.Layer.DiffID, r.Layer.Descriptor.Digest} {
		if err := content.CheckDigest(d); err != nil {
			return err
		}
	}
	for _, d := range []digest.Digest{r.Parent, r.Files} {
		if d == "" {
			continue
		}
		if err := content.CheckDigest(d); err != nil {
			return err
		}
	}
	if want := cache.ChainID(r.Parent, r.Layer.DiffID); r.ChainID != want {
		return errdefs.Corrupt("chainID %s, want %s", r.ChainID, want)
	}
	d := r.Layer.Descriptor
	if _, err := compression.FromMediaType(d.MediaType); err != nil {
		return err
	}
	if d.Size <= 0 || r.Layer.Size < 0 || len(d.URLs) > 0 {
		return errdefs.Corrupt("layer %s: its descriptor makes no sense", d.Digest)
	}
	r.Layer.Descriptor = plain(d)
	return nil
}
