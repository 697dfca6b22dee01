// Package source reads the trees that COPY and ADD copy from: the build context,
// and the file systems of stages and images.
//
//	t, err := source.Open(dir, source.Options{Ignore: patterns, Hashes: hashes})
//	defer t.Close()
//	matches, err := t.Match(ctx, "src/*.go")
//	dgst, err := t.Digest(ctx, matches)
//
// A tree may be hostile. Nothing outside of its root is ever read: names are
// resolved as in a chroot, and a file that is swapped for a link while it is
// being read is not followed. FIFOs and devices are never opened.
//
// # What is read when
//
// Only what is asked for is read: a directory is listed, and its files are
// looked at (statx), when a pattern or a copy goes into it. File content is
// hashed only when Digest needs it and the hash cache does not know it. A file is known by
// device, inode, size, mtime and ctime; see Hashes for what makes that
// sound.
package source
