package slim

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/container/trace"
	"github.com/camada/camada/errdefs"
)

// Options say what is kept besides what was used.
type Options struct {
	// Include are paths, with all below them, and patterns of such, as anatomy.Image.Glob has them; Exclude are left out whatever else was said.
	Include, Exclude []string
	// Keep are the names of rules that are off by themselves: one of Extras.
	Keep []string
	// Env, Workdir, Home and Volumes are those of the image's config and user; Commands the programs that it starts: entry point and health check.
	Env      []string
	Workdir  string
	Home     string
	Volumes  []string
	Commands [][]string
}

// Selection is what is kept of a tree. It is of use while the tree is open.
type Selection struct {
	// Files are all of the tree but directories, sorted by path.
	Files []File
	// Replaced are files with another content than in the tree, Added files that it has not: lists of packages.
	Replaced, Added map[string][]byte
	// Listed are directories whose names a run read, and that lack some now.
	Listed []Listed
	// Databases are the package databases that are kept as they are, though they tell of packages that are gone.
	Databases []string

	t    *Tree
	pkgs []pkg
}

// File is a file of the tree.
type File struct {
	// Path is relative and clean. Link is where a symbolic link points to.
	Path string
	Link string `json:",omitempty"`
	// Size is in bytes: 0 for what is no regular file, and for further names of one that was counted.
	Size int64
	// Kept tells whether it is in the slim image, Reason why; "" for what is left out, or "excluded".
	Kept   bool
	Reason string `json:",omitempty"`
	// Package is what it belongs to, by the name of the package manager's; "" for none, or not known.
	Package string `json:",omitempty"`
	// Setuid marks programs that run with another's rights.
	Setuid bool `json:",omitempty"`
}

// Listed is a directory that a run listed.
type Listed struct {
	Path string
	// Left is how many of its names are gone, of Names.
	Left, Names int
}

// chooser is the state of one choice.
type chooser struct {
	t    *Tree
	opts Options
	used []Used
	// queue are nodes that are kept and not looked at yet.
	queue []*node
	x     *closure
	sel   *Selection
}

// Choose chooses what is kept. A pattern that is none, or a rule that is not known, is ErrInvalid; a path to be included that is not there ErrNotFound. A tree is chosen from once.
func (t *Tree) Choose(ctx context.Context, used []Used, opts Options) (*Selection, error) {
	c := &chooser{t: t, opts: opts, used: used, sel: &Selection{t: t, Replaced: map[string][]byte{}, Added: map[string][]byte{}}}
	c.x = c.newClosure()
	t.root.kept = true
	c.byUse()
	if err := c.include(); err != nil {
		return nil, err
	}
	if err := c.rules(); err != nil {
		return nil, err
	}
	if err := c.settle(ctx); err != nil {
		return nil, err
	}
	c.afterwards()
	if err := c.settle(ctx); err != nil {
		return nil, err
	}
	if err := c.packages(ctx); err != nil {
		return nil, err
	}
	if err := c.exclude(); err != nil {
		return nil, err
	}
	c.finish()
	return c.sel, nil
}

// byUse keeps what was used, the strongest use first: it is the reason that is told.
func (c *chooser) byUse() {
	sorted := slices.Clone(c.used)
	lowest := func(h trace.How) trace.How { return h & -h }
	slices.SortStableFunc(sorted, func(a, b Used) int { return cmp.Compare(lowest(a.How), lowest(b.How)) })
	for _, u := range sorted {
		why := map[trace.How]string{trace.Exec: "executed", trace.Open: "opened", trace.Write: "written", trace.List: "listed", trace.Stat: "looked at", trace.Change: "changed"}[lowest(u.How)]
		c.keep(u.Path, u.NoFollow, why)
	}
}

// keep keeps what a path leads to, the links that it goes through, and the directories as far as they are there: a file may have been made in one.
func (c *chooser) keep(name string, noFollow bool, why string) {
	w := c.t.find(name, noFollow)
	for _, n := range w.through {
		if n.isDir() {
			c.mark(n, "on the way")
		} else {
			c.mark(n, "a link on the way")
		}
	}
	if w.end != nil {
		c.mark(w.end, why)
	}
}

// mark keeps a node, and the directories above.
func (c *chooser) mark(n *node, why string) {
	for ; n != nil && !n.kept; n, why = n.parent, "on the way" {
		n.kept, n.reason = true, why
		c.queue = append(c.queue, n)
	}
}

// whole keeps a node with all below it, and where links there lead.
func (c *chooser) whole(n *node, why string) {
	c.mark(n, why)
	n.each(func(k *node) {
		c.mark(k, why)
		if k.link != "" {
			c.keep("/"+k.path(), false, why)
		}
	})
}

// settle looks at all that was kept until nothing comes of it any more.
func (c *chooser) settle(ctx context.Context) error {
	for len(c.queue) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := c.queue[len(c.queue)-1]
		c.queue = c.queue[:len(c.queue)-1]
		if n.link != "" && n.reason != "a link on the way" && n.reason != "looked at" && n.reason != "changed" {
			c.keep("/"+n.path(), false, n.reason)
		}
		c.x.add(n)
	}
	return nil
}

// include keeps what the user names.
func (c *chooser) include() error {
	for _, p := range c.opts.Include {
		found := false
		if !strings.ContainsAny(p, "*?[") {
			if n := c.t.find(p, false).end; n != nil {
				found = true
				c.keep(p, false, "included")
				c.whole(n, "included")
			}
		} else {
			match, err := anatomy.Pattern(p)
			if err != nil {
				return err
			}
			c.t.root.each(func(n *node) {
				if match(n.path()) {
					found = true
					c.whole(n, "included")
				}
			})
		}
		if !found {
			return errdefs.NotFound("nothing in the image is %s, which is to be included", p)
		}
	}
	return nil
}

// exclude leaves out what the user names.
func (c *chooser) exclude() error {
	for _, p := range c.opts.Exclude {
		match, err := anatomy.Pattern(p)
		if err != nil {
			return err
		}
		c.t.root.each(func(n *node) {
			if n.parent.excluded || match(n.path()) {
				n.excluded, n.kept = true, false
			}
		})
		for name := range c.sel.Added {
			for at := name; at != "."; at = path.Dir(at) {
				if match(at) {
					delete(c.sel.Added, name)
				}
			}
		}
	}
	return nil
}

// finish makes the lists.
func (c *chooser) finish() {
	counted := map[inode]*node{} // the name by which a file with several is counted: one that is kept, if any is
	c.t.root.each(func(n *node) {
		if old := counted[n.id]; n.isFile() && n.links > 1 && (old == nil || n.kept && !old.kept) {
			counted[n.id] = n
		}
	})
	for i := range c.sel.pkgs { // what tells of packages was kept since they were counted
		c.sel.pkgs[i].kept = Count{}
	}
	c.t.root.each(func(n *node) {
		if n.isDir() {
			return
		}
		f := File{Path: n.path(), Link: n.link, Kept: n.kept, Setuid: n.isFile() && n.mode&0o6000 != 0 && n.mode&0o111 != 0}
		if n.isFile() && (n.links < 2 || counted[n.id] == n) {
			f.Size = n.size
		}
		switch {
		case n.kept:
			f.Reason = n.reason
		case n.excluded:
			f.Reason = "excluded"
		}
		if n.owner > 0 {
			p := &c.sel.pkgs[n.owner-1]
			if f.Package = p.name; n.kept {
				p.kept.add(n.size)
			}
		}
		c.sel.Files = append(c.sel.Files, f)
	})
	for _, u := range c.used {
		if u.How&trace.List == 0 {
			continue
		}
		n := c.t.find(u.Path, u.NoFollow).end
		if n == nil || !n.isDir() {
			continue
		}
		l := Listed{Path: n.path(), Names: len(n.kids)}
		for _, k := range n.kids {
			if !k.kept {
				l.Left++
			}
		}
		if l.Left > 0 && !slices.ContainsFunc(c.sel.Listed, func(o Listed) bool { return o.Path == l.Path }) {
			c.sel.Listed = append(c.sel.Listed, l)
		}
	}
}

// Missing returns the paths of uses that lead to something in the tree which is not kept, sorted. What the user excluded is not among them.
func (s *Selection) Missing(used []Used) []string {
	seen := map[string]bool{}
	var out []string
	for _, u := range used {
		w := s.t.find(u.Path, u.NoFollow)
		if w.end == nil {
			continue
		}
		for _, n := range append(w.through, w.end) {
			if p := "/" + n.path(); !n.kept && !n.excluded && !seen[p] {
				seen[p] = true
				out = append(out, p)
			}
		}
	}
	slices.Sort(out)
	return out
}
