// Package slim chooses what of an image's files is needed by what was seen of its runs, and writes a layer of that.
//
//	tree, err := slim.ReadTree(ctx, view.Dir(), slim.TreeOptions{})
//	sel, err := tree.Choose(ctx, use, slim.Options{Env: cfg.Env, Workdir: cfg.WorkingDir})
//	sel.Kept, sel.Left           // each file with its reason, or its size
//	err = sel.Write(ctx, w)      // the layer's tar
//	sel.Missing(later)           // what a later run looked for that was there and is not any more
//
// What was seen (package container/trace, or a Trace from a file) is the beginning. To it come: the links that paths led through and the directories above
// with their modes and owners; what a program is linked with (ELF interpreter, DT_NEEDED) or is a script of ("#!"), which the kernel and the
// loader of another machine may look up in another way; what is needed though nobody opens it in a short run, by rules (users, name
// services, certificates, the time zone); and what tells of the packages that a file was kept of, so that scanners still know what is in the image.
//
// The image's files are hostile: all that is read of them is bounded, and no path leads out of the tree.
package slim

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/camada/camada/container/trace"
	"github.com/camada/camada/errdefs"
)

// Used is how a path was used.
type Used struct {
	// Path is absolute and clean but for "..", which may come behind a link; NoFollow says that a link in the last place was meant itself.
	Path     string
	NoFollow bool
	How      trace.How
}

// Uses collects what runs used. The zero value is empty. It is used by one goroutine.
type Uses struct {
	at    map[usedKey]trace.How
	bytes int // of the paths
	cut   bool
}

type usedKey struct {
	path     string
	noFollow bool
}

const (
	// maxUses is how many paths are collected, maxUsesBytes how long they may be together, and maxPath how long one may be. So a trace can be read again, see maxTrace.
	maxUses      = 2_000_000
	maxUsesBytes = 64 << 20
	maxPath      = 4096
)

// Add takes one use in. A path of a file that was found by another name counts by both.
func (u *Uses) Add(e trace.Event) {
	u.add(e.Path, e.NoFollow, e.How)
	if e.Real != "" && e.Real != e.Path {
		u.add(e.Real, true, e.How) // it is free of links
	}
}

func (u *Uses) add(name string, noFollow bool, how trace.How) {
	name = tidy(name)
	if name == "" || len(name) > maxPath || systems(name) {
		return
	}
	if u.at == nil {
		u.at = map[usedKey]trace.How{}
	}
	k := usedKey{name, noFollow}
	if _, ok := u.at[k]; !ok {
		if len(u.at) >= maxUses || u.bytes+len(name) > maxUsesBytes {
			u.cut = true
			return
		}
		u.bytes += len(name)
	}
	u.at[k] |= how
}

// tidy makes a path absolute, without "." and empty components: those change nothing. ".." stays, as it may come behind a link.
func tidy(name string) string {
	if !strings.HasPrefix(name, "/") {
		return ""
	}
	if !strings.Contains(name, "..") {
		return path.Clean(name)
	}
	var b strings.Builder
	for part := range strings.SplitSeq(name, "/") {
		if part != "" && part != "." {
			b.WriteString("/" + part)
		}
	}
	return b.String()
}

// systems reports whether a path is in one of the kernel's file systems, which no image has.
func systems(name string) bool {
	for _, dir := range []string{"/proc", "/sys", "/dev"} {
		if name == dir || strings.HasPrefix(name, dir+"/") && !strings.Contains(name, "..") && !strings.HasPrefix(name, "/proc/self/root/") {
			return true
		}
	}
	return false
}

// Merge takes in all that others saw.
func (u *Uses) Merge(others ...Used) {
	for _, x := range others {
		u.add(x.Path, x.NoFollow, x.How)
	}
}

// List returns the uses, sorted by path.
func (u *Uses) List() []Used {
	out := make([]Used, 0, len(u.at))
	for _, k := range slices.SortedFunc(maps.Keys(u.at), func(a, b usedKey) int {
		if c := strings.Compare(a.path, b.path); c != 0 {
			return c
		}
		if a.noFollow == b.noFollow {
			return 0
		}
		if b.noFollow {
			return -1
		}
		return 1
	}) {
		out = append(out, Used{Path: k.path, NoFollow: k.noFollow, How: u.at[k]})
	}
	return out
}

// Err is ErrLimit when there were more paths than are collected.
func (u *Uses) Err() error {
	if u.cut {
		return errdefs.Limit("the runs used more than %d paths, or such of more than %d bytes together", maxUses, maxUsesBytes)
	}
	return nil
}
