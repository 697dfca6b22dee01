package archive_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// parents is an image of two layers, in the form of overlayfs and as one tree.
type parents struct {
	lower  []string // the topmost first
	native string
	layers [][]byte
}

func makeParents(t testing.TB, base string) parents {
	t.Helper()
	p := parents{native: filepath.Join(base, "native"), layers: [][]byte{
		tarOf(t,
			dir("etc", 0o755), file("etc/passwd", "root\n"), file("etc/group", "wheel\n"), file("etc/gone-below", "x"),
			symlink("lib", "usr/lib"), dir("usr", 0o755), dir("usr/lib", 0o750), file("usr/lib/a.so", "elf"), file("usr/lib/b.so", "elf b"),
			dir("opt", 0o755), dir("opt/tool", 0o755), file("opt/tool/one", "1"), file("opt/tool/two", "2"), dir("opt/tool/deep", 0o755), file("opt/tool/deep/three", "3"),
			file("linked", "l"), hardlink("linked-too", "linked"), file("single", "s"), dir("tmp", 0o1777), dir("empty", 0o755), dir("hidden", 0o755), file("hidden/old", "old"),
		),
		tarOf(t,
			file("etc/.wh.gone-below", ""), file("hidden/.wh..wh..opq", ""), file("hidden/new", "new"), file("second", "2nd"),
		),
	}}
	var lower []string
	for i, b := range p.layers {
		into := filepath.Join(base, "lower"+string(rune('0'+i)))
		mustApply(t, into, b, archive.ApplyOptions{Whiteouts: archive.WhiteoutOverlay, Lower: lower})
		lower = append([]string{into}, lower...)
		mustApply(t, p.native, b, archive.ApplyOptions{})
	}
	p.lower = lower
	return p
}

// readOnly mounts the parents without an upper directory.
func readOnly(t testing.TB, merged string, lower []string) {
	t.Helper()
	if err := os.MkdirAll(merged, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("overlay", merged, "overlay", 0, "lowerdir="+strings.Join(lower, ":")); err != nil {
		t.Skipf("needs overlayfs mounts: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(merged, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
}

// overlay mounts an overlay and returns the merged and the upper directory.
func overlay(t testing.TB, base string, lower []string) (merged, upper string) {
	t.Helper()
	merged, upper = filepath.Join(base, "merged"), filepath.Join(base, "upper")
	work := filepath.Join(base, "work")
	for _, d := range []string{merged, upper, work} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	data := "lowerdir=" + strings.Join(lower, ":") + ",upperdir=" + upper + ",workdir=" + work + ",redirect_dir=off,metacopy=off,index=off"
	if err := unix.Mount("overlay", merged, "overlay", 0, data); err != nil {
		t.Skipf("needs overlayfs mounts: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(merged, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			t.Errorf("unmount: %v", err)
		}
	})
	return merged, upper
}

// changes are what steps of a build do to a tree, as shell commands.
var changes = map[string]struct {
	script string
	want   string // the names in the layer
}{
	"nothing":                  {"true", ""},
	"new file":                 {"echo x > etc/new", "etc/ etc/new"},
	"new file in the root":     {"echo x > new", "new"},
	"changed file":             {"echo y >> etc/passwd", "etc/ etc/passwd"},
	"opened for writing only":  {": >> etc/passwd", ""},
	"mode":                     {"chmod 600 etc/passwd", "etc/ etc/passwd"},
	"owner":                    {"chown 7:8 usr/lib/a.so", "usr/ usr/lib/ usr/lib/a.so"},
	"touched":                  {"touch second", "second"},
	"touched and set back":     {"touch second; touch -d @1700000000 second", ""},
	"made and removed":         {"echo x > tmp/x; rm tmp/x", "tmp/"},
	"removed file":             {"rm etc/group", "etc/ etc/.wh.group"},
	"removed directory":        {"rm -r opt", ".wh.opt"},
	"removed and made again":   {"rm -r opt/tool; mkdir opt/tool; echo 1 > opt/tool/one", "opt/ opt/tool/ opt/tool/.wh.deep opt/tool/.wh.two opt/tool/one"},
	"removed for a file":       {"rm -r opt/tool; echo t > opt/tool", "opt/ opt/tool"},
	"a directory for a file":   {"rm single; mkdir single; echo x > single/x", "single/ single/x"},
	"moved directory":          {"mv opt/tool opt/moved 2>/dev/null || { cp -a opt/tool opt/moved; rm -r opt/tool; }", "opt/ opt/.wh.tool opt/moved/ opt/moved/deep/ opt/moved/deep/three opt/moved/one opt/moved/two"},
	"through a link":           {"echo x > lib/c.so", "usr/ usr/lib/ usr/lib/c.so"},
	"link instead of a file":   {"ln -sf passwd etc/group", "etc/ etc/group"},
	"new hard link to the new": {"echo x > tmp/b; ln tmp/b tmp/a", "tmp/ tmp/a tmp/b"},
	"new hard link to the old": {"ln single tmp/again", "single tmp/ tmp/again"},
	"moved file":               {"mv single moved", ".wh.single moved"},
	"root's mode":              {"chmod 700 .", "./"},
	"xattr":                    {"attr user.k v second", "second"},
	"new tree":                 {"mkdir -p a/b/c; mkfifo a/p; mknod a/n c 1 3; ln -s x a/s", "a/ a/b/ a/b/c/ a/n a/p a/s"},
	"socket":                   {"python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"tmp/sock\")'", "tmp/"},
	"opaque and changed":       {"rm -r hidden/new; echo y > hidden/newer", "hidden/ hidden/.wh.new hidden/newer"},
	"swapped directories":      {"rm -r opt/tool/deep; cp -a usr/lib opt/tool/deep", "opt/ opt/tool/ opt/tool/deep/ opt/tool/deep/.wh.three opt/tool/deep/a.so opt/tool/deep/b.so"},
}

func names(t testing.TB, b []byte) string {
	t.Helper()
	var all []string
	tr := tar.NewReader(bytes.NewReader(b))
	for {
		hdr, err := tr.Next()
		if err == io.EOF {
			return strings.Join(all, " ")
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, hdr.Name)
	}
}

// The same change gives the same layer over an overlay, which is compared with what its parents
// are known to hold, and over a copy; and the layer does to the parents what the change did.
func TestDiffIsTheSameForOverlayAndNative(t *testing.T) {
	needRoot(t)
	for name, c := range changes {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			p := makeParents(t, base)
			merged, upper := overlay(t, base, p.lower)
			native := filepath.Join(base, "copy")
			shell(t, base, "cp -a native copy")
			since := afterTick(t, base)
			shell(t, merged, c.script)
			shell(t, native, c.script)

			clamp := epoch.Add(time.Hour)
			var over, nat, full bytes.Buffer
			opts := archive.DiffOptions{Clamp: clamp, Lower: p.lower}
			if err := archive.Diff(t.Context(), upper, &over, opts); err != nil {
				t.Fatal(err)
			}
			if got := names(t, over.Bytes()); got != c.want {
				t.Errorf("the layer is %q, want %q", got, c.want)
			}
			if err := archive.DiffTrees(t.Context(), p.native, native, &full, archive.DiffOptions{Clamp: clamp}); err != nil {
				t.Fatal(err)
			}
			if err := archive.DiffTrees(t.Context(), p.native, native, &nat, archive.DiffOptions{Clamp: clamp, Since: since}); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(full.Bytes(), over.Bytes()) {
				t.Errorf("from trees it is %q", names(t, full.Bytes()))
			}
			if !bytes.Equal(nat.Bytes(), over.Bytes()) {
				t.Errorf("from trees with a time it is %q", names(t, nat.Bytes()))
			}
			roundTrip(t, base, p, over.Bytes(), native, clamp)
		})
	}
}

// roundTrip applies a layer to the parents in both forms and compares the outcome with the tree
// that it was made from.
func roundTrip(t *testing.T, base string, p parents, layer []byte, want string, clamp time.Time) {
	t.Helper()
	var wanted bytes.Buffer
	if err := archive.Pack(t.Context(), want, &wanted, archive.DiffOptions{Clamp: clamp}); err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(base, "again")
	for _, l := range p.layers {
		mustApply(t, again, l, archive.ApplyOptions{})
	}
	mustApply(t, again, layer, archive.ApplyOptions{})
	top := filepath.Join(base, "top")
	mustApply(t, top, layer, archive.ApplyOptions{Whiteouts: archive.WhiteoutOverlay, Lower: p.lower})
	merged := filepath.Join(base, "second")
	readOnly(t, merged, append([]string{top}, p.lower...))
	for form, dir := range map[string]string{"native": again, "overlay": merged} {
		var got bytes.Buffer
		if err := archive.Pack(t.Context(), dir, &got, archive.DiffOptions{Clamp: clamp}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), wanted.Bytes()) {
			t.Errorf("applied as %s:\n  %s\nwant\n  %s", form, strings.Join(tree(t, dir), "\n  "), strings.Join(tree(t, want), "\n  "))
		}
	}
}

// shell runs a script in a directory, with "attr NAME VALUE FILE", which this program
// is when it is called so: see TestMain.
func shell(t testing.TB, dir, script string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-ec", "umask 022; attr() { ARCHIVE_TEST_ATTR=1 '"+self+"' \"$@\"; }; "+script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		if strings.Contains(string(out), "not found") {
			t.Skipf("%s: %s", script, out)
		}
		t.Fatalf("%s: %v: %s", script, err, out)
	}
}

func TestMain(m *testing.M) {
	if os.Getenv("ARCHIVE_TEST_ATTR") != "" {
		if err := unix.Setxattr(os.Args[3], os.Args[1], []byte(os.Args[2]), 0); err != nil {
			fmt.Fprintln(os.Stderr, "set attribute:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// afterTick returns a time of the file system's clock after all that was done before.
func afterTick(t testing.TB, dir string) time.Time {
	t.Helper()
	path := filepath.Join(dir, "tick")
	stamp := func() time.Time {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		return time.Unix(st.Ctim.Unix())
	}
	first := stamp()
	for {
		if now := stamp(); now.After(first) {
			return now
		}
	}
}

// Without knowledge of the parents the upper directory is taken as it stands.
func TestDiffWithoutParents(t *testing.T) {
	needRoot(t)
	base := t.TempDir()
	p := makeParents(t, base)
	merged, upper := overlay(t, base, p.lower)
	shell(t, merged, "rm etc/group; : >> etc/passwd; rm -r opt/tool; mkdir opt/tool; echo 4 > opt/tool/four")
	var b bytes.Buffer
	if err := archive.Diff(t.Context(), upper, &b, archive.DiffOptions{Clamp: epoch}); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, b.Bytes()), "etc/ etc/.wh.group etc/passwd opt/ opt/tool/ opt/tool/.wh..wh..opq opt/tool/four"; got != want {
		t.Errorf("the layer is %q, want %q", got, want)
	}
}

func TestDiffExclude(t *testing.T) {
	needRoot(t)
	base := t.TempDir()
	p := makeParents(t, base)
	merged, upper := overlay(t, base, p.lower)
	shell(t, merged, "mkdir proc; : > etc/hosts; : > etc/resolv.conf; echo x > tmp/x")
	opts := archive.DiffOptions{Lower: p.lower, Exclude: []string{"proc", "/etc/hosts", "etc/resolv.conf"}}
	var b bytes.Buffer
	if err := archive.Diff(t.Context(), upper, &b, opts); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, b.Bytes()), "tmp/ tmp/x"; got != want {
		t.Errorf("the layer is %q, want %q", got, want)
	}
}

func TestDiffRefuses(t *testing.T) {
	needRoot(t)
	for name, script := range map[string]string{
		"redirect":   "mkdir d; attr trusted.overlay.redirect /x d",
		"metacopy":   "echo x > f; attr user.overlay.metacopy 1 f",
		".wh. names": "echo x > .wh.f",
	} {
		upper := t.TempDir()
		shell(t, upper, script)
		if err := archive.Diff(t.Context(), upper, io.Discard, archive.DiffOptions{}); !errdefs.IsUnsupported(err) {
			t.Errorf("%s: %v, want unsupported", name, err)
		}
	}
}

// Attributes of overlayfs and of the recording of owners never get into a layer.
func TestDiffStrips(t *testing.T) {
	needRoot(t)
	upper := t.TempDir()
	shell(t, upper, `echo x > f; mkdir d
		for f in f d; do attr trusted.overlay.origin 0 $f; attr user.overlay.impure y $f
		attr user.camada.owner 12:34 $f; attr user.keep 1 $f; done`)
	for recorded, owner := range map[bool]int{false: 0, true: 12} {
		var b bytes.Buffer
		if err := archive.Diff(t.Context(), upper, &b, archive.DiffOptions{RecordedOwner: recorded}); err != nil {
			t.Fatal(err)
		}
		tr := tar.NewReader(&b)
		for range 2 {
			hdr, err := tr.Next()
			if err != nil {
				t.Fatal(err)
			}
			attrs := 0
			for k := range hdr.PAXRecords {
				if strings.HasPrefix(k, "SCHILY.xattr.") {
					attrs++
				}
			}
			if hdr.Uid != owner || attrs != 1 || hdr.PAXRecords["SCHILY.xattr.user.keep"] != "1" {
				t.Errorf("recorded %v: %s is %d with %v", recorded, hdr.Name, hdr.Uid, hdr.PAXRecords)
			}
		}
	}
}
