package engine

import (
	"testing"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/content"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/remote/remotetest"
)

// What a plan says is what the pull after it reads, but for the documents of the image, which are small here.
func TestPlanPull(t *testing.T) {
	const documents = 6000
	pull := func(t *testing.T, e *Engine, ref reference.Reference) {
		t.Helper()
		if _, err := e.Pull(t.Context(), PullOptions{Image: ref.String()}, nil); err != nil {
			t.Fatal(err)
		}
	}
	// otherwise makes the layers here in another compression than there.
	tars := deltaVersion(2)
	otherwise := func(t *testing.T, e *Engine, ref reference.Reference) {
		t.Helper()
		for i, tar := range tars {
			compressed(t, e, ref.WithTag([]string{"x", "y"}[i]), tar, compression.Zstd)
		}
	}
	for name, tc := range map[string]struct {
		delta   bool
		before  func(t *testing.T, a, b *Engine, ref reference.Reference, img *image.Image)
		how     []string // of the layers
		noDelta bool
		least   int64 // that is fetched
		most    int64
	}{
		"nothing is here": {how: []string{PullFetch, PullFetch}, least: 900_000, most: 2_000_000},
		"all is here": {how: []string{PullHere, PullHere}, before: func(t *testing.T, _, b *Engine, ref reference.Reference, _ *image.Image) {
			pull(t, b, ref)
		}},
		"in another compression": {how: []string{PullRemake, PullRemake}, least: 2 * remakeHead, most: 2*remakeHead + documents,
			before: func(t *testing.T, _, b *Engine, ref reference.Reference, _ *image.Image) { otherwise(t, b, ref) }},
		"in another compression, as it is wanted": {how: []string{PullFetch, PullFetch}, noDelta: true, least: 900_000, most: 2_000_000,
			before: func(t *testing.T, _, b *Engine, ref reference.Reference, _ *image.Image) { otherwise(t, b, ref) }},
		"a delta": {delta: true, how: []string{PullHere, PullDelta}, least: 1, most: 100_000, before: func(t *testing.T, a, b *Engine, ref reference.Reference, _ *image.Image) {
			one := ref.WithTag("one")
			release(t, a, one, 1)
			if _, err := a.Push(t.Context(), one.String(), PushOptions{}, nil); err != nil {
				t.Fatal(err)
			}
			pull(t, b, one)
		}},
		"a delta that is dearer": {delta: true, how: []string{PullFetch, PullFetch}, least: 900_000, most: 2_000_000, before: func(t *testing.T, _, b *Engine, ref reference.Reference, _ *image.Image) {
			compressed(t, b, ref.WithTag("else"), imagetest.Layer("else", randomText(77, 300_000)), compression.Gzip)
		}},
		"half of it is kept": {how: []string{PullFetch, PullFetch}, least: 400_000, most: 1_500_000, before: func(t *testing.T, a, b *Engine, _ reference.Reference, img *image.Image) {
			l := img.Layers[1]
			w, err := b.content.Writer(t.Context(), content.WriterOptions{Ref: "copy-" + l.Digest.String(), Algorithm: l.Digest.Algorithm(), NoSync: true})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(readBlob(t, a, l)[:l.Size/2]); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			reg := remotetest.Start(t)
			reg.Referrers = true
			ref := reg.Ref("app:1")
			a, b := machine(t), machine(t)
			if tc.delta { // of an earlier version of the tag
				release(t, a, ref, 1)
				if _, err := a.Push(t.Context(), ref.String(), PushOptions{}, nil); err != nil {
					t.Fatal(err)
				}
			}
			img := release(t, a, ref, 2)
			if _, err := a.Push(t.Context(), ref.String(), PushOptions{}, nil); err != nil {
				t.Fatal(err)
			}
			if tc.delta {
				if _, _, err := a.PushDelta(t.Context(), ref.String(), nil, PushOptions{}, nil); err != nil {
					t.Fatal(err)
				}
			}
			if tc.before != nil {
				tc.before(t, a, b, ref, img)
			}
			opts := PullOptions{Image: ref.String(), NoDelta: tc.noDelta}
			plan, err := b.PlanPull(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			var how []string
			for _, s := range plan.Steps {
				if s.Kind == "layer" {
					how = append(how, s.How)
				}
			}
			if len(how) != 2 || how[0] != tc.how[0] || how[1] != tc.how[1] || plan.Fetch < tc.least || plan.Fetch > tc.most {
				t.Errorf("how %v, want %v; %d are fetched, want %d to %d", how, tc.how, plan.Fetch, tc.least, tc.most)
			}
			read := counting(reg)
			if _, err := b.Pull(t.Context(), opts, nil); err != nil {
				t.Fatal(err)
			}
			if n, said := read.Load(), plan.Fetch+plan.Asked; n > said+documents || n < said-documents {
				t.Errorf("%d bytes were read, the plan said %d and %d: %+v", n, plan.Fetch, plan.Asked, plan.Steps)
			}
			if list, err := b.content.Ingests(t.Context()); err != nil || len(list) > 0 {
				t.Errorf("left: %v, %v", list, err)
			}
		})
	}
}
