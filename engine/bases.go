package engine

import (
	"context"
	"fmt"
	"sync"

	"github.com/camada/camada/build"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/policy"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// bases finds the base images of one build: in the store, or else in their registries. Of the latter only manifest and
// config are read; the layers are fetched when someone opens them.
type bases struct {
	e     *Engine
	blobs *lazy

	mu     sync.Mutex
	asked  map[string]*answer
	pulled []*pulled
}

// answer is what a registry said, once for each name and platform: a tag may move during the build.
type answer struct {
	once sync.Once
	img  *pulled
	err  error
}

// Resolve implements build.Resolver. An image for another platform serves when the name has no other, here or in its
// registry, as BuildKit has it: a build check remarks on it.
func (b *bases) Resolve(ctx context.Context, name string, p ocispec.Platform, pull bool) (build.Base, error) {
	base, fits, err := b.inStore(ctx, name, p)
	if err == nil && fits && !pull || err != nil && !errdefs.IsNotFound(err) {
		return base, err
	}
	ref, parseErr := reference.Parse(name)
	if parseErr != nil || image.IsID(name) {
		return base, err // an ID has no registry
	}
	found, remoteErr := b.ask(ctx, ref, p)
	switch {
	case remoteErr == nil:
	case pull:
		return build.Base{}, remoteErr
	case err == nil:
		return base, nil
	default:
		return build.Base{}, fmt.Errorf("%w; make it with camada base, build, load or import first, or name one that a registry has: %w", err, remoteErr)
	}
	img := found.image
	return build.Base{Name: ref.String(), Manifest: img.Descriptor, Config: img.ConfigBytes, Layers: img.Layers, Annotations: img.Manifest.Annotations}, nil
}

// inStore finds an image of the store; fits tells that it is for the platform.
func (b *bases) inStore(ctx context.Context, name string, p ocispec.Platform) (base build.Base, fits bool, err error) {
	f, err := b.e.resolve(ctx, name)
	if err != nil {
		return build.Base{}, false, err
	}
	img, err := image.Open(ctx, b.e.content, f.descriptor, p)
	if err != nil {
		return build.Base{}, false, err
	}
	full := name
	if f.ref.Repository != "" {
		full = f.ref.String()
	}
	return build.Base{Name: full, Manifest: img.Descriptor, Config: img.ConfigBytes, Layers: img.Layers, Annotations: img.Manifest.Annotations}, platform.Match(p, img.Config.Platform), nil
}

// ask asks the registry, and remembers where the layers are.
func (b *bases) ask(ctx context.Context, ref reference.Reference, p ocispec.Platform) (*pulled, error) {
	key := ref.String() + " " + platform.Format(p)
	b.mu.Lock()
	if b.asked == nil {
		b.asked = make(map[string]*answer)
	}
	a := b.asked[key]
	if a == nil {
		a = &answer{}
		b.asked[key] = a
	}
	b.mu.Unlock()
	a.once.Do(func() {
		ev := progress.Event{ID: "resolve-" + key, Name: "[internal] load metadata for " + ref.String()}
		b.blobs.sink.Emit(ev)
		a.img, a.err = b.e.lookUp(ctx, ref, p)
		if a.err == nil {
			a.err = b.e.enforce(ctx, a.img.request(policy.Pull), located{provider: a.img.repo, image: a.img.image, root: a.img.top}, b.blobs.sink)
		}
		ev.State, ev.Err = progress.Done, a.err
		if a.err != nil {
			ev.State = progress.Failed
		}
		b.blobs.sink.Emit(ev)
		if a.err != nil {
			return
		}
		b.blobs.add(place{src: a.img.repo, name: ref.FamiliarName(), host: ref.Host, repository: ref.Repository}, a.img.image.Layers...)
		b.mu.Lock()
		b.pulled = append(b.pulled, a.img)
		b.mu.Unlock()
	})
	return a.img, a.err
}

// name names the images of registries all layers of which are here now, so that the next build needs no registry.
func (b *bases) name(ctx context.Context) error {
	for _, p := range b.pulled {
		if !b.e.isWhole(ctx, p.image) {
			continue
		}
		if _, err := b.e.namePulled(ctx, p); err != nil && !errdefs.IsConflict(err) { // an immutable tag stays
			return err
		}
	}
	return nil
}
