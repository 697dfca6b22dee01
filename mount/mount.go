// Package mount makes mounts in the ways that the kernel at hand offers.
//
// A Mount is data: what a snapshot hands to a container runtime, which makes
// it in its own mount namespace so that nothing of it outlives the container.
package mount

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
	// Source is the directory that a Bind shows.
	Source string `json:"source,omitempty"`
	// Lower are the read-only directories of an Overlay, absolute, the topmost
	// first. Any number is allowed: see the implementation for how a
	// list longer than a page or deeper than the kernel allows is mounted.
	Lower []string `json:"lower,omitempty"`
	// Upper and Work are the writable directories of an Overlay; without
	// them the mount is read-only.
	Upper string `json:"upper,omitempty"`
	Work  string `json:"work,omitempty"`
	// UserXattr mounts the Overlay with "userxattr", as in a user namespace.
	UserXattr bool `json:"userXattr,omitempty"`
	// Volatile leaves out the syncs of an Overlay's upper directory.
	Volatile bool `json:"volatile,omitempty"`
	// ReadOnly makes a Bind read-only.
	ReadOnly bool `json:"readOnly,omitempty"`
}
