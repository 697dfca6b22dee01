package graph

import (
	"strings"

	"github.com/camada/camada/build/op"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/fetch"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/opencontainers/go-digest"
)

// isRemote reports whether a source is to be fetched. github.com/owner/repo is a path here, and a
// repository only as a context.
func isRemote(s string) bool {
	g, isGit, _ := fetch.ParseGit(s)
	return isGit && !g.LooksLocal || fetch.IsHTTP(s)
}

// remotes finds the sources of ADD that are to be fetched.
func remotes(o *op.Copy, c *instructions.AddCommand) error {
	at := 0
	for _, s := range c.SourcePaths {
		if !isRemote(s) {
			at++
			continue
		}
		r := op.Remote{At: at}
		var err error
		if fetch.IsHTTP(s) {
			err = addURL(&r, s, c)
		} else {
			err = addGit(&r, s, c)
		}
		if err != nil {
			return err
		}
		o.Remotes = append(o.Remotes, r)
	}
	if c.Checksum != "" && len(c.SourcePaths) != 1 {
		return errdefs.Invalid("--checksum is for one source, and here are %d", len(c.SourcePaths))
	}
	if c.Checksum != "" && len(o.Remotes) == 0 {
		return errdefs.Invalid("--checksum is for URLs and git repositories; %s is a path", c.SourcePaths[0])
	}
	return nil
}

func addURL(r *op.Remote, s string, c *instructions.AddCommand) error {
	r.URL = &fetch.URL{URL: s}
	if c.Checksum != "" {
		d, err := digest.Parse(c.Checksum)
		if err != nil {
			return errdefs.Invalid("--checksum=%s: want sha256:, sha384: or sha512: and the digest in small hexadecimal digits", c.Checksum)
		}
		r.URL.Checksum = d
	}
	r.Name = r.URL.Name()
	r.Unpack = c.Unpack != nil && *c.Unpack
	return nil
}

func addGit(r *op.Remote, s string, c *instructions.AddCommand) error {
	g, _, err := fetch.ParseGit(s)
	if err != nil {
		return err
	}
	if c.KeepGitDir != nil {
		if g.KeepGitDir != nil && *g.KeepGitDir != *c.KeepGitDir {
			return errdefs.Invalid("--keep-git-dir and the query keep-git-dir say different things")
		}
		g.KeepGitDir = c.KeepGitDir
	}
	if c.Checksum != "" {
		if g.Checksum != "" && g.Checksum != c.Checksum {
			return errdefs.Invalid("--checksum=%s and the query's %s are different", c.Checksum, g.Checksum)
		}
		g.Checksum = c.Checksum
		if err := g.Check(); err != nil {
			return err
		}
	}
	g.Checksum = strings.ToLower(g.Checksum)
	r.Git = &g
	return nil
}
