package git

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/fetch"
	"github.com/camada/camada/internal/flock"
)

const (
	lockName = "lock"
	repoName = "repo.git"
)

// repository is a bare repository of the cache, locked.
type repository struct {
	c      *Client
	remote remote
	dir    string // of the bare repository
	lock   *os.File
}

// open locks the repository of a remote and makes it when it is not there. id tells the kind of object names.
func (c *Client) open(ctx context.Context, r remote, id string) (*repository, error) {
	sum := sha256.Sum256([]byte(r.url))
	format := "sha1"
	if len(id) == 64 {
		format = "sha256"
	}
	top := filepath.Join(c.opts.Dir, hex.EncodeToString(sum[:])+"-"+format)
	lock, err := flock.Directory(ctx, top, lockName)
	if err != nil {
		return nil, fmt.Errorf("open the cache of git: %w", err)
	}
	repo := &repository{c: c, remote: r, dir: filepath.Join(top, repoName), lock: lock}
	if err := repo.prepare(top, format); err != nil {
		lock.Close()
		return nil, fmt.Errorf("open the cache of git: %w", err)
	}
	now := time.Now()
	_ = os.Chtimes(lock.Name(), now, now) // when it was last used
	return repo, nil
}

func (r *repository) close() { r.lock.Close() }

// prepare makes the repository, or takes away what a killed git left in it.
func (r *repository) prepare(top, format string) error {
	if _, err := os.Stat(filepath.Join(r.dir, "HEAD")); err == nil {
		return r.clean()
	}
	fresh := filepath.Join(top, "new.git")
	for _, d := range []string{fresh, r.dir} {
		if err := os.RemoveAll(d); err != nil {
			return err
		}
	}
	for _, d := range []string{"objects/pack", "objects/info", "refs/camada"} {
		if err := os.MkdirAll(filepath.Join(fresh, d), 0o700); err != nil {
			return err
		}
	}
	text, more := "[core]\n\trepositoryformatversion = 0\n\tbare = true\n", ""
	if format != "sha1" {
		text, more = strings.Replace(text, "= 0", "= 1", 1), "[extensions]\n\tobjectformat = "+format+"\n"
	}
	if err := os.WriteFile(filepath.Join(fresh, "config"), []byte(text+more), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(fresh, "HEAD"), []byte("ref: refs/heads/none\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, r.dir)
}

// clean removes the lock files and the half packs of git processes that are no more: they kept our lock.
func (r *repository) clean() error {
	for _, pattern := range []string{"*.lock", "refs/camada/*.lock", "objects/pack/tmp_*"} {
		names, err := filepath.Glob(filepath.Join(r.dir, pattern))
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := os.Remove(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// git runs git on the repository. talk tells that it may talk to the remote.
func (r *repository) git(ctx context.Context, talk bool, env []string, in []byte, args ...string) ([]byte, error) {
	k := call{dir: r.dir, env: append([]string{"GIT_DIR=" + r.dir}, env...), in: in, lock: r.lock, args: args}
	if talk {
		k.remote = &r.remote
	}
	return r.c.run(ctx, k)
}

// has reports whether the repository has a commit, and its tag when there is one. When the commit turns out to be a tag, c is
// made what it is.
func (r *repository) has(ctx context.Context, c *fetch.Commit) bool {
	ask := c.ID + "^{commit}\n" + c.ID + "^{tree}\n"
	if c.Tag != "" {
		ask += c.Tag + "\n"
	}
	out, err := r.git(ctx, false, nil, []byte(ask), "cat-file", "--batch-check=%(objectname) %(objecttype)")
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	id, isCommit := strings.CutSuffix(lines[0], " commit")
	if err != nil || !isCommit || len(lines) < 2 || !strings.HasSuffix(lines[1], " tree") || c.Tag != "" && (len(lines) != 3 || !strings.HasSuffix(lines[2], " tag")) {
		return false
	}
	if id != c.ID {
		c.ID, c.Tag = id, c.ID
	}
	return true
}

// fetch gets the commit c, and its tag when there is one.
func (r *repository) fetch(ctx context.Context, c *fetch.Commit) error {
	want := c.ID
	if c.Tag != "" {
		want = c.Tag
	}
	if r.has(ctx, c) {
		return nil
	}
	// The commit itself is what was asked for; not every server gives it by its name.
	refspecs := [][]string{{"--depth=1", "--", r.remote.url, want + ":" + keep(want)}}
	if c.Ref != "" {
		refspecs = append(refspecs, []string{"--depth=1", "--", r.remote.url, c.Ref + ":" + keep(want)})
	}
	all := []string{"--", r.remote.url, "+refs/heads/*:refs/camada/heads/*", "+refs/tags/*:refs/camada/tags/*"}
	refspecs = append(refspecs, all)
	var first error
	for _, spec := range refspecs {
		args := append([]string{"fetch", "--quiet", "--force", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance"}, spec...)
		if spec[0] != "--depth=1" {
			if _, err := os.Lstat(filepath.Join(r.dir, "shallow")); err == nil {
				args = append(args[:1:1], append([]string{"--unshallow"}, args[1:]...)...)
			}
		}
		_, err := r.git(ctx, true, nil, nil, args...)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if first == nil {
			first = err
		}
		if errdefs.IsPermission(err) {
			return err // asking in another way does not help
		}
		if err == nil && r.has(ctx, c) {
			return nil
		}
	}
	if first == nil || strings.Contains(first.Error(), "not our ref") || strings.Contains(first.Error(), "unadvertised object") {
		return errdefs.NotFound("it has no commit %s", want)
	}
	return first
}

// keep is the ref that holds a commit, so that git does not take it for rubbish.
func keep(id string) string { return "refs/camada/" + id }

// Expire removes the repositories of the cache in dir that were not used since before, and returns how many that were.
// What somebody works on stays.
func Expire(dir string, before time.Time, dryRun bool) (int, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("expire git repositories: %w", err)
	}
	n := 0
	for _, d := range entries {
		name := filepath.Join(dir, d.Name())
		lock, err := os.OpenFile(filepath.Join(name, lockName), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			continue
		}
		if ok, err := flock.TryExclusive(lock); err == nil && ok {
			if info, err := lock.Stat(); err == nil && info.ModTime().Before(before) {
				n++
				if !dryRun {
					os.RemoveAll(name)
				}
			}
		}
		lock.Close()
	}
	return n, nil
}
