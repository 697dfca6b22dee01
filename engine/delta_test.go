package engine

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"fmt"
	"github.com/camada/camada/content"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/camada/camada/delta"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/remote/remotetest"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// deltaVersion is version n of an image: a layer that stays, and one of which few files change.
func deltaVersion(n int) [][]byte {
	program := []byte(randomText(3, 400_000))
	for i := 0; i < len(program); i += 997 {
		program[i] += byte(n)
	}
	return [][]byte{
		imagetest.Layer("base", randomText(1, 300_000)),
		imagetest.Layer("same", randomText(2, 500_000), "program", string(program), "version", fmt.Sprint(n)),
	}
}

// release makes version n the image that a name of the engine points to.
func release(t *testing.T, e *Engine, ref reference.Reference, n int) *image.Image {
	t.Helper()
	cfg := imagetest.Config()
	cfg.Platform = platform.Host()
	desc := imagetest.Write(t, e.content, cfg, deltaVersion(n)...)
	if err := e.refs.Set(t.Context(), ref, desc, image.SetOptions{Verb: "build"}); err != nil {
		t.Fatal(err)
	}
	img, err := image.Open(t.Context(), e.content, desc, ocispec.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// counted counts the bytes of answers.
type counted struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// counting makes a registry count what it answers.
func counting(reg *remotetest.Registry) *atomic.Int64 {
	var n atomic.Int64
	before := reg.Before
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if _, ok := w.(counted); ok {
			return before != nil && before(w, r)
		}
		reg.ServeHTTP(counted{w, &n}, r)
		return true
	}
	return &n
}

func TestPullDelta(t *testing.T) {
	for name, c := range map[string]struct {
		referrers bool
		named     bool // the version to start from is named
		has       []int
		noDelta   bool
		harm      func(t *testing.T, reg *remotetest.Registry, manifest ocispec.Manifest)
		least     int64
		most      int64
	}{
		"from the last version": {referrers: true, has: []int{2}, most: 20_000},
		"from the one before":   {referrers: true, has: []int{1}, most: 20_000},
		"listed by a tag":       {has: []int{2}, most: 20_000},
		"from a named version":  {referrers: true, named: true, has: []int{1}, most: 20_000},
		"from nothing":          {referrers: true, least: 1_200_000, most: 1_300_000},
		"not wanted":            {referrers: true, has: []int{2}, noDelta: true, least: 800_000, most: 950_000},
		"the pack is damaged":   {referrers: true, has: []int{2}, least: 800_000, most: 950_000, harm: damagePack},
		"the pack is gone": {referrers: true, has: []int{2}, least: 800_000, most: 950_000, harm: func(_ *testing.T, reg *remotetest.Registry, m ocispec.Manifest) {
			reg.Remove(m.Layers[1].Digest.String())
		}},
		"the document is damaged": {referrers: true, has: []int{2}, least: 800_000, most: 950_000, harm: func(_ *testing.T, reg *remotetest.Registry, m ocispec.Manifest) {
			reg.Damage(m.Layers[0].Digest)
		}},
		"neither of the two versions": {referrers: true, has: []int{7}, least: 400_000, most: 450_000},
	} {
		t.Run(name, func(t *testing.T) {
			reg := remotetest.Start(t)
			reg.Referrers = c.referrers
			ref := reg.Ref("app:1")
			a, b := machine(t), machine(t)
			for v := 1; v <= 2; v++ {
				release(t, a, ref, v)
				if _, err := a.Push(t.Context(), ref.String(), PushOptions{}, nil); err != nil {
					t.Fatal(err)
				}
				if slices.Contains(c.has, v) {
					if _, err := b.Pull(t.Context(), PullOptions{Image: ref.String()}, nil); err != nil {
						t.Fatal(err)
					}
				}
			}
			if slices.Contains(c.has, 7) {
				release(t, b, reg.Ref("app:7"), 7)
			}
			var from []string
			if log, err := a.refs.Log(t.Context(), ref); err != nil {
				t.Fatal(err)
			} else if c.named {
				from = []string{ref.Name() + "@" + log[len(log)-1].To.Digest.String()}
			}
			img := release(t, a, ref, 3)
			_, rows, err := a.PushDelta(t.Context(), ref.String(), from, PushOptions{}, nil)
			if want := 2 - len(from); err != nil || len(rows) != 1 || rows[0].Made != 1 || rows[0].Versions != want || rows[0].Size > 500_000 {
				t.Fatalf("published %+v, %v", rows, err)
			}
			list, err := a.registries().Repository(ref).Referrers(t.Context(), img.Descriptor.Digest, delta.ArtifactType)
			if err != nil || len(list) != 1 {
				t.Fatalf("the registry lists %v, %v", list, err)
			}
			if c.harm != nil {
				_, m, err := image.ReadManifest(t.Context(), a.registries().Repository(ref), list[0])
				if err != nil {
					t.Fatal(err)
				}
				c.harm(t, reg, m)
			}
			read := counting(reg)
			res, err := b.Pull(t.Context(), PullOptions{Image: ref.String(), NoDelta: c.noDelta}, nil)
			if err != nil || res.Digest != img.Descriptor.Digest {
				t.Fatalf("pulled %v, %v", res.Digest, err)
			}
			if n := read.Load(); n < c.least || n > c.most {
				t.Errorf("%d bytes were read, want %d to %d", n, c.least, c.most)
			}
			for _, l := range img.Layers {
				data := readBlob(t, b, l)
				if digest.FromBytes(data) != l.Digest {
					t.Errorf("layer %s is another one", l.Digest)
				}
			}
			if asked := reg.Calls("GET /v2/app/referrers/"); c.noDelta && len(asked) > 0 {
				t.Errorf("the registry was asked %v", asked)
			}
			if left, err := tempNames(b); err != nil || len(left) > 0 {
				t.Errorf("left over: %v, %v", left, err)
			}
		})
	}
}

// damagePack makes the patches that are read others of the same size.
func damagePack(_ *testing.T, reg *remotetest.Registry, m ocispec.Manifest) {
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, m.Layers[1].Digest.String()) {
			return false
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(make([]byte, m.Layers[1].Size)))
		return true
	}
}

// TestPushDeltaOfNothing has no earlier version, and then one with the same layers.
func TestPushDeltaOfNothing(t *testing.T) {
	reg := remotetest.Start(t)
	reg.Referrers = true
	e := machine(t)
	ref := reg.Ref("app:1")
	release(t, e, ref, 1)
	if _, rows, err := e.PushDelta(t.Context(), ref.String(), nil, PushOptions{}, nil); err != nil || len(rows) != 0 {
		t.Errorf("the first version: %+v, %v", rows, err)
	}
	cfg := imagetest.Config()
	cfg.Platform, cfg.Author = platform.Host(), "somebody else"
	desc := imagetest.Write(t, e.content, cfg, deltaVersion(1)...)
	if err := e.refs.Set(t.Context(), ref, desc, image.SetOptions{Verb: "build"}); err != nil {
		t.Fatal(err)
	}
	if _, rows, err := e.PushDelta(t.Context(), ref.String(), nil, PushOptions{}, nil); err != nil || len(rows) != 1 || rows[0].Made != 0 || rows[0].Size != 0 {
		t.Errorf("the same layers: %+v, %v", rows, err)
	}
	if _, _, err := e.PushDelta(t.Context(), ref.String(), []string{reg.Ref("app:9").String()}, PushOptions{}, nil); err == nil || !strings.Contains(err.Error(), "app:9") {
		t.Errorf("a version that is not there: %v", err)
	}
}

// readBlob reads a blob of an engine's store.
func readBlob(t *testing.T, e *Engine, desc ocispec.Descriptor) []byte {
	t.Helper()
	data, err := content.ReadAll(t.Context(), e.content, desc, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// tempNames are the directories of running verbs.
func tempNames(e *Engine) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(e.root, "tmp"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, d := range entries {
		names = append(names, d.Name())
	}
	return names, err
}
