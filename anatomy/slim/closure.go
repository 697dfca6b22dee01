package slim

import (
	"bytes"
	"path"
	"slices"
	"strings"
)

// closure adds to kept files what they cannot work without.
type closure struct {
	c *chooser
	// dirs are where the loader looks for libraries: as its configuration has it, and by itself.
	dirs []string
	// search is where programs are looked for.
	search []string
	// done are the files that were looked at.
	done map[*node]bool
	// includes counts what the loader's configuration includes.
	includes int
}

// newClosure reads the loader's configuration.
func (c *chooser) newClosure() *closure {
	x := &closure{c: c, done: map[*node]bool{}}
	x.search = strings.Split(envOf(c.opts.Env, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ":")
	x.dirs = append(x.dirs, split(envOf(c.opts.Env, "LD_LIBRARY_PATH", ""))...)
	x.configured("etc/ld.so.conf", 0)
	for _, arch := range []string{"x86_64", "i386", "aarch64", "armhf", "arm"} { // of musl, by its loader's name
		if b, err := c.t.read("etc/ld-musl-"+arch+".path", 64<<10); err == nil && b != nil {
			x.dirs = append(x.dirs, strings.FieldsFunc(string(b), func(r rune) bool { return r == ':' || r == '\n' })...)
		}
	}
	for _, triplet := range []string{"x86_64-linux-gnu", "aarch64-linux-gnu", "i386-linux-gnu", "arm-linux-gnueabihf"} { // the image's processor may be another than this one
		x.dirs = append(x.dirs, "/lib/"+triplet, "/usr/lib/"+triplet)
	}
	x.dirs = append(x.dirs, "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib")
	return x
}

// split parts a list of directories.
func split(list string) []string {
	return slices.DeleteFunc(strings.FieldsFunc(list, func(r rune) bool { return r == ':' || r == ';' }), func(s string) bool { return s == "" })
}

// envOf is the value of a variable; the last one counts.
func envOf(env []string, name, otherwise string) string {
	for _, kv := range slices.Backward(env) {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return otherwise
}

// configured reads ld.so.conf(5), which includes others.
func (x *closure) configured(name string, depth int) {
	const maxDepth, maxDirs, maxIncludes = 8, 1000, 1000
	b, err := x.c.t.read(name, 1<<20)
	if err != nil || depth > maxDepth {
		return
	}
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || len(x.dirs) > maxDirs:
		case words[0] == "include":
			for _, pattern := range words[1:] {
				if x.includes++; x.includes > maxIncludes { // a file may include itself, many times
					return
				}
				if !path.IsAbs(pattern) {
					pattern = path.Join("/", path.Dir(name), pattern)
				}
				dir := x.c.t.find(path.Dir(pattern), false).end
				if dir == nil {
					continue
				}
				for _, k := range dir.children() {
					if ok, _ := path.Match(path.Base(pattern), k.name); ok {
						x.configured(k.path(), depth+1)
					}
				}
			}
		default:
			x.dirs = append(x.dirs, words[0])
		}
	}
}

// add looks at a kept file once.
func (x *closure) add(n *node) {
	if x.done[n] || !n.isFile() || n.size < 4 {
		return
	}
	x.done[n] = true
	f, err := x.c.t.open(n)
	if err != nil {
		return
	}
	defer f.Close()
	head := make([]byte, 256)
	got, _ := f.ReadAt(head, 0)
	head = head[:got]
	switch {
	case bytes.HasPrefix(head, []byte("#!")):
		if n.mode&0o111 != 0 {
			x.script(n, head)
		}
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		if b, ok := readELF(f); ok {
			x.linked(n, &b)
		}
	}
}

// script keeps the interpreter of a script; with env(1), also the one that env looks for.
func (x *closure) script(n *node, head []byte) {
	line, _, _ := bytes.Cut(head[2:], []byte("\n"))
	words := strings.Fields(string(line))
	if len(words) == 0 {
		return
	}
	why := "runs /" + n.path()
	x.c.keep(words[0], false, why)
	if path.Base(words[0]) != "env" {
		return
	}
	for _, w := range words[1:] {
		if strings.HasPrefix(w, "-") || strings.Contains(w, "=") {
			continue
		}
		x.program(w, why)
		return
	}
}

// program keeps a program as execvp looks for it.
func (x *closure) program(name, why string) {
	if strings.Contains(name, "/") {
		x.c.keep(path.Join("/", x.c.opts.Workdir, name), false, why)
		if path.IsAbs(name) {
			x.c.keep(name, false, why)
		}
		return
	}
	for _, dir := range x.search {
		if p := path.Join("/", dir, name); x.c.t.find(p, false).end != nil {
			x.c.keep(p, false, why)
			return
		}
	}
}

// linked keeps the loader and the libraries of a program or library.
func (x *closure) linked(n *node, b *binaryFile) {
	why := "needed by /" + n.path()
	if b.interp != "" {
		x.c.keep(b.interp, false, why)
	}
	for _, name := range b.needed {
		if strings.Contains(name, "/") {
			x.c.keep(name, false, why)
			continue
		}
		if p := x.library(n, b, name); p != "" {
			x.c.keep(p, false, why)
		}
	}
}

// library finds a library as ld.so(8) does, but for its cache, which is made of the same directories.
func (x *closure) library(n *node, b *binaryFile, name string) string {
	var dirs []string
	for _, list := range b.paths {
		dirs = append(dirs, split(list)...)
	}
	here := "/" + path.Dir(n.path())
	for _, dir := range append(append(dirs, x.dirs...), here) { // a library of a program's own lies beside it, found by the program's RPATH
		dir = strings.NewReplacer("$ORIGIN", here, "${ORIGIN}", here, "$LIB", "lib", "${LIB}", "lib").Replace(dir)
		p := path.Join("/", dir, name)
		end := x.c.t.find(p, false).end
		if end != nil && end.isFile() && x.alike(end, b) {
			return p
		}
	}
	return ""
}

// alike reports whether a library is for the same machine.
func (x *closure) alike(n *node, b *binaryFile) bool {
	f, err := x.c.t.open(n)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 20)
	if _, err := f.ReadAt(head, 0); err != nil || head[4] != b.class {
		return false
	}
	want := []byte{byte(b.machine), byte(b.machine >> 8)}
	if head[5] == 2 {
		want[0], want[1] = want[1], want[0]
	}
	return bytes.Equal(head[18:20], want)
}
