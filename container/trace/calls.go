package trace

import "golang.org/x/sys/unix"

// lookup is a path that a call has: which argument it is, from 0.
type lookup struct {
	path int
	// dir is the argument with the directory's descriptor; none for the working directory.
	dir int
	// flags is the argument with flags; none when it has none. noFollow are those that mean a link itself, -1 for calls that always do.
	flags    int
	noFollow int
	how      How
	// opens says that flags are those of open.
	opens bool
	// list says that there is no path: dir is the directory itself.
	list bool
}

const (
	none   = -1
	always = -1
)

// named is a call by its name.
type named struct {
	name  string
	paths []lookup
}

// lookups are the calls that have paths. Left out are those that a container may not make, and sockets, which no image has.
func lookups() []named {
	const nf = unix.AT_SYMLINK_NOFOLLOW
	plain := func(path int, how How) lookup { return lookup{path: path, dir: none, flags: none, how: how} }
	link := func(path int, how How) lookup {
		return lookup{path: path, dir: none, flags: none, noFollow: always, how: how}
	}
	at := func(dir, flags int, how How) lookup {
		return lookup{path: dir + 1, dir: dir, flags: flags, noFollow: nf, how: how}
	}
	linkAt := func(dir int, how How) lookup {
		return lookup{path: dir + 1, dir: dir, flags: none, noFollow: always, how: how}
	}
	one := func(name string, l lookup) named { return named{name, []lookup{l}} }
	list := []lookup{{dir: 0, list: true, how: List}}
	return []named{
		one("execve", plain(0, Exec)),
		one("execveat", at(0, 4, Exec)),

		one("open", lookup{path: 0, dir: none, flags: 1, noFollow: unix.O_NOFOLLOW, opens: true}),
		one("openat", lookup{path: 1, dir: 0, flags: 2, noFollow: unix.O_NOFOLLOW, opens: true}),
		one("openat2", at(0, none, Open)), // its flags are in memory: a link that it does not follow is kept with what it points to
		one("creat", plain(0, Write)),
		one("truncate", plain(0, Write)),
		one("truncate64", plain(0, Write)),
		one("chdir", plain(0, Open)),
		one("chroot", plain(0, Open)),
		one("inotify_add_watch", plain(1, Open)),
		one("name_to_handle_at", at(0, none, Open)),
		one("open_tree", at(0, 2, Open)),
		one("open_tree_attr", at(0, 2, Open)),

		{"getdents", list},
		{"getdents64", list},

		one("stat", plain(0, Stat)),
		one("stat64", plain(0, Stat)),
		one("lstat", link(0, Stat)),
		one("lstat64", link(0, Stat)),
		one("newfstatat", at(0, 3, Stat)),
		one("fstatat64", at(0, 3, Stat)),
		one("statx", at(0, 2, Stat)),
		one("access", plain(0, Stat)),
		one("faccessat", at(0, none, Stat)),
		one("faccessat2", at(0, 3, Stat)),
		one("readlink", link(0, Stat)),
		one("readlinkat", linkAt(0, Stat)),
		one("statfs", plain(0, Stat)),
		one("statfs64", plain(0, Stat)),
		one("getxattr", plain(0, Stat)),
		one("lgetxattr", link(0, Stat)),
		one("listxattr", plain(0, Stat)),
		one("llistxattr", link(0, Stat)),
		one("getxattrat", at(0, 2, Stat)),
		one("listxattrat", at(0, 2, Stat)),
		one("file_getattr", at(0, 4, Stat)),

		one("unlink", link(0, Change)),
		one("unlinkat", linkAt(0, Change)),
		one("rmdir", link(0, Change)),
		{"rename", []lookup{link(0, Change), link(1, Change)}},
		{"renameat", []lookup{linkAt(0, Change), linkAt(2, Change)}},
		{"renameat2", []lookup{linkAt(0, Change), linkAt(2, Change)}},
		{"link", []lookup{link(0, Change), link(1, Change)}},
		{"linkat", []lookup{linkAt(0, Change), linkAt(2, Change)}},
		one("symlink", link(1, Change)),
		one("symlinkat", linkAt(1, Change)),
		one("mkdir", link(0, Change)),
		one("mkdirat", linkAt(0, Change)),
		one("mknod", link(0, Change)),
		one("mknodat", linkAt(0, Change)),
		one("chmod", plain(0, Change)),
		one("fchmodat", at(0, none, Change)),
		one("fchmodat2", at(0, 3, Change)),
		one("chown", plain(0, Change)),
		one("chown32", plain(0, Change)),
		one("lchown", link(0, Change)),
		one("lchown32", link(0, Change)),
		one("fchownat", at(0, 4, Change)),
		one("utime", plain(0, Change)),
		one("utimes", plain(0, Change)),
		one("futimesat", at(0, none, Change)),
		one("utimensat", at(0, 3, Change)),
		one("utimensat_time64", at(0, 3, Change)),
		one("setxattr", plain(0, Change)),
		one("lsetxattr", link(0, Change)),
		one("removexattr", plain(0, Change)),
		one("lremovexattr", link(0, Change)),
		one("setxattrat", at(0, 2, Change)),
		one("removexattrat", at(0, 2, Change)),
		one("file_setattr", at(0, 4, Change)),
	}
}
