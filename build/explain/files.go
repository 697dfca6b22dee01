package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/camada/camada/build/history"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
)

// context tells which files of the context changed.
func (x *explainer) context(i int, oldDigest, newDigest string) Reason {
	p := x.peers[i]
	r := Reason{Kind: Files, Old: oldDigest, New: newDigest}
	old, cur := p.b.Steps[p.id].Files, x.cur.Steps[i].Files
	if old == "" || cur == "" {
		r.Text = "files of the context changed; which ones was not kept"
		return r
	}
	x.tellFiles(&r, old, cur)
	return r
}

// mounted tells how what a RUN sees at a mount changed: files of the context, or of another step or image.
func (x *explainer) mounted(i int, target, old, cur string) Reason {
	p := x.peers[i]
	was, is := digest.Digest(old), digest.Digest(cur)
	if slices.Contains(p.b.Steps[p.id].Mounted, was) && slices.Contains(x.cur.Steps[i].Mounted, is) {
		r := Reason{Kind: Files, Name: target, Old: old, New: cur}
		x.tellFiles(&r, was, is)
		r.Text = "mounted at " + target + ": " + r.Text
		return r
	}
	return changed(Mount, "what is mounted at "+target, target, old, cur)
}

// tellFiles adds what differs between two lists of files.
func (x *explainer) tellFiles(r *Reason, old, cur digest.Digest) {
	was, is := map[string]history.File{}, map[string]history.File{}
	err := x.files(old, cur, func(f history.File, before bool) error {
		if before {
			was[f.Path] = f
		} else {
			is[f.Path] = f
		}
		return nil
	})
	if errdefs.IsNotFound(err) || errdefs.IsCorrupt(err) {
		r.Text = "files of the context changed; which ones is not kept any more"
		return
	}
	if err != nil {
		r.Text = "files of the context changed; which ones cannot be read: " + err.Error()
		return
	}
	var added, removed, changed int
	for _, path := range keysOf(was, is) {
		a, before := was[path]
		b, after := is[path]
		c := FileChange{Path: path}
		switch {
		case !before:
			c.Change = "added"
			added++
		case !after:
			c.Change = "removed"
			removed++
		default:
			if c.What = differences(a, b); c.What == nil {
				continue
			}
			c.Change = "changed"
			changed++
		}
		if before {
			c.OldDigest, c.OldMode, c.OldLink = a.Digest, mode(a), a.Link
		}
		if after {
			c.NewDigest, c.NewMode, c.NewLink = b.Digest, mode(b), b.Link
		}
		r.Changes = append(r.Changes, c)
	}
	r.Text = "files of the context: " + counts(changed, added, removed)
	if len(r.Changes) == 0 {
		r.Text = "the same files of the context are copied under other names"
	}
}

func mode(f history.File) string { return fmt.Sprintf("%06o", f.Mode) }

const typeMask = 0o170000

// differences names what differs between two versions of a file; nil for nothing.
func differences(a, b history.File) []string {
	var out []string
	if a.Mode&typeMask != b.Mode&typeMask {
		out = append(out, "type")
	} else if a.Digest != b.Digest {
		out = append(out, "content")
	}
	if a.Link != b.Link {
		out = append(out, "link")
	}
	if a.Mode&^typeMask != b.Mode&^typeMask {
		out = append(out, "mode")
	}
	return slices.Clip(out)
}

func counts(changed, added, removed int) string {
	var parts []string
	for _, c := range []struct {
		n    int
		what string
	}{{changed, "changed"}, {added, "added"}, {removed, "removed"}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	return strings.Join(parts, ", ")
}
