package snapshottest

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/mount"
	"github.com/camada/camada/snapshot"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// base is a layer with something of everything.
func base() []entry {
	return []entry{
		dir("etc"), file("etc/passwd", "root"), file("etc/shadow", "secret").mode(0o600),
		dir("usr"), dir("usr/bin"), file("usr/bin/su", "elf").mode(0o4755), symlink("bin", "usr/bin"),
		dir("var"), dir("var/cache"), file("var/cache/a", "a"), file("var/cache/b", "b"),
		dir("opt"), dir("opt/deep"), dir("opt/deep/er"), file("opt/deep/er/f", "f"),
		file("plain", "1"), link("linked", "plain"), symlink("dangling", "/nowhere"),
		file("attr", "x").xattr("user.note", "hello"),
	}
}

func testLayers(t *testing.T, open Open) {
	f := newFixture(t, open)
	one := f.apply("", base()...)
	two := f.apply(one,
		file("etc/.wh.shadow", ""),                                                     // a file goes
		file(".wh.opt", ""),                                                            // a directory goes
		dir("var/cache"), file("var/cache/.wh..wh..opq", ""), file("var/cache/c", "c"), // all in it goes
		file("usr/bin/.wh.not-there", ""),          // nothing goes
		link("etc/also", "plain"),                  // to a file of the layer below
		dir("dangling"), file("dangling/in", "in"), // a link becomes a directory
		file("var/cache/d", "d").xattr("user.note", "bye"),
		file("bin/tool", "through the link"),
	)
	three := f.apply(two,
		file("dangling", "a file"),         // a directory becomes a file
		dir("opt"), file("opt/new", "new"), // back, without what was in it
		dir("attr"), // a file becomes a directory
	)
	checkNames(t, f.tree(one), "attr bin dangling etc etc/passwd etc/shadow linked opt opt/deep opt/deep/er opt/deep/er/f "+
		"plain usr usr/bin usr/bin/su var var/cache var/cache/a var/cache/b")
	checkNames(t, f.tree(two), "attr bin dangling dangling/in etc etc/also etc/passwd linked "+
		"plain usr usr/bin usr/bin/su usr/bin/tool var var/cache var/cache/c var/cache/d")
	got := f.tree(three)
	checkNames(t, got, "attr bin dangling etc etc/also etc/passwd linked opt opt/new "+
		"plain usr usr/bin usr/bin/su usr/bin/tool var var/cache var/cache/c var/cache/d")
	for name, want := range map[string]string{
		"usr/bin/su": " 4755 ", "dangling": "0 0644 ", "attr": "5 0755 ", "bin": " -> usr/bin",
		"var/cache/d": ` user.note="bye"`, "linked": "0 0644 ", "usr/bin/tool": "0 0644 ",
	} {
		if !strings.Contains(got[name], want) {
			t.Errorf("%s is %q, want %q in it", name, got[name], want)
		}
	}
	if !strings.Contains(got["usr/bin/su"], fmt.Sprint(epoch.UnixNano())) {
		t.Errorf("the time of usr/bin/su is not kept: %s", got["usr/bin/su"])
	}
	if a, b := f.tree(one)["linked"], f.tree(one)["plain"]; a != b {
		t.Errorf("hard link: linked is %q, plain is %q", a, b)
	}
}

func checkNames(t *testing.T, tree map[string]string, want string) {
	t.Helper()
	if diff := cmp.Diff(strings.Fields(want), names(tree)); diff != "" {
		t.Errorf("names in the tree (-want +got):\n%s", diff)
	}
}

func testOpaqueRoot(t *testing.T, open Open) {
	f := newFixture(t, open)
	one := f.apply("", base()...)
	two := f.apply(one, file(".wh..wh..opq", ""), file(".wh.etc", ""), dir("d"), file("d/f", ""))
	checkNames(t, f.tree(two), "d d/f")
	three := f.apply(two, file("d/g", ""))
	checkNames(t, f.tree(three), "d d/f d/g")
	id := f.prepare(three)
	f.edit(id, func(dir string) error { return write(dir, "etc", "") })
	checkNames(t, f.tree(id), "d d/f d/g etc")
}

func testRootAttributes(t *testing.T, open Open) {
	f := newFixture(t, open)
	root := dir(".").mode(0o1751).xattr("user.root", "yes")
	one := f.apply("", root, file("f", ""))
	two := f.apply(one, file("g", ""))
	three := f.prepare(two)
	for _, id := range []string{one, two, three} {
		v, err := f.View(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(v.Dir(), &st); err != nil || st.Mode&0o7777 != 0o1751 {
			t.Errorf("the mode of the root of %s is %o, %v", id, st.Mode, err)
		}
		var value [16]byte
		if n, err := unix.Getxattr(v.Dir(), "user.root", value[:]); err != nil || string(value[:n]) != "yes" {
			t.Errorf("the attribute of the root of %s: %q, %v", id, value[:max(n, 0)], err)
		}
		v.Close()
	}
	if tar := f.diff(three); !bytes.Equal(tar, layerOf().Bytes()) {
		t.Errorf("an unchanged snapshot differs from its parent: %v", headers(t, tar))
	}
}

// diff is the layer of a snapshot.
func (f *fixture) diff(id string) []byte {
	f.t.Helper()
	var b bytes.Buffer
	if err := f.Diff(f.t.Context(), id, &b, snapshot.DiffOptions{}); err != nil {
		f.t.Fatalf("Diff: %v", err)
	}
	return b.Bytes()
}

// headers describes the entries of a tar.
func headers(t *testing.T, layer []byte) []string {
	t.Helper()
	var list []string
	for r := tar.NewReader(bytes.NewReader(layer)); ; {
		h, err := r.Next()
		if err == io.EOF { //nolint:errorlint // the end is the bare value
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%s %c %04o %d:%d %s", strings.Trim(h.Name, "/"), h.Typeflag, h.Mode, h.Uid, h.Gid, h.Linkname))
	}
}

func testOwners(t *testing.T, open Open) {
	f := newFixture(t, open)
	id := f.apply("", dir("d").owned(7, 8), file("d/f", "x").owned(65534, 3).mode(0o4711), file("g", "y").owned(0, 42))
	want := []string{"d 5 0755 7:8 ", "d/f 0 4711 65534:3 ", "g 0 0644 0:42 "}
	if diff := cmp.Diff(want, headers(t, f.diff(id))); diff != "" {
		t.Errorf("layer of a snapshot that was applied (-want +got):\n%s", diff)
	}
	next := f.prepare(id)
	f.edit(next, func(dir string) error { return os.Chmod(dir+"/d/f", 0o600) })
	f.freeze(next)
	if diff := cmp.Diff([]string{"d/f 0 0600 65534:3 "}, dropDirs(headers(t, f.diff(next)))); diff != "" {
		t.Errorf("layer of a changed mode (-want +got):\n%s", diff)
	}
}

func dropDirs(list []string) []string {
	var files []string
	for _, h := range list {
		if !strings.Contains(h, " 5 ") {
			files = append(files, h)
		}
	}
	return files
}

// change does to a tree what steps of builds do.
func change(dir string) error {
	return errors.Join(
		write(dir, "etc/new", "new"),
		write(dir, "etc/passwd", "changed"),
		os.Remove(dir+"/etc/shadow"),
		os.RemoveAll(dir+"/opt"),
		os.Mkdir(dir+"/opt", 0o700),
		write(dir, "opt/only", "this"),
		os.Chmod(dir+"/usr/bin/su", 0o755),
		os.Remove(dir+"/dangling"),
		os.MkdirAll(dir+"/dangling/x/y", 0o755),
		os.Remove(dir+"/attr"),
		os.Symlink("plain", dir+"/attr"),
		os.RemoveAll(dir+"/var/cache"),
		write(dir, "var/cache", "a file now"),
		write(dir, "plain", "both names change"),
		os.Link(dir+"/etc/new", dir+"/usr/new"),
		unix.Setxattr(dir+"/etc/passwd", "user.x", []byte("y"), 0),
		unix.Mkfifo(dir+"/fifo", 0o640),
		os.Rename(dir+"/usr/bin/su", dir+"/usr/bin/sudo"),
		os.Truncate(dir+"/etc/new", 1<<20),
		os.Chtimes(dir+"/etc/passwd", time.Time{}, epoch.Add(time.Hour)),
	)
}

func testRoundTrip(t *testing.T, open Open) {
	f := newFixture(t, open)
	below := f.apply(f.apply("", base()...), file("etc/more", "more"), file("usr/bin/.wh.x", ""))
	id := f.prepare(below)
	f.edit(id, change)
	want := f.tree(id)
	if strings.Contains(strings.Join(names(want), " "), "shadow") {
		t.Fatal("the change was not made")
	}
	f.freeze(id)
	layer := f.diff(id)
	if again := f.diff(id); !bytes.Equal(layer, again) {
		t.Error("two diffs of one snapshot differ")
	}
	info, err := f.Apply(t.Context(), below, bytes.NewReader(layer))
	if err != nil {
		t.Fatalf("Apply of a Diff: %v", err)
	}
	if diff := cmp.Diff(want, f.tree(info.ID)); diff != "" {
		t.Errorf("tree after Diff and Apply (-want +got):\n%s", diff)
	}
	if again := f.diff(info.ID); !bytes.Equal(layer, again) {
		t.Errorf("the layer of the applied layer is another (-want +got):\n%s", cmp.Diff(headers(t, layer), headers(t, again)))
	}
	var clamped bytes.Buffer
	opts := snapshot.DiffOptions{Clamp: epoch, Exclude: []string{"etc"}}
	if err := f.Diff(t.Context(), id, &clamped, opts); err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(&clamped); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		if h.ModTime.After(epoch) || strings.HasPrefix(h.Name, "etc/") {
			t.Errorf("%s of %s is in a layer clamped to %s without etc", h.Name, h.ModTime, epoch)
		}
	}
	next := f.prepare(id)
	f.edit(next, func(dir string) error { return errors.Join(os.Remove(dir+"/opt/only"), write(dir, "last", "")) })
	if h := dropDirs(headers(t, f.diff(next))); len(h) != 2 || !strings.HasPrefix(h[0]+h[1], "last 0 ") && !strings.Contains(h[0]+h[1], "opt/.wh.only ") {
		t.Errorf("layer on top of a frozen snapshot: %q", h)
	}
}

func testFromNothing(t *testing.T, open Open) {
	f := newFixture(t, open)
	id := f.prepare("")
	f.edit(id, func(dir string) error {
		return errors.Join(os.Mkdir(dir+"/d", 0o755), write(dir, "d/f", "x"), write(dir, "g", ""), os.Remove(dir+"/g"))
	})
	f.freeze(id)
	checkNames(t, f.tree(id), "d d/f")
	info, err := f.Apply(t.Context(), "", bytes.NewReader(f.diff(id)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f.tree(id), f.tree(info.ID)); diff != "" {
		t.Errorf("tree after Diff and Apply (-want +got):\n%s", diff)
	}
	f.edit(f.prepare(id), func(dir string) error { return write(dir, "d/f", "changed") })
	if tree := f.tree(id); !strings.Contains(tree["d/f"], " 1 ") {
		t.Errorf("a child changed its parent: %q", tree["d/f"])
	}
}

func testManyLayers(t *testing.T, open Open) {
	f := newFixture(t, open)
	counts := []int{200}
	if f.Driver() != "native" { // which copies all below each
		counts = append(counts, 400)
	}
	id, made := "", 0
	for _, n := range counts {
		for ; made < n; made++ {
			entries := []entry{file(fmt.Sprintf("f%d", made), "x"), file("top", fmt.Sprint(made))}
			if made > 1 {
				entries = append(entries, file(fmt.Sprintf(".wh.f%d", made-2), ""))
			}
			id = f.apply(id, entries...)
		}
		active := f.prepare(id)
		f.edit(active, func(dir string) error { return write(dir, "mine", "x") })
		checkNames(t, f.tree(active), fmt.Sprintf("f%d f%d mine top", n-2, n-1))
		m, err := f.Mount(t.Context(), active)
		if err != nil {
			t.Fatal(err)
		}
		if list := strings.Join(m.Lower, ":"); m.Kind == mount.Overlay && len(list) < os.Getpagesize() {
			t.Errorf("the list of %d layers has %d bytes and tests nothing", n, len(list))
		}
	}
}
