package engine

import (
	"context"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/camada/camada/fetch"
	"github.com/camada/camada/fetch/git"
	"github.com/camada/camada/fetch/http"
)

// fetcher brings what one build names on other machines. Everything is brought once, so that all steps see the
// same, to a directory that is removed at the end.
type fetcher struct {
	e    *Engine
	http *http.Client
	git  *git.Client
	cred *credentials

	mu      sync.Mutex
	dir     string // "" until it is needed
	remove  func()
	count   int
	files   map[fetch.URL]*once[fetch.File]
	commits map[gitKey]*once[fetch.Commit]
	trees   map[gitKey]*once[string]
	gits    []gitContext
}

func newFetcher(e *Engine, cred *credentials) *fetcher {
	f := &fetcher{
		e: e, cred: cred, http: http.New(http.Options{Dir: filepath.Join(e.root, "cache", "http"), Authorization: cred.authorization}),
		files: map[fetch.URL]*once[fetch.File]{}, commits: map[gitKey]*once[fetch.Commit]{}, trees: map[gitKey]*once[string]{},
	}
	f.git = git.New(git.Options{Dir: filepath.Join(e.root, "cache", "git"), Getenv: e.getenv, Secret: cred.secret, AuthSock: f.agentSocket})
	return f
}

func (f *fetcher) close() {
	f.http.Close()
	f.cred.close()
	if f.remove != nil {
		f.remove()
	}
}

// once is something that is fetched by the first who asks for it.
type once[T any] struct {
	done chan struct{}
	v    T
	err  error
}

// shared returns what the first caller with the key fetches.
func shared[K comparable, T any](ctx context.Context, f *fetcher, m map[K]*once[T], key K, get func() (T, error)) (T, error) {
	f.mu.Lock()
	o, ok := m[key]
	if !ok {
		o = &once[T]{done: make(chan struct{})}
		m[key] = o
	}
	f.mu.Unlock()
	if !ok {
		o.v, o.err = get()
		close(o.done)
	}
	select {
	case <-o.done:
		return o.v, o.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// place returns a path for something new in the fetcher's directory.
func (f *fetcher) place(ctx context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dir == "" {
		dir, remove, err := f.e.tempDir(ctx)
		if err != nil {
			return "", err
		}
		f.dir, f.remove = dir, remove
	}
	f.count++
	return filepath.Join(f.dir, strconv.Itoa(f.count)), nil
}

// File implements build.Fetcher.
func (f *fetcher) File(ctx context.Context, u fetch.URL, p fetch.Progress) (fetch.File, error) {
	return shared(ctx, f, f.files, u, func() (fetch.File, error) {
		dest, err := f.place(ctx)
		if err != nil {
			return fetch.File{}, err
		}
		return f.http.Get(ctx, u, dest, p)
	})
}

// gitKey is a fetch.Git that can be compared.
type gitKey struct {
	fetch.Git
	keep bool
}

func keyOf(g fetch.Git) gitKey {
	k := gitKey{Git: g, keep: git.Keeps(g)}
	k.KeepGitDir = nil
	return k
}

// Commit implements build.Fetcher.
func (f *fetcher) Commit(ctx context.Context, g fetch.Git) (fetch.Commit, error) {
	return shared(ctx, f, f.commits, keyOf(g), func() (fetch.Commit, error) { return f.git.Resolve(ctx, g) })
}

// Checkout implements build.Fetcher.
func (f *fetcher) Checkout(ctx context.Context, g fetch.Git) (string, error) {
	return shared(ctx, f, f.trees, keyOf(g), func() (string, error) {
		commit, err := f.Commit(ctx, g)
		if err != nil {
			return "", err
		}
		dest, err := f.place(ctx)
		if err != nil {
			return "", err
		}
		return dest, f.git.Checkout(ctx, g, commit, dest)
	})
}

// expireFetched removes what builds fetched and have not used since before, and returns how many bytes of files that were.
func (e *Engine) expireFetched(before time.Time, dryRun bool) (int64, error) {
	_, bytes, err := http.Expire(filepath.Join(e.root, "cache", "http"), before, dryRun)
	if err == nil {
		_, err = git.Expire(filepath.Join(e.root, "cache", "git"), before, dryRun)
	}
	return bytes, err
}
