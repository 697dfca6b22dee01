// Package archive turns directory trees into layer tars and layer tars into
// directory trees.
//
// Writing: a Writer encodes entries deterministically; Walk visits a tree in the
// order in which entries belong into a layer; Diff, DiffTrees and Pack do both.
//
//	err := archive.Diff(ctx, upperDir, out, archive.DiffOptions{Lower: lowers, Clamp: epoch})
//
//	w := archive.NewWriter(out, archive.WriterOptions{Clamp: epoch})
//	err := archive.Walk(ctx, contextDir, archive.WalkOptions{}, func(n *archive.Node) error {
//		e := n.Entry
//		e.Name, e.UID, e.GID = path.Join("app", e.Name), 0, 0
//		return w.AddNode(e, n)
//	})
//	err = w.Close()
//
// Reading: Apply extracts a hostile tar and never leaves its root.
//
//	root, err := os.OpenRoot(dir)
//	res, err := archive.Apply(ctx, root, tarStream, archive.ApplyOptions{Whiteouts: archive.WhiteoutOverlay})
//
// # What makes two builds give the same bytes
//
// The tar holds only what an image can say: no user and group names, no atime
// and ctime, no inode numbers, no order of the file system. Entries are sorted
// bytewise within their directory, whiteouts before the others. Times after
// WriterOptions.Clamp become Clamp: a file written or a directory touched by a
// build step, at whatever hour, has the time Clamp.
//
// An entry is in a layer when what it would say differs from what the
// parent layers say, and so are the directories above such an entry. That is a rule about
// the outcome, not about the way: overlayfs copies files up that are only opened
// for writing and marks new directories opaque, a native snapshot does not, and
// both give the same layer. An opaque directory becomes a whiteout for each name of
// the parents that is gone. The rule needs DiffOptions.Lower; without it
// Diff writes the upper directory as it stands, opaque markers included.
//
// The root directory itself is an entry only when its mode, owner or attributes are
// changed; its time never counts. Sockets are left out. Only the extended
// attributes that images carry are kept: user.*, security.capability and POSIX ACLs.
//
// Where a user namespace has one id only, ownership cannot be kept on
// disk. Apply then records it in the attribute user.camada.owner
// (ApplyOptions.RecordOwner), and Diff reads it back (DiffOptions.RecordedOwner), so that
// such a build gives the bytes that a build as root gives. The owner of
// a symbolic link cannot be recorded; it becomes 0:0.
package archive
