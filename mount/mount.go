// Package mount makes mounts in the ways that the kernel at hand offers.
//
// A Mount is data: what a snapshot hands to a container runtime, which makes
// it in its own mount namespace so that nothing of it outlives the container.
//
//	err := mount.At(m, "/target")       // in the namespace of the caller
//	f, err := mount.Detached(m)         // nowhere: only f holds it
//	f, err := mount.View(m)             // the same, for reading only
//
// A detached mount is gone when its last descriptor is closed, so a process that is
// killed leaves no mount behind. Its tree is read through /proc/self/fd/N, and
// Attach puts it somewhere, also in the namespace of another process that was
// given the descriptor.
//
// Nothing is probed: the way that needs the fewest system calls is tried
// first, and an older kernel's refusal leads to the next. Only lowerdir+ is not
// tried on kernels that are known by their release not to have it: each refusal
// would be a line in the machine's log.
//
//	At        one mount(2) where the options fit in a page   any kernel
//	Detached  fsopen, lowerdir+ once per layer, fsmount      6.5
//	          mount(2) with names relative to the layers'
//	          directory, in a mount namespace of a thread    5.2
//	          that ends with the call, and open_tree
//
// The kernel takes at most 500 lower directories. Longer lists are mounted
// as an overlay of the topmost ones and of an overlay of the others; that
// can be done once, so the limit is 999 layers, and less on kernels before 6.5
// (some 600 with the short names of a store). What is longer gives ErrLimit.
package mount

import (
	"fmt"
	"strings"

	"github.com/camada/camada/errdefs"
)

// Kind is what is mounted.
type Kind string

// The kinds.
const (
	// Overlay is a union of Lower (top first) with optional Upper and Work.
	Overlay Kind = "overlay"
	// Bind shows the directory Source.
	Bind Kind = "bind"
)

// Mount is a root file system to be mounted. It is a value and can be stored
// as JSON.
type Mount struct {
	Kind Kind `json:"kind"`
	// Source is the directory that a Bind shows. Mounts below it are not shown.
	Source string `json:"source,omitempty"`
	// Lower are the read-only directories of an Overlay, absolute, the topmost
	// first; at least one and at most MaxLower.
	Lower []string `json:"lower,omitempty"`
	// Upper and Work are the writable directories of an Overlay; without
	// them the mount is read-only.
	Upper string `json:"upper,omitempty"`
	Work  string `json:"work,omitempty"`
	// UserXattr mounts the Overlay with "userxattr", as in a user namespace.
	UserXattr bool `json:"userXattr,omitempty"`
	// Volatile leaves out the syncs of an Overlay's upper directory (kernel 5.10 and
	// newer). The kernel refuses to mount such an upper directory again as long as
	// Work holds its mark "work/incompat/volatile".
	Volatile bool `json:"volatile,omitempty"`
	// ReadOnly makes a Bind read-only.
	ReadOnly bool `json:"readOnly,omitempty"`
}

const (
	// maxStack is the most lower directories that the kernel takes (OVL_MAX_STACK).
	maxStack = 500
	// MaxLower is how many lower directories an Overlay may have.
	MaxLower = 2*maxStack - 1
)

// check refuses what the kernel would refuse with less of a reason.
func (m Mount) check() error {
	switch m.Kind {
	case Bind:
		if m.Source == "" {
			return errdefs.Invalid("bind mount: no source")
		}
		return nil
	case Overlay:
	default:
		return errdefs.Invalid("mount: unknown kind %q", m.Kind)
	}
	switch {
	case len(m.Lower) == 0:
		return errdefs.Invalid("mount overlay: no lower directory")
	case len(m.Lower) > MaxLower:
		return errdefs.Limit("mount overlay: %d lower directories, at most %d can be mounted", len(m.Lower), MaxLower)
	case (m.Upper == "") != (m.Work == ""):
		return errdefs.Invalid("mount overlay: an upper directory needs a work directory")
	}
	for _, dir := range append([]string{m.Upper, m.Work}, m.Lower...) {
		if dir != "" && dir[0] != '/' || strings.IndexByte(dir, 0) >= 0 {
			return errdefs.Invalid("mount overlay: %q is not an absolute path", dir)
		}
	}
	return nil
}

// simple turns an Overlay of one directory, which the kernel does not mount
// without an upper one, into a Bind of it.
func (m Mount) simple() Mount {
	if m.Kind == Overlay && m.Upper == "" && len(m.Lower) == 1 {
		return Mount{Kind: Bind, Source: m.Lower[0], ReadOnly: true}
	}
	return m
}

// String tells the mount in a few words, for messages.
func (m Mount) String() string {
	if m.Kind == Bind {
		return "bind of " + m.Source
	}
	if m.Upper != "" {
		return fmt.Sprintf("overlay of %s over %d layers", m.Upper, len(m.Lower))
	}
	return fmt.Sprintf("overlay of %d layers", len(m.Lower))
}

// options are those of an Overlay that are the same for all. Redirects and
// metadata-only copies are never made, since the upper directory becomes a
// layer by itself, and never followed, since layers come from strangers.
func (m Mount) options() (pairs [][2]string, flags []string) {
	pairs = [][2]string{{"redirect_dir", "nofollow"}, {"metacopy", "off"}, {"index", "off"}}
	if m.UserXattr {
		flags = append(flags, "userxattr")
	}
	if m.Volatile && m.Upper != "" {
		flags = append(flags, "volatile")
	}
	return pairs, flags
}
