package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// outside is a directory with the root in it and something beside it that nobody may touch.
func outside(t testing.TB) (base, root string, unchanged func()) {
	t.Helper()
	base = t.TempDir()
	root = filepath.Join(base, "root")
	for _, d := range []string{root, filepath.Join(base, "victim")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(base, "victim", "file"), []byte("whole"), 0o644); err != nil {
		t.Fatal(err)
	}
	state := func() string {
		var lines []string
		for _, l := range tree(t, base) {
			if !strings.HasPrefix(l, "root ") && !strings.HasPrefix(l, "root/") {
				lines = append(lines, l)
			}
		}
		return strings.Join(lines, "\n")
	}
	before := state()
	return base, root, func() {
		t.Helper()
		if after := state(); after != before {
			t.Errorf("outside the root is\n%s\nand was\n%s", after, before)
		}
	}
}

// Each is refused, or does its work inside the root.
func TestApplyHostileNames(t *testing.T) {
	for name, c := range map[string]struct {
		entries []entry
		refused bool
		inside  string // a file that has to be there
	}{
		"absolute":                  {entries: []entry{file("/abs/file", "x")}, inside: "abs/file"},
		"many slashes":              {entries: []entry{file("///a//b", "x")}, inside: "a/b"},
		"climbs":                    {entries: []entry{file("../victim/file", "x")}, refused: true},
		"climbs late":               {entries: []entry{file("a/../../victim/file", "x")}, refused: true},
		"absolute climbs":           {entries: []entry{file("/../victim/file", "x")}, refused: true},
		"dots that stay":            {entries: []entry{file("a/../b/./c", "x")}, inside: "b/c"},
		"the root as a file":        {entries: []entry{file("./", "").with(func(h *tar.Header) { h.Name, h.Typeflag = ".", tar.TypeReg })}, refused: true},
		"link out, file through":    {entries: []entry{symlink("l", "../victim"), file("l/file", "x")}, inside: "victim/file"},
		"absolute link out":         {entries: []entry{symlink("l", "/victim"), file("l/file", "x")}, inside: "victim/file"},
		"long way out":              {entries: []entry{symlink("l", "../../../../../../../../../../victim"), dir("l", 0o755), file("l/file", "x")}, inside: "l/file"},
		"link through link":         {entries: []entry{symlink("a", ".."), symlink("b", "a/victim"), file("b/file", "x")}, inside: "victim/file"},
		"link to itself":            {entries: []entry{symlink("l", "l"), file("l/file", "x")}, refused: true},
		"proc magic link":           {entries: []entry{symlink("l", "/proc/self/root"), file("l/tmp/file", "x")}, inside: "proc/self/root/tmp/file"},
		"overwrite the link itself": {entries: []entry{symlink("l", "../victim/file"), file("l", "x")}, inside: "l"},
		"hard link out":             {entries: []entry{hardlink("h", "../victim/file")}, refused: true},
		"absolute hard link":        {entries: []entry{file("a", "x"), hardlink("h", "/a")}, inside: "h"},
		"hard link through a link":  {entries: []entry{symlink("l", "../victim"), hardlink("h", "l/file")}, refused: true},
		"hard link to a link out":   {entries: []entry{symlink("l", "../victim/file"), hardlink("h", "l"), file("h", "x")}, inside: "h"},
		"hard link to nothing":      {entries: []entry{hardlink("h", "nothing")}, refused: true},
		"hard link to a directory":  {entries: []entry{dir("d", 0o755), hardlink("h", "d")}, refused: true},
		"hard link to the root":     {entries: []entry{hardlink("h", ".")}, refused: true},
		"whiteout of ..":            {entries: []entry{file("a/.wh...", "")}, refused: true},
		"whiteout of .":             {entries: []entry{file("a/.wh..", "")}, refused: true},
		"whiteout of nothing":       {entries: []entry{file("a/.wh.", "")}, refused: true},
		"whiteout through a link":   {entries: []entry{symlink("l", "../victim"), file("l/.wh.file", ""), file("ok", "")}, inside: "ok"},
		"opaque through a link":     {entries: []entry{symlink("l", "../victim"), file("l/.wh..wh..opq", ""), file("ok", "")}, inside: "ok"},
		"whiteout of a link":        {entries: []entry{symlink("l", "../victim"), file(".wh.l", ""), file("ok", "")}, inside: "ok"},
		"replace a link's target":   {entries: []entry{symlink("l", "../victim"), dir("l/", 0o700), file("l/x", "")}, inside: "l/x"},
		"device through a link":     {entries: []entry{symlink("l", "../victim"), {tar.Header{Name: "l/p", Typeflag: tar.TypeFifo, Mode: 0o777}, ""}}, inside: "victim/p"},
		"link through a link":       {entries: []entry{symlink("l", "../victim"), symlink("l/s", "x"), file("ok", "")}, inside: "ok"},
		"a component too long":      {entries: []entry{file(strings.Repeat("n", 256), "")}, refused: true},
		"owner -1":                  {entries: []entry{file("f", "").with(func(h *tar.Header) { h.Uid, h.Format = 1<<32-1, tar.FormatPAX })}, refused: true},
		"unknown type":              {entries: []entry{file("f", "").with(func(h *tar.Header) { h.Typeflag = 'Q' })}, refused: true},
	} {
		for how, m := range modes() {
			t.Run(name+" "+how, func(t *testing.T) {
				_, root, unchanged := outside(t)
				err := m.run(t, root, tarOf(t, c.entries...))
				unchanged()
				if c.refused {
					if !errdefs.IsInvalid(err) && !errdefs.IsLimit(err) {
						t.Errorf("error %v, want invalid", err)
					} else if !strings.Contains(err.Error(), strconv.Quote(c.entries[len(c.entries)-1].Name)) {
						t.Errorf("error %v does not name the entry", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, err := os.Lstat(filepath.Join(root, c.inside)); err != nil {
					t.Errorf("not inside: %v", err)
				}
			})
		}
	}
}

// mode is a way to extract.
type mode struct {
	opts  archive.ApplyOptions
	apply func(context.Context, *os.Root, io.Reader, archive.ApplyOptions) (archive.Result, error)
}

func modes() map[string]mode {
	user := archive.ApplyOptions{Whiteouts: archive.WhiteoutOverlayUser}
	return map[string]mode{
		"delete":                  {archive.ApplyOptions{}, archive.Apply},
		"overlay":                 {user, archive.Apply},
		"delete without openat2":  {archive.ApplyOptions{}, archive.ApplySteps},
		"overlay without openat2": {user, archive.ApplySteps},
	}
}

func (m mode) run(t testing.TB, into string, b []byte) error {
	t.Helper()
	root, err := os.OpenRoot(into)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	_, err = m.apply(t.Context(), root, bytes.NewReader(b), m.opts)
	return err
}

func TestApplyLongestPath(t *testing.T) {
	_, root, unchanged := outside(t)
	if _, err := apply(t, root, tarOf(t, file(strings.Repeat("d/", 2050)+"f", "")), archive.ApplyOptions{}); !errdefs.IsLimit(err) {
		t.Errorf("a path of more than 4095 bytes: %v", err)
	}
	deep := strings.Repeat("d/", 2000) + "f"
	if _, err := apply(t, root, tarOf(t, file(deep, "x"), file("d", "instead")), archive.ApplyOptions{}); err != nil {
		t.Errorf("2,000 directories, then none: %v", err)
	}
	unchanged()
}

// Attributes and devices by which a layer could talk to overlayfs, or to a later Diff.
func TestApplyDropsOverlayForms(t *testing.T) {
	root := t.TempDir()
	res := mustApply(t, root, tarOf(t,
		dir("d", 0o755).with(func(h *tar.Header) {
			h.PAXRecords = map[string]string{
				"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.overlay.redirect": "/etc", "SCHILY.xattr.user.camada.owner": "0:0",
			}
		}),
		entry{tar.Header{Name: "w", Typeflag: tar.TypeChar, Mode: 0o666, ModTime: epoch}, ""},
		file(".wh..wh.plnk", ""),
	), archive.ApplyOptions{Whiteouts: archive.WhiteoutOverlayUser})
	wantTree(t, root, "d 40755 "+self()+" 1700000000.000000000")
	if len(res.Skipped) != 5 {
		t.Errorf("skipped %v", res.Skipped)
	}
}

func self() string { return strconv.Itoa(os.Geteuid()) + ":" + strconv.Itoa(os.Getegid()) }

// Another process swaps a directory for a link that leads out, all the time.
func TestApplyLinksSwappedUnderWay(t *testing.T) {
	base, root, unchanged := outside(t)
	entries := []entry{
		file("d/file", "x"), dir("d", 0o700), dir("d/sub", 0o777), file("d/sub/f", "x"), symlink("d/s", "y"),
		hardlink("d/h", "d/file"), hardlink("h", "d/file"), file("d/.wh.file", ""), file("d/.wh..wh..opq", ""),
		{tar.Header{Name: "d/p", Typeflag: tar.TypeFifo, Mode: 0o777}, ""}, {tar.Header{Name: "d/file", Typeflag: tar.TypeFifo, Mode: 0o777}, ""},
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	d, link, aside := filepath.Join(root, "d"), filepath.Join(root, "link"), filepath.Join(root, "aside")
	if err := os.Symlink(filepath.Join(base, "victim"), link); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			// One exchange in the kernel, so that d is there at each instant.
			if unix.Renameat2(unix.AT_FDCWD, d, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE) != nil {
				os.Symlink(filepath.Join(base, "victim"), d) //nolint:errcheck // whoever is first
				os.Rename(d, aside)                          //nolint:errcheck // as above
			}
			runtime.Gosched()
		}
	}()
	done := 0
	for range 100 {
		for _, e := range entries {
			for _, m := range modes() {
				// An error is as good: the tree is not ours alone.
				if err := m.run(t, root, tarOf(t, e)); err == nil {
					done++
				}
			}
		}
	}
	close(stop)
	<-stopped
	unchanged()
	if done == 0 {
		t.Error("no entry was extracted: the test tests nothing")
	}
}

// Ten million entries take no memory to speak of: what is kept does not grow with them. They take
// a minute, so that one million stands for them unless CAMADA_TEST_LONG is set.
func TestApplyTenMillionEntries(t *testing.T) {
	entries := int64(1_000_000)
	if os.Getenv("CAMADA_TEST_LONG") != "" {
		entries = 10_000_000
	}
	base := t.TempDir()
	root, err := os.OpenRoot(base)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	res, err := archive.Apply(t.Context(), root, repeat(t, entries), archive.ApplyOptions{})
	runtime.GC()
	runtime.ReadMemStats(&after)
	if err != nil || res.Entries != entries {
		t.Errorf("%d entries, %v", res.Entries, err)
	}
	if grown := int64(after.Sys) - int64(before.Sys); grown > 64<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
}

// repeat streams a tar of n entries.
func repeat(t *testing.T, n int64) io.Reader {
	t.Helper()
	one := tarOf(t, file("d/.wh.gone", ""))
	return io.MultiReader(&repeater{b: one[:512], left: n}, bytes.NewReader(make([]byte, 1024)))
}

type repeater struct {
	b    []byte
	off  int
	left int64
}

func (r *repeater) Read(p []byte) (n int, err error) {
	for n < len(p) && r.left > 0 {
		c := copy(p[n:], r.b[r.off:])
		n += c
		if r.off += c; r.off == len(r.b) {
			r.off = 0
			r.left--
		}
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func TestApplyStopsAtTheEntryLimit(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	res, err := archive.Apply(t.Context(), root, repeat(t, 100_000), archive.ApplyOptions{MaxEntries: 50_000})
	if !errdefs.IsLimit(err) || res.Entries != 50_001 {
		t.Errorf("%d entries, %v", res.Entries, err)
	}
}

// A stream that never ends is left when the caller wants no more.
func TestApplyEndlessIsCanceled(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := archive.Apply(ctx, root, repeat(t, 1<<60), archive.ApplyOptions{MaxEntries: 1 << 61}); err == nil {
		t.Error("an endless stream ended")
	}
}

func FuzzApply(f *testing.F) {
	for _, entries := range [][]entry{
		{file("/../victim/file", "x"), dir("d", 0)},
		{symlink("l", "../victim"), file("l/file", "x"), hardlink("h", "l/file")},
		{symlink("a", "b"), symlink("b", "a"), file("a/x", "")},
		{dir("d", 0o755), file("d/.wh.x", ""), file("d/.wh..wh..opq", ""), file("d", "x"), hardlink("e", "d")},
		{file("f", "x").with(func(h *tar.Header) { h.PAXRecords = map[string]string{"SCHILY.xattr.user.x": "y"} })},
	} {
		f.Add(tarOf(f, entries...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range modes() {
			_, root, unchanged := outside(t)
			m.opts.MaxEntries, m.opts.MaxBytes = 100, 1<<20
			err := m.run(t, root, b)
			unchanged()
			if err != nil && !errdefs.IsInvalid(err) && !errdefs.IsCorrupt(err) && !errdefs.IsLimit(err) && !errdefs.IsUnsupported(err) {
				t.Errorf("error without a class: %v", err)
			}
		}
	})
}

// What Pack makes of an extracted tar gives the same tree, and the same tar, again.
func FuzzRoundTrip(f *testing.F) {
	f.Add(pack(f, odd()))
	f.Add(tarOf(f, dir("a", 0o700), file("a/b", "x"), hardlink("c", "a/b"), symlink("d", "a")))
	f.Fuzz(func(t *testing.T, b []byte) {
		first, second := filepath.Join(t.TempDir(), "1"), filepath.Join(t.TempDir(), "2")
		if _, err := apply(t, first, b, archive.ApplyOptions{MaxEntries: 100, MaxBytes: 1 << 20}); err != nil {
			t.Skip()
		}
		var one, two bytes.Buffer
		if err := archive.Pack(t.Context(), first, &one, archive.DiffOptions{}); err != nil {
			if errdefs.IsUnsupported(err) || errdefs.IsLimit(err) {
				t.Skip() // a name that no layer can have
			}
			t.Fatal(err)
		}
		mustApply(t, second, one.Bytes(), archive.ApplyOptions{})
		if err := archive.Pack(t.Context(), second, &two, archive.DiffOptions{}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one.Bytes(), two.Bytes()) {
			t.Errorf("%s\nbecomes\n%s", strings.Join(tree(t, first), "\n"), strings.Join(tree(t, second), "\n"))
		}
	})
}

// FuzzApplyEntries makes entries of the bytes, so that they get past the checksums: three bytes
// choose type, name and target. The kernel's resolution and ours have to come to the same tree.
func FuzzApplyEntries(f *testing.F) {
	f.Add([]byte{2, 1, 5, 0, 6, 0, 3, 2, 1})
	f.Add([]byte{1, 1, 0, 0, 4, 0, 2, 1, 8, 4, 1, 0, 5, 3, 2})
	names := []string{"a", "b", "a/b", "b/a", "a/b/c", "..", "../victim", "/victim/file", "a/../b", ".", "b/../../victim/file", "b/c/d"}
	f.Fuzz(func(t *testing.T, ops []byte) {
		var entries []entry
		for ; len(ops) >= 3 && len(entries) < 30; ops = ops[3:] {
			name, target := names[int(ops[1])%len(names)], names[int(ops[2])%len(names)]
			parent, base := filepath.Split(name)
			switch ops[0] % 7 {
			case 0:
				entries = append(entries, file(name, string(ops[2:3])))
			case 1:
				entries = append(entries, dir(name, 0o755))
			case 2:
				entries = append(entries, symlink(name, target))
			case 3:
				entries = append(entries, hardlink(name, target))
			case 4:
				entries = append(entries, file(parent+".wh."+base, ""))
			case 5:
				entries = append(entries, file(name+"/.wh..wh..opq", ""))
			case 6:
				entries = append(entries, entry{tar.Header{Name: name, Typeflag: tar.TypeFifo, Mode: 0o600, ModTime: epoch}, ""})
			}
		}
		b := tarOf(t, entries...)
		trees := map[string]string{}
		for how, m := range modes() {
			_, root, unchanged := outside(t)
			err := m.run(t, root, b)
			unchanged()
			if err != nil && !errdefs.IsInvalid(err) {
				t.Errorf("%s: error without a class: %v", how, err)
			}
			if err == nil {
				trees[how] = strings.Join(tree(t, root), "\n")
			}
		}
		for _, how := range []string{"delete", "overlay"} {
			if trees[how] != trees[how+" without openat2"] {
				t.Errorf("%s:\n%s\nand without openat2:\n%s", how, trees[how], trees[how+" without openat2"])
			}
		}
	})
}
