package archive

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// applier is one extraction.
type applier struct {
	rootfd int
	opts   ApplyOptions
	res    Result
	low    *lowers
	umask  uint32
	uid    int
	gid    int
	buf    []byte
	x      xattrReader
	// openat2 is false where the kernel, or a seccomp filter, has no such call.
	openat2 bool
	// dirs and targets keep directories open: those of entries and of link targets.
	dirs    dirCache
	targets dirCache
	// late is what directories get when nothing is written into them any more, by inode number.
	late map[uint64]*lateDir
	// opaques are the directories that hide the parents', by inode number.
	opaques map[uint64]bool
	// seen are hashes of what this layer brought, which a whiteout in the same layer does not
	// remove. Only for WhiteoutDelete.
	seen map[uint64]struct{}
	seed maphash.Seed
	// stale: something was removed, and the cached directories may be it.
	stale bool
	// whiteouts counts those of overlayfs that were made.
	whiteouts int
	// rootOpaque: nothing of the parents shows.
	rootOpaque bool
	// final: directories that are missing are not made any more.
	final bool
}

// lateDir is set on a directory at the end: a time is changed by every name that comes into the directory, and a
// default ACL would be inherited by them.
type lateDir struct {
	path  string
	mtime time.Time
	acl   string
}

func newApplier(rootfd int, opts ApplyOptions) (*applier, error) {
	a := &applier{
		rootfd: rootfd, opts: opts, umask: readUmask(), uid: os.Geteuid(), gid: os.Getegid(),
		buf: make([]byte, copyBuffer), openat2: true,
		late: map[uint64]*lateDir{}, opaques: map[uint64]bool{},
	}
	if opts.Whiteouts == WhiteoutDelete {
		a.seen, a.seed = map[uint64]struct{}{}, maphash.MakeSeed()
		opts.Lower = nil
	}
	var err error
	a.low, err = openLowers(opts.Lower)
	return a, err
}

func (a *applier) close() {
	a.dirs.clear()
	a.targets.clear()
	a.low.close()
}

func (a *applier) overlay() bool { return a.opts.Whiteouts != WhiteoutDelete }

// skip counts something that is not restored.
func (a *applier) skip(what string) {
	if a.res.Skipped == nil {
		a.res.Skipped = map[string]int64{}
	}
	const kinds = 1000 // names of attributes are foreign: do not collect millions
	if _, ok := a.res.Skipped[what]; !ok && len(a.res.Skipped) >= kinds {
		what = "other"
	}
	a.res.Skipped[what]++
}

// saw remembers that the layer brought a name.
func (a *applier) saw(p *dirHandle, base string) {
	if a.seen != nil {
		a.seen[a.key(p.ino, base)] = struct{}{}
	}
}

func (a *applier) key(dir uint64, base string) uint64 {
	var h maphash.Hash
	h.SetSeed(a.seed)
	for i := range 8 {
		h.WriteByte(byte(dir >> (8 * i))) //nolint:errcheck // never fails
	}
	h.WriteString(base) //nolint:errcheck // never fails
	return h.Sum64()
}

// keep remembers the time that a directory shall have at the end, unless it has one.
func (a *applier) keep(ino uint64, path string, mtime time.Time) {
	if _, ok := a.late[ino]; !ok {
		a.late[ino] = &lateDir{path: path, mtime: mtime}
	}
}

// prepareRoot makes the root what it is without an entry for it.
func (a *applier) prepareRoot() error {
	var st unix.Stat_t
	if err := unix.Fstat(a.rootfd, &st); err != nil {
		return fmt.Errorf("stat the root: %w", err)
	}
	if a.opts.Export || a.opts.Files {
		return nil
	}
	if !a.overlay() {
		a.keep(st.Ino, ".", time.Unix(st.Mtim.Unix()))
		return nil
	}
	e := &Entry{Name: ".", Type: TypeDir, Mode: 0o755, ModTime: time.Unix(0, 0)}
	low, err := a.low.root()
	if err != nil {
		return fmt.Errorf("stat the parents' root: %w", err)
	}
	if low != nil {
		if e, err = a.lowerEntry(low, "."); err != nil {
			return err
		}
	}
	return a.rootEntry(e)
}

// rootEntry gives the root its metadata.
func (a *applier) rootEntry(e *Entry) error {
	fd, err := openat(a.rootfd, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("open the root: %w", err)
	}
	defer unix.Close(fd)
	return a.dirMeta(fd, e, true)
}

// lowerEntry describes a file of the parents, with the owner that Apply would be told.
func (a *applier) lowerEntry(f *lowerFile, path string) (*Entry, error) {
	n, err := a.low.node(f, path)
	if err != nil {
		return nil, err
	}
	n.close()
	if a.opts.RecordOwner {
		if uid, gid, ok := parseOwner(a.low.x.owner); ok {
			n.Entry.UID, n.Entry.GID = uid, gid
		}
	}
	return &n.Entry, nil
}

// readUmask returns the process's umask; all bits when it is not known, which only
// costs calls of chmod. Setting it to learn it would be seen by other goroutines.
func readUmask() uint32 {
	const unknown = 0o777
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return unknown
	}
	_, after, ok := bytes.Cut(b, []byte("\nUmask:\t"))
	line, _, _ := bytes.Cut(after, []byte("\n"))
	n, err := strconv.ParseUint(string(line), 8, 32)
	if !ok || err != nil {
		return unknown
	}
	return uint32(n)
}
