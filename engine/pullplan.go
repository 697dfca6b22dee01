package engine

import (
	"context"
	"strings"

	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What a pull does about a blob.
const (
	PullHere      = "here"      // the store has it
	PullFetch     = "fetch"     // it is fetched as a whole
	PullRemake    = "remake"    // it is made of the same layer in another compression, which is here
	PullDelta     = "delta"     // it is made of what is here, and of a part of a delta
	PullElsewhere = "elsewhere" // nobody has to distribute it; it may be at its URLs
)

// PullStep is what a pull would do about one blob of an image.
type PullStep struct {
	// Kind is "index", "manifest", "config" or "layer".
	Kind   string        `json:"kind"`
	Digest digest.Digest `json:"digest"`
	// Size is the blob's, Fetch what would be fetched, both in bytes: less than all of it also when a part is kept of a pull that was cut off.
	Size  int64  `json:"size"`
	Fetch int64  `json:"fetch"`
	How   string `json:"how"`
}

// PullPlan is what a pull would do.
type PullPlan struct {
	Name   string        `json:"name"`
	Digest digest.Digest `json:"digest"`
	Steps  []PullStep    `json:"steps"`
	// Size is that of all blobs, Fetch what would be fetched of them, and Asked what a pull reads besides to find out about deltas.
	Size  int64 `json:"size"`
	Fetch int64 `json:"fetch"`
	Asked int64 `json:"asked"`
}

// PlanPull says what Pull would fetch. Nothing is stored. What Pull tries it tries, too: of a layer that may be here in another compression the first bytes are
// read, and it is compressed.
func (e *Engine) PlanPull(ctx context.Context, opts PullOptions) (PullPlan, error) {
	ref, err := reference.ParseRemote(opts.Image)
	if err != nil {
		return PullPlan{}, err
	}
	p, err := onePlatform(opts.Platform)
	if err != nil {
		return PullPlan{}, err
	}
	found, err := e.lookUp(ctx, ref, p)
	if err != nil {
		return PullPlan{}, err
	}
	plan := PullPlan{Name: found.here.Familiar(), Digest: found.top.Digest}
	parts := planned{kept: map[digest.Digest]int64{}, remade: map[digest.Digest]bool{}, made: map[digest.Digest]int64{}, seen: map[digest.Digest]bool{}}
	if err := e.planKept(ctx, &parts); err != nil {
		return PullPlan{}, err
	}
	if !opts.NoDelta {
		// What cannot be made is fetched, as Pull does it.
		for i, l := range found.image.Layers {
			if from, ok, err := e.remakeFrom(ctx, found, l, found.image.DiffIDs[i]); err != nil {
				return PullPlan{}, err
			} else if ok && !parts.remade[l.Digest] {
				parts.remade[l.Digest] = e.wouldRemake(ctx, found.repo, l, from.desc, found.image.DiffIDs[i])
			}
		}
		if made, err := e.planDelta(ctx, found, parts.remade); err == nil && made != nil {
			defer made.pack.Close()
			plan.Asked = made.read
			for _, l := range made.Layers {
				parts.made[l.Digest] = l.Bytes
			}
		}
	}
	img := found.image
	if found.top.Digest != img.Descriptor.Digest {
		e.planStep(ctx, &plan, "index", found.top, parts)
	}
	e.planStep(ctx, &plan, "manifest", img.Descriptor, parts)
	e.planStep(ctx, &plan, "config", img.Manifest.Config, parts)
	for _, l := range img.Layers {
		e.planStep(ctx, &plan, "layer", l, parts)
	}
	return plan, ctx.Err()
}

// planned is what is known of blobs that are not here as they are.
type planned struct {
	// kept are the bytes that a pull left which was cut off.
	kept map[digest.Digest]int64
	// remade are made of what is here, made of a delta too, with as many bytes of it.
	remade map[digest.Digest]bool
	made   map[digest.Digest]int64
	// seen are those of the steps before.
	seen map[digest.Digest]bool
}

// planKept looks what was kept of pulls that were cut off.
func (e *Engine) planKept(ctx context.Context, p *planned) error {
	list, err := e.content.Ingests(ctx)
	if err != nil {
		return err
	}
	for _, in := range list {
		if d, ok := strings.CutPrefix(in.Ref, "copy-"); ok {
			p.kept[digest.Digest(d)] = in.Size
		}
	}
	return nil
}

// planStep adds a blob.
func (e *Engine) planStep(ctx context.Context, plan *PullPlan, kind string, d ocispec.Descriptor, parts planned) {
	kept := min(parts.kept[d.Digest], d.Size)
	s := PullStep{Kind: kind, Digest: d.Digest, Size: d.Size, Fetch: d.Size - kept, How: PullFetch}
	part, made := parts.made[d.Digest]
	if _, err := e.content.Stat(ctx, d.Digest); err == nil || parts.seen[d.Digest] {
		s.How, s.Fetch = PullHere, 0
	} else if parts.remade[d.Digest] {
		s.How, s.Fetch = PullRemake, max(0, remakeHead-kept)
	} else if made {
		s.How, s.Fetch = PullDelta, part
	} else if len(d.URLs) > 0 {
		s.How, s.Fetch = PullElsewhere, 0
	}
	parts.seen[d.Digest] = true
	plan.Steps = append(plan.Steps, s)
	plan.Size += s.Size
	plan.Fetch += s.Fetch
}
