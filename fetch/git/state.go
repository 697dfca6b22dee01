package git

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

// State is what git knows of the commit that is checked out in a work tree.
type State struct {
	Head
	// Time is when the commit was made, by whoever committed it.
	Time time.Time
	// Tags are those of the commit, All those of the repository, by their short names.
	Tags, All []string
	// Last is the tag that was chosen among those that lead to the commit, "" for none; Distance is how many commits came after it, or all when there is none.
	Last     string
	Distance int
	// Dirty tells that files which git knows are changed, added or removed. Others do not count, as with git describe --dirty.
	Dirty bool
	// Shallow tells that the history is not all here.
	Shallow bool
}

// maxTags bounds how many tags a repository may have here.
const maxTags = 200_000

// maxTime is the end of the year 9999, in seconds since 1970: RFC 3339 has no later one.
const maxTime = 253402300799

// State asks git about the work tree that dir is in; ErrNotFound when it is in none. last chooses one of the tags that lead to the commit.
//
// The repository is the user's own, but may have come from anywhere: hooks, a monitor of files and filters that its configuration asks for are not run, and nothing is fetched.
func (c *Client) State(ctx context.Context, dir string, last func(tags []string) string) (State, error) {
	head, err := WorkTree(dir)
	if err != nil {
		return State{}, err
	}
	s := State{Head: head}
	t := &tree{c: c, dir: dir}
	if err := t.disarm(ctx); err != nil {
		return s, fmt.Errorf("look at the repository of %s: %w", dir, err)
	}
	for _, step := range []func(context.Context, *State) error{
		t.time, t.tags,
		func(ctx context.Context, s *State) error { return t.distance(ctx, s, last) },
		t.changes,
	} {
		if err := step(ctx, &s); err != nil {
			return s, fmt.Errorf("look at the repository of %s: %w", dir, err)
		}
	}
	return s, nil
}

// tree is a work tree that git is asked about.
type tree struct {
	c   *Client
	dir string
	// options stand before the command.
	options []string
}

func (t *tree) git(ctx context.Context, args ...string) (string, error) {
	out, err := t.c.run(ctx, call{dir: t.dir, args: append(append([]string{}, t.options...), args...), env: []string{"GIT_OPTIONAL_LOCKS=0", "GIT_NO_LAZY_FETCH=1"}})
	return string(out), err
}

// disarm makes options that outdo what the repository's own configuration would execute.
func (t *tree) disarm(ctx context.Context) error {
	t.options = []string{"-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.pager=cat", "-c", "log.showSignature=false"}
	out, err := t.git(ctx, "config", "--list", "--name-only", "-z")
	if err != nil {
		return err
	}
	for key := range strings.SplitSeq(out, "\x00") {
		rest, ok := strings.CutPrefix(key, "filter.")
		i := strings.LastIndexByte(rest, '.')
		if !ok || i < 0 {
			continue
		}
		if strings.Contains(rest, "=") { // git takes the first = for the end of the key: such a filter would stay on
			return errdefs.Unsupported("its configuration has the filter %.100q, which cannot be turned off: take the = out of its name", rest[:i])
		}
		switch rest[i+1:] {
		case "clean", "smudge", "process":
			t.options = append(t.options, "-c", key+"=")
		case "required":
			t.options = append(t.options, "-c", key+"=false")
		}
	}
	return nil
}

// time reads the time of the commit.
func (t *tree) time(ctx context.Context, s *State) error {
	out, err := t.git(ctx, "cat-file", "commit", s.Commit)
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			break // the message follows
		}
		who, ok := strings.CutPrefix(line, "committer ")
		if !ok {
			continue
		}
		words := strings.Fields(who[strings.LastIndexByte(who, '>')+1:])
		if len(words) == 0 {
			break
		}
		n, err := strconv.ParseInt(words[0], 10, 64)
		if err != nil || n < 0 || n > maxTime {
			break
		}
		s.Time = time.Unix(n, 0).UTC()
		return nil
	}
	return errdefs.Corrupt("commit %s does not say when it was made", s.Commit)
}

// tags reads the tags: annotated ones by what they lead to.
func (t *tree) tags(ctx context.Context, s *State) error {
	out, err := t.git(ctx, "for-each-ref", "--format=%(objectname) %(*objectname) %(refname)", "refs/tags")
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		ids, ref, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " refs/tags/")
		if !ok {
			continue
		}
		if len(s.All) == maxTags {
			return errdefs.Limit("more than %d tags", maxTags)
		}
		s.All = append(s.All, ref)
		if strings.HasSuffix(strings.TrimSpace(ids), s.Commit) {
			s.Tags = append(s.Tags, ref)
		}
	}
	return nil
}

// distance chooses the last tag and counts the commits since then.
func (t *tree) distance(ctx context.Context, s *State, last func([]string) string) error {
	out, err := t.git(ctx, "for-each-ref", "--merged="+s.Commit, "--format=%(refname)", "refs/tags")
	if err != nil {
		return err
	}
	var merged []string
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "refs/tags/"); ok {
			merged = append(merged, name)
		}
	}
	args := []string{"rev-list", "--count", s.Commit}
	if s.Last = last(merged); s.Last != "" {
		args = append(args, "^refs/tags/"+s.Last)
	}
	if out, err = t.git(ctx, append(args, "--")...); err != nil {
		return err
	}
	if s.Distance, err = strconv.Atoi(strings.TrimSpace(out)); err != nil {
		return errdefs.Corrupt("git counts %.20q commits", out)
	}
	out, err = t.git(ctx, "rev-parse", "--is-shallow-repository")
	s.Shallow = strings.TrimSpace(out) == "true"
	return err
}

// changes looks for files that are not as they are in the commit. A submodule counts by its commit.
func (t *tree) changes(ctx context.Context, s *State) error {
	out, err := t.git(ctx, "status", "--porcelain=v1", "-z", "--untracked-files=no", "--ignore-submodules=dirty", "--no-renames")
	s.Dirty = out != ""
	return err
}
