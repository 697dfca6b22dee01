// Package imagetest makes small images for tests.
//
//	layer := imagetest.Layer("etc/motd", "hello\n")
//	desc := imagetest.Write(t, store, imagetest.Config(), layer)
package imagetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"testing"
	"time"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/content"
	"github.com/camada/camada/image"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layer returns an uncompressed tar with files; the arguments are names and contents in turn.
func Layer(files ...string) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for i := 0; i+1 < len(files); i += 2 {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: files[i], Mode: 0o644, Size: int64(len(files[i+1])), ModTime: time.Unix(1, 0)}
		if err := w.WriteHeader(h); err != nil {
			panic(err)
		}
		if _, err := w.Write([]byte(files[i+1])); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return buf.Bytes()
}

// Gzip compresses data.
func Gzip(data []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(data); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return buf.Bytes()
}

// Config returns a config for linux/amd64 with a command and a label.
func Config() image.Config {
	created := time.Unix(1700000000, 0).UTC()
	var c image.Config
	c.Created = &created
	c.OS, c.Architecture = "linux", "amd64"
	c.Config.Cmd = []string{"/bin/true"}
	c.Config.Env = []string{"PATH=/bin"}
	c.Config.Labels = map[string]string{"test": "yes"}
	return c
}

// Write stores an image of gzip layers made of tars, with a history, and returns the
// descriptor of its manifest.
func Write(tb testing.TB, ing content.Ingester, cfg image.Config, tars ...[]byte) ocispec.Descriptor {
	tb.Helper()
	ctx := context.Background()
	cfg = cfg.Clone()
	var layers []ocispec.Descriptor
	for i, t := range tars {
		d, err := content.WriteBlob(ctx, ing, Gzip(t))
		if err != nil {
			tb.Fatal(err)
		}
		d.MediaType = compression.MediaType(compression.Gzip)
		layers = append(layers, d)
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, digest.FromBytes(t))
		cfg.History = append(cfg.History, ocispec.History{Created: cfg.Created, CreatedBy: "layer " + string(rune('0'+i))})
	}
	cfg.History = append(cfg.History, ocispec.History{Created: cfg.Created, CreatedBy: "CMD", EmptyLayer: true})
	desc, err := image.Write(ctx, ing, cfg, layers, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return desc
}
