package build

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/camada/camada/build/graph"
	"github.com/camada/camada/build/source"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Context is what the name of a named context stands for: a directory, an image, or, when both are not set, nothing at all.
type Context struct {
	// Dir is a directory that steps read as they read the build context.
	Dir string
	// Fetched tells that Dir is a copy that was made for this build of what came from elsewhere: nothing is remembered of
	// it, and no link in it leads out of it.
	Fetched bool
	// Image is an image.
	Image *Base
}

// Contexts finds named contexts (--build-context).
type Contexts interface {
	// Context returns what name stands for; nil when there is no context of the name. name is a name of an image in
	// its familiar form, without ":latest".
	Context(ctx context.Context, name string, p ocispec.Platform) (*Context, error)
}

// contexts are the trees of one build's contexts, each opened once.
type contexts struct {
	mu    sync.Mutex
	named map[string]Context
	trees map[string]*contextTree
}

// contextTree is an opened context.
type contextTree struct {
	once   sync.Once
	tree   *source.Tree
	hashes *source.Hashes
	err    error
}

// Named implements graph.Contexts.
func (r *run) Named(ctx context.Context, name string, p ocispec.Platform) (*graph.Context, error) {
	if r.opts.Contexts == nil {
		return nil, nil
	}
	c, err := r.opts.Contexts.Context(ctx, name, p)
	if err != nil {
		return nil, fmt.Errorf("context %s: %w", name, err)
	}
	if c == nil {
		return nil, nil
	}
	g := &graph.Context{Name: name, Dir: c.Dir != ""}
	if c.Image != nil {
		if g.Base, err = r.images.use(ctx, name, *c.Image); err != nil {
			return nil, fmt.Errorf("context %s: %w", name, err)
		}
	}
	r.contexts.mu.Lock()
	defer r.contexts.mu.Unlock()
	if r.contexts.named == nil {
		r.contexts.named = make(map[string]Context)
	}
	r.contexts.named[name] = *c
	return g, nil
}

// contextOf opens a named context, once; "" is the build context.
func (r *run) contextOf(name string) (*source.Tree, error) {
	r.contexts.mu.Lock()
	if r.contexts.trees == nil {
		r.contexts.trees = make(map[string]*contextTree)
	}
	t := r.contexts.trees[name]
	if t == nil {
		t = &contextTree{}
		r.contexts.trees[name] = t
	}
	c, file := r.contexts.named[name], ""
	r.contexts.mu.Unlock()
	if name == "" {
		c, file = r.mainContext(), r.opts.Dockerfile
	}
	t.once.Do(func() { t.err = t.open(r.p.CacheDir, c, file) })
	return t.tree, t.err
}

func (r *run) mainContext() Context { return Context{Dir: r.opts.Context, Fetched: r.opts.Fetched} }

// open opens a directory with the patterns of its .dockerignore, or that of the Dockerfile, which may be "".
func (t *contextTree) open(cacheDir string, c Context, file string) error {
	if c.Dir == "" {
		return errdefs.Invalid("there is no build context to copy from")
	}
	ignore, err := ignoreOf(c, file)
	if err == nil && !c.Fetched {
		t.hashes, err = source.OpenHashes(filepath.Join(cacheDir, "context"), c.Dir)
	}
	if err != nil {
		return err
	}
	t.tree, err = source.Open(c.Dir, source.Options{Ignore: ignore, Hashes: t.hashes})
	return err
}

// ignoreOf reads the .dockerignore of a context, or that of the Dockerfile.
func ignoreOf(c Context, file string) (source.Ignore, error) {
	if !c.Fetched {
		return source.IgnoreFile(c.Dir, file)
	}
	names := []string{ignoreName}
	if file != "" {
		names = []string{file + ignoreName, ignoreName}
	}
	for _, name := range names {
		data, err := readIn(c.Dir, name, maxIgnore)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return source.Ignore{}, fmt.Errorf("%s: %w", name, err)
		}
		return source.ParseIgnore(name, data)
	}
	return source.Ignore{}, nil
}

const (
	ignoreName = ".dockerignore"
	maxIgnore  = 4 << 20
)

// readIn reads a file of a directory that nobody vouches for; links in it are resolved as in a chroot.
func readIn(dir, name string, limit int64) ([]byte, error) {
	tree, err := source.Open(dir, source.Options{})
	if err != nil {
		return nil, err
	}
	defer tree.Close()
	return tree.ReadSmall(context.Background(), name, limit)
}

// fetchedDockerfile reads the Dockerfile of a fetched context. As elsewhere, the name may be written small when none is given.
func fetchedDockerfile(opts Options) (name string, src []byte, err error) {
	names := []string{opts.Dockerfile}
	if opts.Dockerfile == "" {
		names = []string{"Dockerfile", "dockerfile"}
	}
	for _, name = range names {
		src, err = readIn(opts.Context, name, dockerfile.MaxSize)
		if !errdefs.IsNotFound(err) {
			break
		}
	}
	if errdefs.IsNotFound(err) {
		err = errdefs.NotFound("there is no %s in the context; name another Dockerfile with -f", names[0])
	}
	return name, src, err
}

// closeContexts closes the trees.
func (r *run) closeContexts() {
	for _, t := range r.contexts.trees {
		if t.tree != nil {
			t.tree.Close()
		}
	}
}

// saveHashes keeps what was learnt of the contexts' files.
func (r *run) saveHashes() error {
	var err error
	for _, t := range r.contexts.trees {
		err = errors.Join(err, t.hashes.Save())
	}
	return err
}
