package archive_test

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/camada/camada/archive"
)

// rootless are tests that run again as root of a user namespace.
const rootless = "^TestRootless|^TestApplyHostile|^TestApplyDuplicates|^TestApplyDropsOverlayForms$"

// An ordinary user who is root of a user namespace with this one id.
func TestAsRootOfAUserNamespace(t *testing.T) {
	if os.Getenv("ARCHIVE_TEST_ROOTLESS") != "" {
		t.Skip("is the inner one")
	}
	dir := t.TempDir()
	const nobody = 65534
	cred := &syscall.Credential{Uid: nobody, Gid: nobody}
	owner := nobody
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	} else {
		cred, owner = nil, os.Geteuid()
	}
	for d := dir; d != "/"; d = filepath.Dir(d) { // the temporary directory is root's alone
		if st, err := os.Stat(d); err == nil && st.Mode().Perm()&0o001 == 0 && strings.HasPrefix(d, os.TempDir()+"/") {
			if err := os.Chmod(d, 0o711); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.CommandContext(t.Context(), selfCopy(t, dir), "-test.run", rootless, "-test.v")
	cmd.Env = append(os.Environ(), "ARCHIVE_TEST_ROOTLESS=1", "TMPDIR="+dir)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: owner, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: owner, Size: 1}},
	}
	if cred != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 0, Gid: 0, NoSetGroups: true}
	}
	out, err := cmd.CombinedOutput()
	if err != nil && strings.Contains(err.Error(), "operation not permitted") {
		t.Skipf("needs user namespaces: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := bytes.Count(out, []byte("--- PASS: TestRootless")); n != 2 {
		t.Errorf("%d tests passed inside:\n%s", n, out)
	}
}

// selfCopy is this program where the other user can run it.
func selfCopy(t *testing.T, dir string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "archive.test")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func inner(t *testing.T) {
	t.Helper()
	if os.Getenv("ARCHIVE_TEST_ROOTLESS") == "" {
		t.Skip("is run by TestAsRootOfAUserNamespace")
	}
}

// Owners that cannot be given are recorded, and come back in the layer.
func TestRootlessOwnersAreRecorded(t *testing.T) {
	inner(t)
	capability := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	given := func(h *tar.Header) { h.Uid, h.Gid = 33, 100000 }
	b := tarOf(t,
		dir("d", 0o750).with(given),
		file("d/f", "x").with(given),
		file("d/root", "x").with(func(h *tar.Header) { h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": capability} }),
		file("suid", "").with(given).with(func(h *tar.Header) { h.Mode = 0o4755 }),
	)
	base := t.TempDir()
	root := filepath.Join(base, "root")
	if _, err := apply(t, filepath.Join(base, "kept"), b, archive.ApplyOptions{}); err == nil {
		t.Error("a file was given to an id that is not there")
	}
	res := mustApply(t, root, b, archive.ApplyOptions{RecordOwner: true, Whiteouts: archive.WhiteoutOverlayUser})
	if len(res.Skipped) > 0 {
		t.Errorf("skipped %v", res.Skipped)
	}
	var got, want bytes.Buffer
	if err := archive.Pack(t.Context(), root, &got, archive.DiffOptions{RecordedOwner: true}); err != nil {
		t.Fatal(err)
	}
	w := archive.NewWriter(&want, archive.WriterOptions{})
	for _, e := range []archive.Entry{
		{Name: "d", Type: archive.TypeDir, Mode: 0o750, UID: 33, GID: 100000, ModTime: epoch},
		{Name: "d/f", Type: archive.TypeReg, Mode: 0o644, UID: 33, GID: 100000, ModTime: epoch, Size: 1},
		{Name: "d/root", Type: archive.TypeReg, Mode: 0o644, ModTime: epoch, Size: 1, Xattrs: map[string]string{"security.capability": capability}},
		{Name: "suid", Type: archive.TypeReg, Mode: 0o4755, UID: 33, GID: 100000, ModTime: epoch},
	} {
		if err := w.Add(e, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Errorf("the layer is not what root makes: %s\n%s", names(t, got.Bytes()), strings.Join(tree(t, root), "\n"))
	}
}

// Whiteouts work, devices are left out and counted, and an overlay shows the outcome.
func TestRootlessOverlay(t *testing.T) {
	inner(t)
	base := t.TempDir()
	lower, upper := filepath.Join(base, "l"), filepath.Join(base, "u")
	opts := archive.ApplyOptions{Whiteouts: archive.WhiteoutOverlayUser, RecordOwner: true}
	mustApply(t, lower, tarOf(t, file("gone", ""), dir("d", 0o755), file("d/gone", ""), file("kept", "")), opts)
	opts.Lower = []string{lower}
	res := mustApply(t, upper, tarOf(t, file(".wh.gone", ""), file("d/.wh..wh..opq", ""), file("d/new", ""), hardlink("again", "kept"),
		entry{tar.Header{Name: "null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3}, ""}), opts)
	if res.Skipped["device node"] != 1 {
		t.Errorf("skipped %v", res.Skipped)
	}
	merged := filepath.Join(base, "m")
	if err := os.Mkdir(merged, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("overlay", merged, "overlay", 0, "userxattr,lowerdir="+upper+":"+lower); err != nil {
		t.Skipf("needs overlayfs in user namespaces: %v", err)
	}
	defer syscall.Unmount(merged, 0) //nolint:errcheck // the namespace ends anyway
	var b bytes.Buffer
	if err := archive.Pack(t.Context(), merged, &b, archive.DiffOptions{Clamp: time.Unix(0, 0)}); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, b.Bytes()), "again d/ d/new kept"; got != want {
		t.Errorf("merged are %q, want %q", got, want)
	}
}
