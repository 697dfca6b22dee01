// Package access decides who may do what in a registry.
package access

// Action is a set of things that somebody does in a repository.
type Action uint8

// The actions.
const (
	// Pull reads blobs, manifests, tags and their logs.
	Pull Action = 1 << iota
	// Push writes blobs and manifests, and moves tags.
	Push
	// Delete removes blobs, manifests and tags.
	Delete
	// Admin looks after the registry: sweeps, scrubs, moves tags that do not move.
	Admin
	// List sees that a repository is there.
	List
	// Enter finds out whether there is a registry, and whether it wants to know who asks. With List it looks at the catalog, in which each
	// repository is asked about again.
	Enter
)

// Verdict is what is said to somebody who wants to do something.
type Verdict uint8

// The verdicts.
const (
	// No: he may not, whoever he proves to be.
	No Verdict = iota
	// Ask: he may when he proves who he is, or shows a token that says more.
	Ask
	// Yes: he may.
	Yes
)
