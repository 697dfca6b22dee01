package imagelint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/layer/index"
)

// group is what a rule found in one layer.
type group struct {
	paths []string
	count int
	bytes int64
}

// groups are the layers in which a rule found something.
type groups map[int]*group

func (g groups) add(layer int, path string, bytes int64) {
	at := g[layer]
	if at == nil {
		at = &group{}
		g[layer] = at
	}
	at.count++
	at.bytes += bytes
	// The first names of all, whatever the order in which they come.
	i, _ := slices.BinarySearch(at.paths, path)
	if i < maxPaths {
		at.paths = slices.Insert(at.paths, i, path)
		at.paths = at.paths[:min(len(at.paths), maxPaths)]
	}
}

// list names paths, and how many there are besides.
func (g *group) list() string {
	const most = 3
	text := strings.Join(g.paths[:min(len(g.paths), most)], ", ")
	if g.count > most {
		text += fmt.Sprintf(" and %d more", g.count-most)
	}
	return text
}

const (
	setuid, setgid, sticky = 0o4000, 0o2000, 0o1000
	othersWrite            = 0o002
	execute                = 0o111
)

// files looks at each path that shows in the end.
func (c *check) files() {
	setid, writable := groups{}, groups{}
	c.in.Image.Each(func(n *anatomy.Node) {
		v := n.Now()
		if v == nil || v.File() == nil {
			return
		}
		e := v.File()
		switch {
		case e.Kind == index.Reg && e.Mode&execute != 0 && e.Mode&(setuid|setgid) != 0:
			setid.add(v.Layer, absolute(n), 0)
		case (e.Kind == index.Reg || e.Kind == index.Dir && e.Mode&sticky == 0) && e.Mode&othersWrite != 0:
			writable.add(v.Layer, absolute(n), 0)
		}
	})
	for layer, g := range setid {
		c.report("SetuidFile", layer+1, plural(g.count, "file")+" with the rights of others: "+g.list(), g.paths...)
	}
	for layer, g := range writable {
		c.report("WorldWritable", layer+1, plural(g.count, "path")+" that everyone can write: "+g.list(), g.paths...)
	}
	for _, dir := range cacheDirs() {
		left := groups{}
		if n := c.in.Image.Lookup(dir); n != nil {
			below(n, func(n *anatomy.Node) {
				if v := n.Now(); v != nil && v.File() != nil && v.File().Kind == index.Reg && v.File().Size > 0 {
					left.add(v.Layer, absolute(n), v.File().Size)
				}
			})
		}
		for layer, g := range left {
			c.report("CacheLeft", layer+1, fmt.Sprintf("%s with %s in /%s", plural(g.count, "file"), size(g.bytes), dir), g.paths...)
		}
	}
}

// below calls fn for all that is in a directory.
func below(n *anatomy.Node, fn func(*anatomy.Node)) {
	n.EachChild(func(k *anatomy.Node) {
		fn(k)
		below(k, fn)
	})
}

// cacheDirs are where package managers keep what they fetched.
func cacheDirs() []string {
	return []string{
		"var/lib/apt/lists", "var/cache/apt", "var/cache/apk", "etc/apk/cache", "var/cache/yum", "var/cache/dnf", "var/cache/libdnf5", "var/cache/zypp",
		"root/.cache/pip", "root/.cache/uv", "root/.npm/_cacache", "usr/local/share/.cache/yarn", "root/.cache/yarn", "root/.cache/go-build", "root/go/pkg/mod/cache", "go/pkg/mod/cache",
		"root/.cargo/registry/cache", "usr/local/cargo/registry/cache", "root/.composer/cache", "root/.m2/repository", "root/.gradle/caches",
	}
}

// enough is how many bytes a layer must lose before that is told: 100 kB.
const enough = 100_000

// hidden finds layers whose files later layers hide.
func (c *check) hidden() {
	by := map[int]map[string]int64{}
	if c.in.Image.Wasted() < enough {
		return
	}
	c.in.Image.Each(func(n *anatomy.Node) {
		for i := range n.Versions[:max(len(n.Versions)-1, 0)] {
			v := &n.Versions[i]
			if v.Entry == nil || v.Entry.Kind != index.Reg || v.Entry.Size == 0 || c.in.Image.Layers[v.Layer].Wasted < enough {
				continue
			}
			if by[v.Layer] == nil {
				by[v.Layer] = map[string]int64{}
			}
			by[v.Layer][absolute(n)] += v.Entry.Size
		}
	})
	for layer, paths := range by {
		names := make([]string, 0, len(paths))
		for p := range paths {
			names = append(names, p)
		}
		slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(paths[b], paths[a]), strings.Compare(a, b)) })
		g := &group{paths: names[:min(len(names), maxPaths)], count: len(names)}
		c.report("HiddenFiles", layer+1, size(c.in.Image.Layers[layer].Wasted)+" that later layers hide or repeat: "+g.list(), g.paths...)
	}
}

// packages finds what a running program does not need.
func (c *check) packages() {
	found := groups{}
	for _, p := range c.in.Packages {
		if tool(p.Name) {
			found.add(p.Layer, p.Name, 0)
		}
	}
	for layer, g := range found {
		from := ""
		if !c.own(layer) {
			from = "of the base "
		}
		c.report("NeedlessPackage", layer+1, plural(g.count, "package")+" "+from+"for building or looking around: "+g.list())
	}
	if c.in.Static != "" && len(c.in.Packages) > 0 {
		c.report("BiggerBase", 0, fmt.Sprintf("%s is static and needs none of the %s", c.in.Static, plural(len(c.in.Packages), "package")), c.in.Static)
	}
}

// tool tells whether a package is for building software, for terminals, or for coming in.
func tool(name string) bool {
	switch name {
	case "gcc", "g++", "cpp", "clang", "make", "cmake", "build-essential", "build-base", "automake", "autoconf", "libtool", "gdb", "strace", "ltrace", "binutils", "musl-dev", "libc6-dev", "glibc-devel",
		"gcc-c++", "rust", "cargo", "golang", "go", "git", "subversion", "mercurial", "vim", "vim-tiny", "nano", "emacs", "man-db", "manpages", "sudo", "doas", "openssh-server", "openssh", "telnet", "telnetd",
		"inetutils-telnet", "netcat-openbsd", "netcat-traditional", "nmap", "tcpdump", "rsh-client", "ftp", "cron", "systemd", "rpm-build", "dpkg-dev", "debhelper", "less", "screen", "tmux", "htop", "wireshark", "socat":
		return true
	}
	return strings.HasSuffix(name, "-dev") || strings.HasSuffix(name, "-devel") || strings.HasSuffix(name, "-doc")
}

func absolute(n *anatomy.Node) string {
	if n.Parent == nil {
		return "/"
	}
	return "/" + n.Path()
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// size writes bytes with a unit.
func size(n int64) string {
	switch {
	case n >= 1_000_000:
		return fmt.Sprintf("%.1fMB", float64(n)/1e6)
	case n >= 1000:
		return fmt.Sprintf("%.1fkB", float64(n)/1e3)
	}
	return fmt.Sprintf("%dB", n)
}
