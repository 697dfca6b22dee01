package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/fetch"
)

// Checkout makes the directory dest, which must not be there, of the files of g at the commit, which Resolve
// found. Directories and programs have mode 0755, other files 0644. dest is left as far as it came when
// there is an error.
func (c *Client) Checkout(ctx context.Context, g fetch.Git, commit fetch.Commit, dest string) error {
	if err := os.Mkdir(dest, 0o755); err != nil {
		return fmt.Errorf("make a directory for the files of a git repository: %w", err)
	}
	tree := dest
	if g.Subdir != "" {
		tree = dest + ".all"
		if err := os.Mkdir(tree, 0o755); err != nil {
			return fmt.Errorf("make a directory for the files of a git repository: %w", err)
		}
		defer os.RemoveAll(tree)
	}
	x := &checkout{c: c, submodules: !g.NoSubmodules}
	if err := x.repository(ctx, g.Remote, &commit, tree, Keeps(g), 0); err != nil {
		return fmt.Errorf("fetch git repository %s: %w", fetch.Redact(g.Remote), err)
	}
	if err := matches(g, commit); err != nil {
		return err
	}
	if g.Subdir != "" {
		if err := moveSubdir(tree, g.Subdir, dest); err != nil {
			return fmt.Errorf("git repository %s, commit %s: directory %s: %w", fetch.Redact(g.Remote), commit.ID, g.Subdir, err)
		}
	}
	return settle(dest)
}

// matches compares a commit with the checksum once more: of a commit that was named only now is it known whether that was a tag.
func matches(g fetch.Git, c fetch.Commit) error {
	want := strings.ToLower(g.Checksum)
	if !strings.HasPrefix(c.ID, want) && !strings.HasPrefix(c.Tag, want) {
		return errdefs.Conflict("git repository %s: the commit is %s, not %s", fetch.Redact(g.Remote), c.ID, want)
	}
	return nil
}

// Limits on submodules.
const (
	maxDepth      = 20
	maxSubmodules = 2000
)

// checkout is one Checkout under way.
type checkout struct {
	c          *Client
	submodules bool
	count      int
}

// repository puts the files of a commit into the empty directory dir, and those of its submodules.
func (x *checkout) repository(ctx context.Context, url string, commit *fetch.Commit, dir string, keepDir bool, depth int) error {
	r, err := x.c.remote(ctx, url)
	if err != nil {
		return err
	}
	repo, err := x.c.open(ctx, r, commit.ID)
	if err != nil {
		return err
	}
	mods, err := x.files(ctx, repo, commit, dir, keepDir)
	repo.close()
	if err != nil {
		return err
	}
	for _, m := range mods {
		if err := x.submodule(ctx, url, m, dir, depth); err != nil {
			return fmt.Errorf("submodule %q: %w", m.path, err)
		}
	}
	return nil
}

// files puts the files of one commit into dir and returns its submodules.
func (x *checkout) files(ctx context.Context, repo *repository, commit *fetch.Commit, dir string, keepDir bool) ([]module, error) {
	if err := repo.fetch(ctx, commit); err != nil {
		return nil, err
	}
	index := dir + ".index"
	defer os.Remove(index)
	env := []string{"GIT_INDEX_FILE=" + index, "GIT_WORK_TREE=" + dir}
	if _, err := repo.git(ctx, false, env, nil, "read-tree", "--reset", "-u", commit.ID); err != nil {
		return nil, err
	}
	var mods []module
	// Links to commits without this file mean nothing to git clone either.
	if _, err := os.Lstat(filepath.Join(dir, ".gitmodules")); err == nil && x.submodules {
		var err error
		if mods, err = repo.modules(ctx, commit.ID, env); err != nil {
			return nil, err
		}
	}
	if keepDir {
		return mods, repo.gitDir(ctx, *commit, filepath.Join(dir, ".git"))
	}
	return mods, nil
}

// moveSubdir makes what is in a directory of the tree the whole. The way there goes through no link.
func moveSubdir(tree, subdir, dest string) error {
	root, err := os.OpenRoot(tree)
	if err != nil {
		return err
	}
	defer root.Close()
	at := ""
	for part := range strings.SplitSeq(subdir, "/") {
		at = path.Join(at, part)
		info, err := root.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			return errdefs.NotFound("%s is not there", at)
		}
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return errdefs.Invalid("%s is not a directory", at)
		}
	}
	if err := os.Remove(dest); err != nil {
		return err
	}
	return os.Rename(filepath.Join(tree, subdir), dest)
}

// settle gives files the modes that do not depend on the umask.
func settle(dir string) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("look at the files of a git repository: %w", err)
		}
		mode := fs.FileMode(0o755)
		switch {
		case d.IsDir():
		case d.Type().IsRegular():
			info, err := d.Info()
			if err != nil {
				return fmt.Errorf("look at the files of a git repository: %w", err)
			}
			if info.Mode()&0o100 == 0 {
				mode = 0o644
			}
		default:
			return nil
		}
		if err := os.Chmod(p, mode); err != nil {
			return fmt.Errorf("set the mode of a file of a git repository: %w", err)
		}
		return nil
	})
}
