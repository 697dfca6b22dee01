package engine

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/flock"
	"github.com/camada/camada/mount"
	"github.com/camada/camada/userns"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ids are those of a container's user namespace, as the one that this program is in sees them; without any the container is in that.
type ids struct {
	Users, Groups []specs.LinuxIDMapping
}

func idsOf(c record.Config) ids { return ids{c.UserIDs, c.GroupIDs} }

// none reports whether there is no user namespace, and same whether it has the same ids, so that files need no other owners.
func (i ids) none() bool { return len(i.Users) == 0 }

func (i ids) same() bool {
	for _, maps := range [][]specs.LinuxIDMapping{i.Users, i.Groups} {
		for _, m := range maps {
			if m.ContainerID != m.HostID {
				return false
			}
		}
	}
	return true
}

// mapped reports whether files of the store are shown to the container with other owners. Within a user namespace the kernel does not do
// that: there, the files that the container sees have the owners that they need, see reown.
func (i ids) mapped() bool { return !i.same() && !inUserNamespace() }

// reowned reports whether the files on the disk have the container's owners as they are outside.
func (i ids) reowned() bool { return !i.same() && inUserNamespace() }

// outside are owners of the container as they are here; who is not there becomes root, who is nobody to the container.
func (i ids) outside(uid, gid int) (int, int) {
	if i.none() {
		return uid, gid
	}
	return userns.Outside(i.Users, uid, 0), userns.Outside(i.Groups, gid, 0)
}

// inside is the reverse of outside.
func (i ids) inside(uid, gid int) (int, int) {
	if i.none() {
		return uid, gid
	}
	return userns.Inside(i.Users, uid), userns.Inside(i.Groups, gid)
}

// onDisk turns owners of files of the store into those that an image has for them; nil when they are the same.
func (i ids) onDisk() func(uid, gid int) (int, int) {
	if !i.reowned() {
		return nil
	}
	return i.inside
}

// planUsers reads --userns, and names another container by its ID.
func (e *Engine) planUsers(ctx context.Context, o *RunOptions) error {
	m, err := userns.ParseMode(o.Userns)
	if err != nil {
		return fmt.Errorf("--userns %s: %w", o.Userns, err)
	}
	switch {
	case m.Kind == "" || m.Kind == userns.Host:
		return nil
	case o.Runtime != "":
		return errdefs.Unsupported("--userns %s: is of camada's own runtime, not of --runtime %s", o.Userns, o.Runtime)
	case userns.OneID():
		return errdefs.Unsupported("--userns %s: there is one id only; it takes ranges in /etc/subuid and /etc/subgid, and newuidmap and newgidmap (package uidmap)", o.Userns)
	case m.Kind == userns.NoMap && !userns.Rootless():
		return errdefs.Invalid("--userns nomap: root has no id of his own to leave out; want host, auto or keep-id")
	case m.Kind == userns.KeepID && !userns.Rootless() && (m.UID > 0 || m.GID > 0 || m.Size > 0):
		return errdefs.Invalid("--userns %s: options are for ordinary users: root keeps all ids", o.Userns)
	case m.Kind != userns.OfContainer:
		return nil
	}
	c, err := e.records.Get(ctx, m.Container)
	if err != nil {
		return fmt.Errorf("--userns %s: %w", o.Userns, err)
	}
	o.Userns = containerPrefix + c.Config.ID
	return nil
}

// userIDs finds ids for a container of an image with the root file system root. unique says that nobody else may have them: see claimIDs.
func (e *Engine) userIDs(ctx context.Context, l *launch, root mount.Mount) (i ids, unique bool, err error) {
	m, err := userns.ParseMode(l.opts.Userns)
	if err != nil {
		return i, false, err
	}
	users, groups := userns.Own("uid_map"), userns.Own("gid_map")
	switch m.Kind {
	case userns.Auto:
		i, err = e.freeIDs(ctx, l, m, root)
		return i, true, err
	case userns.OfContainer:
		c, err := e.records.Get(ctx, m.Container)
		if err != nil {
			return i, false, fmt.Errorf("--userns: %w", err)
		}
		return idsOf(c.Config), false, nil
	case userns.NoMap:
		i.Users = []specs.LinuxIDMapping{{HostID: 1, Size: users - 1}}
		i.Groups = []specs.LinuxIDMapping{{HostID: 1, Size: groups - 1}}
	case userns.KeepID:
		if !userns.Rootless() {
			i.Users, i.Groups = []specs.LinuxIDMapping{{Size: users}}, []specs.LinuxIDMapping{{Size: groups}}
			break
		}
		uid, gid := keptIDs(m)
		if m.Size > 0 {
			users, groups = min(users, m.Size), min(groups, m.Size)
		}
		i.Users, i.Groups = userns.Keep(uid, users), userns.Keep(gid, groups)
	}
	return i, false, nil
}

// keptIDs are who the caller is in a container with keep-id.
func keptIDs(m userns.Mode) (uid, gid uint32) {
	u, g := userns.OuterID()
	if m.UID >= 0 {
		u = int(m.UID)
	}
	if m.GID >= 0 {
		g = int(m.GID)
	}
	return uint32(u), uint32(g)
}

const (
	// autoOwner is who the ranges of automatic user namespaces are granted to in /etc/subuid and /etc/subgid, as for Podman.
	autoOwner = "containers"
	// autoSize is how many ids an automatic user namespace has: all that images use. An ordinary user has not so many to give: minAutoSize
	// and as many as the users of the image need.
	autoSize    = 65536
	minAutoSize = 1024
)

// freeIDs finds ids that no other container of the store has.
func (e *Engine) freeIDs(ctx context.Context, l *launch, m userns.Mode, root mount.Mount) (i ids, err error) {
	list, err := e.records.List(ctx)
	if err != nil {
		return i, err
	}
	usedUsers, usedGroups := userns.Outsides(m.UIDs), userns.Outsides(m.GIDs)
	for _, c := range list {
		if !idsOf(c.Config).same() {
			usedUsers = append(usedUsers, userns.Outsides(c.Config.UserIDs)...)
			usedGroups = append(usedGroups, userns.Outsides(c.Config.GroupIDs)...)
		}
	}
	size := m.Size
	if size == 0 && !inUserNamespace() {
		size = autoSize
	}
	if size == 0 {
		size = min(autoSize, max(minAutoSize, idsNeeded(layerFS{root}, orElse(l.opts.User, l.Image.User))))
	}
	for _, kind := range []struct {
		file, own    string
		to           *[]specs.LinuxIDMapping
		used         []userns.Range
		fixed        []specs.LinuxIDMapping
		named, other string
	}{
		{"/etc/subuid", "uid_map", &i.Users, usedUsers, m.UIDs, "user", "uidmapping"}, {"/etc/subgid", "gid_map", &i.Groups, usedGroups, m.GIDs, "group", "gidmapping"},
	} {
		start, ok := userns.Free(size, grantedIDs(kind.file, kind.own), kind.used)
		if !ok {
			return ids{}, errdefs.Limit("--userns auto: no %d %s ids in a row are free: remove containers, ask for less with size=, or grant more to %q in %s", size, kind.named, autoOwner, kind.file)
		}
		*kind.to = userns.Row(start, size, kind.fixed)
	}
	return i, nil
}

// grantedIDs are where automatic user namespaces take their ids from.
func grantedIDs(file, own string) []userns.Range {
	if inUserNamespace() { // what it has besides the caller's own
		return []userns.Range{{Start: 1, Count: userns.Own(own) - 1}}
	}
	if list := userns.Ranges(file, autoOwner); len(list) > 0 {
		return list
	}
	// Nothing was granted: these are none that systemd or the tools that add users give out (systemd's page UIDS-GIDS).
	return []userns.Range{{Start: 0x70000000, Count: math.MaxInt32 - 0x70000000}}
}

// claimIDs reports whether no other container has got ids meanwhile, and keeps others from it until unlock is called.
func (e *Engine) claimIDs(ctx context.Context, i ids) (unlock func(), free bool, err error) {
	lock, err := flock.Directory(ctx, filepath.Join(e.root, "containers"), "ids.lock")
	if err != nil {
		return nil, false, fmt.Errorf("lock the ids of user namespaces: %w", err)
	}
	list, err := e.records.List(ctx)
	if err != nil {
		lock.Close()
		return nil, false, err
	}
	for _, c := range list {
		other := idsOf(c.Config)
		if !other.same() && (meet(i.Users, other.Users) || meet(i.Groups, other.Groups)) {
			lock.Close()
			return nil, false, nil
		}
	}
	return func() { lock.Close() }, true, nil
}

// meet reports whether two maps have ids outside in common.
func meet(a, b []specs.LinuxIDMapping) bool {
	for _, r := range userns.Outsides(b) {
		for _, o := range userns.Outsides(a) {
			if uint64(r.Start) < uint64(o.Start)+uint64(o.Count) && uint64(o.Start) < uint64(r.Start)+uint64(r.Count) {
				return true
			}
		}
	}
	return false
}

// idsNeeded is how many ids the users and groups of an image need, but for nobody.
func idsNeeded(files fs.FS, who string) uint32 {
	highest := 0
	count := func(id int) {
		if id > highest && id < userns.Nobody {
			highest = id
		}
	}
	if u, err := resolveUser(files, who, nil); err == nil {
		count(int(u.UID))
		count(int(u.GID))
	}
	for _, name := range []string{"etc/passwd", "etc/group"} {
		for _, id := range idColumn(files, name) {
			count(id)
		}
	}
	return uint32(highest) + 1
}

// usersPath is the user namespace that a container joins; "" when it has its own or none.
func (e *Engine) usersPath(ctx context.Context, l *launch) (string, error) {
	m, err := userns.ParseMode(l.opts.Userns)
	if err != nil || m.Kind != userns.OfContainer || idsOf(l.c.Config).none() {
		return "", err
	}
	c, err := e.records.Get(ctx, m.Container)
	if err != nil {
		return "", err
	}
	if !c.Running() {
		return "", errdefs.Conflict("cannot join the user namespace of container %s, which does not run", c.Config.Name)
	}
	l.joined = append(l.joined, c)
	return fmt.Sprintf("/proc/%d/ns/user", c.State.Pid), nil
}

// give gives files that are made for a container to its root.
func (i ids) give(names ...string) error {
	if i.same() {
		return nil
	}
	uid, gid := i.outside(0, 0)
	for _, name := range names {
		if err := os.Chown(name, uid, gid); err != nil {
			return fmt.Errorf("give %s to the container's root: %w", filepath.Base(name), err)
		}
	}
	return nil
}

// OwnUsers reports whether a container has a user namespace with other ids.
func (e *Engine) OwnUsers(ctx context.Context, name string) (bool, error) {
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return false, err
	}
	return !idsOf(c.Config).same(), nil
}
