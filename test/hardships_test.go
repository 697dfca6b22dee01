package test

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func (h *hardship) withoutGroups() {
	h.in("without control groups", "umount -R /sys/fs/cgroup 2>/dev/null || umount -R -l /sys/fs/cgroup")
	// Without them no device could be kept from a container.
	h.fails(125, []string{"device limits: no cgroup can be written to", "mount -t cgroup2"}, "run", "--rm", "--network", "none", "app")
	h.fails(125, []string{"memory limits: no cgroup can be written to", "mount -t cgroup2"}, "run", "--rm", "--network", "none", "-m", "64m", "app")
	h.works("it works", "run", "--rm", "--network", "none", "--privileged", "app")
	h.works("", "run", "-d", "--name", "box", "--privileged", "app", "sleep", "1000")
	h.works("works", "exec", "box", "echo", "works")
	h.fails(1, []string{"control group"}, "pause", "box")
	h.works("box", "stop", "-t", "0", "box")
	h.works("box", "start", "box")
	h.works("box", "rm", "-f", "box")
	h.m.none("after containers without control groups", h.m.leftovers)

	h.in("with control groups that cannot be written", `for dir in $(awk '$2 ~ "^/sys/fs/cgroup" {print $2}' /proc/self/mounts); do mount -o remount,bind,ro "$dir"; done`)
	h.fails(125, []string{"no right to make groups in /sys/fs/cgroup/", "read-only file system", "mount"}, "run", "--rm", "--network", "none", "-m", "64m", "app")
	h.fails(125, []string{"no right to make groups in /sys/fs/cgroup/", "read-only file system", "mount"}, "run", "--rm", "--network", "none", "app")
}

func (h *hardship) withoutDevices() {
	h.in("without devices", `mkdir -p /run/dev && mount -t tmpfs -o mode=755 dev /run/dev
for d in null zero full random urandom tty; do touch /run/dev/$d; mount --bind /dev/$d /run/dev/$d; done
mount --move /run/dev /dev && rmdir /run/dev`)
	h.works("it works", "run", "--rm", "app")
	h.fails(125, []string{"/dev/fuse", "no such file or directory"}, "run", "--rm", "--device", "/dev/fuse", "app")
	h.fails(125, []string{"/dev/net/tun", "no such file or directory"}, "run", "--rm", "--device", "/dev/net/tun", "app")
}

// withoutParts is a kernel without overlay, and one without nftables.
func (h *hardship) withoutParts() {
	m := h.m
	self, err := os.Executable()
	m.must(err)
	h.when, h.wrap = "without nftables", []string{self, "without", "nftables"}
	h.fails(125, []string{"nftables"}, "run", "--rm", "-p", "80", "app")
	h.fails(125, []string{"nftables"}, "run", "--rm", "app")
	h.works("it works", "run", "--rm", "--network", "none", "app")
	h.works("it works", "run", "--rm", "--network", "host", "app")

	h.when, h.wrap = "without overlay", []string{self, "without", "overlay"}
	root := m.path("copies")
	h.works("", "--root", root, "load", "-i", "app.tar")
	h.fails(125, []string{"overlay cannot be used in ", root}, "--root", root, "--storage-driver", "overlay", "run", "--rm", "--network", "none", "app")
	for _, flags := range [][]string{{"--root", root}, {"--root", root, "--storage-driver", "native"}} {
		h.works("it works", append(flags, "run", "--rm", "--network", "none", "app")...)
	}
	h.works("native", "--root", root, "info", "--format", "{{.Driver}}")
	h.works("", "--root", root, "system", "reset", "-f")
}

func (h *hardship) readOnlyStore() {
	h.in("with a store that cannot be written", fmt.Sprintf("mount --bind %[1]s %[1]s && mount -o remount,bind,ro %[1]s", h.m.root))
	h.fails(125, []string{"read-only file system", h.m.root, "--root"}, "run", "--rm", "--network", "none", "app")
	h.fails(125, []string{"read-only file system"}, "run", "-d", "--network", "none", "app")
	h.works("app", "images", "--format", "{{.Repository}}")
	h.in("with a store for which there can be no directory", "mount -o remount,bind,ro "+h.m.dir+" 2>/dev/null || { mount --bind "+h.m.dir+" "+h.m.dir+"; mount -o remount,bind,ro "+h.m.dir+"; }")
	h.fails(125, []string{"make the store", "read-only file system", "--root"}, "--root", h.m.path("nowhere"), "run", "--rm", "app")
}

// otherStores are stores on file systems that have less than others.
func (h *hardship) otherStores() {
	m := h.m
	for _, x := range []struct{ when, script, driver string }{
		{"with a store on a file system without extended attributes", "mount -t ramfs other %s", "native"},
		{"with a store on an overlay", "mkdir -p %[1]s/u %[1]s/w && mount -t tmpfs other /mnt && mkdir /mnt/u /mnt/w && mount -t overlay other -o lowerdir=%[1]s,upperdir=/mnt/u,workdir=/mnt/w %[1]s", "native"},
	} {
		root := m.path("other")
		m.must(os.MkdirAll(root, 0o755))
		h.when = x.when
		script := fmt.Sprintf(x.script, root) + fmt.Sprintf(`
set -e
camada --root %[1]s load -q -i app.tar
camada --root %[1]s info --format '{{.Driver}}'
camada --root %[1]s run --rm --network none app
camada --root %[1]s run --rm --network none app sh -c 'rm /bin/seq && touch /a && mkdir /b && echo changed'
camada --root %[1]s run --rm --network none app sh -c 'ls -d /bin/seq'
camada --root %[1]s fsck
camada --root %[1]s system reset -f`, root)
		h.wrap = []string{"unshare", "--mount", "sh", "-c", script}
		r := h.run()
		want := []string{x.driver, "it works", "changed", "/bin/seq", "no problems"}
		for _, w := range want {
			if r.code != 0 || !strings.Contains(r.out, w) {
				m.t.Errorf("%s: want %q: %v", x.when, w, r)
			}
		}
		h.clean([]string{"run", "--rm"})
	}
}

// fullRun is a full file system of what is known of networks.
func (h *hardship) fullRun() {
	m := h.m
	for when, options := range map[string]string{"with a full /run": "size=16k", "with no inodes in /run": "nr_inodes=12,size=1m"} {
		h.in(when, "mount -t tmpfs -o "+options+` run /run; mkdir /run/camada; n=0
{ while echo ballast > /run/camada/$n; do n=$((n+1)); done; cat /dev/zero > /run/camada/0; } 2>/dev/null`)
		h.fails(125, []string{"no space left on device", "/run/camada"}, "run", "--rm", "-p", "80", "app")
		h.works("it works", "run", "--rm", "--network", "none", "app")
		h.works("it works", "run", "--rm", "--network", "host", "app")
	}
	m.none("after a full /run", m.leftovers)
}

// noInodes is a store on a file system that has bytes, but no inodes for new files.
func (h *hardship) noInodes() {
	m := h.m
	was := m.root
	m.root = m.path("few")
	m.env = append(m.env, "CAMADA_ROOT="+m.root)
	m.must(os.Mkdir(m.root, 0o711))
	m.must(unix.Mount("tmpfs", m.root, "tmpfs", 0, "nr_inodes=400"))
	mounts := m.mounts
	m.mounts = m.mountPoints()
	h.when, h.wrap = "without inodes", nil
	m.camada("load", "-q", "-i", "app.tar")
	h.works("it works", "run", "--rm", "--network", "none", "app")
	n := h.ballast()
	says := []string{"no space left on device", m.root}
	h.fails(125, says, "run", "--rm", "--network", "none", "app")
	h.fails(125, says, "run", "--rm", "-d", "--network", "none", "app")
	h.fails(1, says, "create", "app")
	clear := func() {
		for i := range n {
			m.must(os.Remove(fmt.Sprintf("%s/ballast%d", m.root, i)))
		}
	}
	clear()
	m.camada("run", "-d", "--name", "box", "--health-cmd", "true", "--health-interval", "50ms", "-p", "80", "--restart", "always", "app", "sh", "-c", "trap 'exit 7' TERM; sleep 1000 & wait")
	n = h.ballast()
	h.works("works", "exec", "box", "echo", "works")
	h.works("box", "pause", "box")
	h.works("box", "unpause", "box")
	h.works("box", "stop", "-t", "60", "box")
	h.works("7 exited", "inspect", "--format", "{{.State.ExitCode}} {{.State.Status}}", "box")
	h.works("box", "rm", "box")
	clear()
	h.works("it works", "run", "--rm", "--network", "none", "app")
	m.whole("with inodes again")
	m.accounted("with inodes again")
	m.camada("system", "reset", "-f")
	m.must(unix.Unmount(m.root, 0))
	m.root, m.mounts = was, mounts
	m.env = append(m.env, "CAMADA_ROOT="+m.root)
}

// ballast makes files in the store until there can be no more, and says how many.
func (h *hardship) ballast() (n int) {
	for os.WriteFile(fmt.Sprintf("%s/ballast%d", h.m.root, n), nil, 0o600) == nil {
		n++
	}
	return n
}
