package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Group is the control group of one container: a directory in each hierarchy
// that is used. Its methods may be called by any process that loaded it, but a
// Group value is for one goroutine at a time.
type Group struct {
	layout  Layout
	path    string
	unified string            // directory in v2, "" for none
	v1      map[string]string // controller -> directory
	fd      int               // of unified, -1 for none
}

// Create makes the groups that res needs at path below the layout's directories
// (see Path) and sets the limits. A left-over group without processes is made
// anew. Errors: ErrAlreadyExists when processes are in it; ErrUnsupported when a
// limit needs a controller that is not there or may not be used, as for a user
// without a delegated subtree. Without limits such a user gets a Group that is
// in no hierarchy: Tracks is false. On an error nothing is left. The caller owns
// the Group and ends it with Remove, or with Close to leave it in place.
func (l Layout) Create(path string, res *specs.LinuxResources) (*Group, error) {
	if res == nil {
		res = &specs.LinuxResources{}
	}
	places, err := l.place(res)
	if err != nil {
		return nil, err
	}
	return l.make(path, places, res, false)
}

// CreateAll is Create for who shares the group with programs that look for it in each hierarchy of v1, to read what is used, as those do
// that call an OCI runtime. Hierarchies where no group may be made are left out.
func (l Layout) CreateAll(path string, res *specs.LinuxResources) (*Group, error) {
	if res == nil {
		res = &specs.LinuxResources{}
	}
	places, err := l.place(res)
	if err != nil {
		return nil, err
	}
	return l.make(path, places, res, true)
}

func (l Layout) make(path string, places []placed, res *specs.LinuxResources, all bool) (*Group, error) {
	g := &Group{layout: l, path: path, v1: map[string]string{}, fd: -1}
	if err := g.create(places, res, all); err != nil {
		g.discard()
		if errdefs.IsUnsupported(err) {
			return nil, err // it says which limit, and what to do
		}
		return nil, fmt.Errorf("create cgroup %s: %w", path, err)
	}
	return g, nil
}

func (g *Group) create(places []placed, res *specs.LinuxResources, all bool) error {
	if err := g.track(); err != nil {
		return err
	}
	if all {
		for controller := range g.layout.V1 {
			if err := g.join(controller); err != nil && !errdefs.IsUnsupported(err) {
				return err
			}
		}
	}
	for _, p := range places {
		if p.base == g.layout.Unified {
			continue
		}
		if err := g.join(p.v1name); err != nil {
			return err
		}
	}
	return g.apply(places, res)
}

// track makes the one group that every container has.
func (g *Group) track() error {
	if g.layout.Unified != "" {
		dir := filepath.Join(g.layout.Unified, g.path)
		if err := makeGroup(dir); err != nil {
			return err
		}
		g.unified = dir
		fd, err := open(dir, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return fmt.Errorf("open %s: %w", dir, err)
		}
		g.fd = fd
		return nil
	}
	for _, controller := range []string{"freezer", "pids", "memory", "cpu"} {
		if g.layout.V1[controller] == "" {
			continue
		}
		// Limits that cannot be set complain for themselves later.
		if err := g.join(controller); !errdefs.IsUnsupported(err) {
			return err
		}
	}
	return nil
}

// join makes the group in the v1 hierarchy of a controller, unless it is there.
func (g *Group) join(controller string) error {
	base := g.layout.V1[controller]
	dir := filepath.Join(base, g.path)
	if !g.inV1(dir) {
		if err := makeGroup(dir); err != nil {
			if refused(err) {
				return g.layout.noRight(controller, base, err)
			}
			return err
		}
		g.v1[controller] = dir
		if cpuset := g.layout.V1["cpuset"]; base == cpuset {
			return inheritCpuset(base, dir)
		}
	}
	g.v1[controller] = dir
	return nil
}

// noRight is what a user is told who may not make groups.
func (l Layout) noRight(controller, base string, err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		err = errno
	}
	return errdefs.Unsupported("%s limits: no right to make groups in %s: %w; %s", controller, base, err, l.advice())
}

// inV1 tells whether dir is one of the group's: controllers can be mounted together.
func (g *Group) inV1(dir string) bool {
	for _, d := range g.v1 {
		if d == dir {
			return true
		}
	}
	return false
}

// makeGroup makes dir, and its parents when they are missing. A left-over group
// is removed first, so that none of its old limits stay.
func makeGroup(dir string) error {
	for range 4 {
		err := unix.Mkdir(dir, 0o755)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.ENOENT):
			if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
				return fmt.Errorf("make cgroup: %w", err)
			}
		case errors.Is(err, unix.EEXIST):
			if err := removeTree(dir); err != nil {
				return errdefs.AlreadyExists("cgroup %s is in use: %w", dir, err)
			}
		default:
			return fmt.Errorf("make cgroup %s: %w", dir, err)
		}
	}
	return errdefs.Unavailable("make cgroup %s: others remove and make it at the same time", dir)
}

// Load finds an existing group at path. ErrNotFound when no hierarchy has it.
func (l Layout) Load(path string) (*Group, error) {
	g := &Group{layout: l, path: path, v1: map[string]string{}, fd: -1}
	for controller, base := range l.V1 {
		if dir := filepath.Join(base, path); hasFile(dir, "cgroup.procs") {
			g.v1[controller] = dir
		}
	}
	if dir := filepath.Join(l.Unified, path); l.Unified != "" && hasFile(dir, "cgroup.procs") {
		g.unified = dir
		fd, err := open(dir, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return nil, fmt.Errorf("open cgroup %s: %w", dir, err)
		}
		g.fd = fd
	}
	if !g.Tracks() {
		return nil, errdefs.NotFound("cgroup %s: no such group", path)
	}
	return g, nil
}

// Tracks tells whether the group is in any hierarchy: whether Pids, Kill and
// Freeze know the container's processes.
func (g *Group) Tracks() bool { return g.unified != "" || len(g.v1) > 0 }

// Path is the path that the group was created with.
func (g *Group) Path() string { return g.path }

// Dirs gives the group's directories, each once: what has to be gone after Remove.
func (g *Group) Dirs() []string {
	seen := map[string]bool{}
	var dirs []string
	if g.unified != "" {
		dirs = append(dirs, g.unified)
	}
	for _, dir := range g.v1 {
		if !seen[dir] {
			seen[dir] = true
			dirs = append(dirs, dir)
		}
	}
	sort.Strings(dirs)
	return dirs
}

// FD is a descriptor (O_PATH) of the group's directory in the v2 hierarchy for
// clone3's CLONE_INTO_CGROUP, -1 where there is none. The Group owns it.
func (g *Group) FD() int { return g.fd }

// Update sets the limits of res on an existing group and leaves the others as
// they are. On v1 and hybrid machines the processes are moved into the group of a
// controller that it was not made for.
func (g *Group) Update(res *specs.LinuxResources) error {
	places, err := g.layout.place(res)
	if err != nil {
		return err
	}
	for _, p := range places {
		if p.base != g.layout.Unified && g.v1[p.v1name] == "" {
			if err := g.adopt(p.v1name); err != nil {
				return fmt.Errorf("update cgroup %s: %w", g.path, err)
			}
		}
	}
	if err := g.apply(places, res); err != nil {
		return fmt.Errorf("update cgroup %s: %w", g.path, err)
	}
	return nil
}

// adopt makes the group in a further v1 hierarchy and moves the processes there.
func (g *Group) adopt(controller string) error {
	pids, err := g.Pids()
	if err != nil {
		return err
	}
	if err := g.join(controller); err != nil {
		return err
	}
	for _, pid := range pids {
		err := write(g.v1[controller], "cgroup.procs", fmt.Sprint(pid))
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// follow finds the v1 groups that another process made meanwhile, by Update.
func (g *Group) follow() {
	for controller, base := range g.layout.V1 {
		if dir := filepath.Join(base, g.path); g.v1[controller] == "" && hasFile(dir, "cgroup.procs") {
			g.v1[controller] = dir
		}
	}
}

// Close frees the descriptor and leaves the groups as they are.
func (g *Group) Close() error {
	if g.fd < 0 {
		return nil
	}
	fd := g.fd
	g.fd = -1
	return unix.Close(fd)
}

// Remove removes the group and all groups below it from all hierarchies and
// closes it. It waits for processes that are being killed, until ctx ends or ten
// seconds are over (ErrConflict). A group that is gone already is no error.
func (g *Group) Remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_ = g.Close()
	g.follow()
	var errs []error
	for _, dir := range g.Dirs() {
		pause := 100 * time.Microsecond
		err := removeTree(dir)
		for errors.Is(err, unix.EBUSY) && sleep(ctx, pause) {
			pause = min(2*pause, 20*time.Millisecond)
			err = removeTree(dir)
		}
		if errors.Is(err, unix.EBUSY) {
			err = errdefs.With(errdefs.ErrConflict, err)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("remove cgroup %s: %w", dir, err))
		}
	}
	return errors.Join(errs...)
}

// discard undoes a creation that failed; no process has ever been in the group.
func (g *Group) discard() {
	_ = g.Close()
	for _, dir := range g.Dirs() {
		_ = unix.Rmdir(dir)
	}
}

// removeTree removes a group; those below it when they hinder it.
func removeTree(dir string) error {
	err := unix.Rmdir(dir)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	entries, readErr := os.ReadDir(dir)
	if readErr != nil {
		return err
	}
	below := false
	for _, e := range entries {
		if e.IsDir() {
			below = true
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if !below {
		return err
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

// sleep waits and tells whether ctx still goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
