package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/camada/camada/attest"
	"github.com/camada/camada/fetch"
	"github.com/camada/camada/fetch/git"
)

// gitContext is where a context is from, for its provenance.
type gitContext struct {
	// name is that of a named context, "" for the build context.
	name string
	// remote is the address of the repository without credentials, "" when it is on this machine only.
	remote      string
	ref, commit string
	// workTree tells that the files are those of a directory, which need not be those of the commit.
	workTree bool
}

// noteGit remembers the commit of a context that was checked out.
func (f *fetcher) noteGit(ctx context.Context, name string, g fetch.Git) error {
	c, err := f.Commit(ctx, g) // known since the checkout
	if err != nil {
		return err
	}
	f.note(gitContext{name: name, remote: publicRemote(g.Remote), ref: c.Ref, commit: c.ID})
	return nil
}

// noteWorkTree remembers what is checked out in a directory; of one that is in no repository, nothing.
func (f *fetcher) noteWorkTree(name, dir string) {
	if h, err := git.WorkTree(dir); err == nil {
		f.note(gitContext{name: name, remote: publicRemote(h.Remote), ref: h.Ref, commit: h.Commit, workTree: true})
	}
}

func (f *fetcher) note(g gitContext) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.gits, g) {
		f.gits = append(f.gits, g)
	}
}

// contexts are the contexts from git, in the order of their names.
func (f *fetcher) contexts() []gitContext {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.SortedFunc(slices.Values(f.gits), func(a, b gitContext) int { return strings.Compare(a.name, b.name) })
}

// publicRemote is an address that may be told to others: without credentials, and that of its origin for a repository on this
// machine; "" when it has none.
func publicRemote(remote string) string {
	if path, ok := strings.CutPrefix(remote, "file://"); ok {
		h, err := git.WorkTree(path)
		if err != nil {
			return ""
		}
		remote = h.Remote
	}
	if attest.GitURI(remote, "") == "" {
		return ""
	}
	return attest.Scrub(remote)
}
