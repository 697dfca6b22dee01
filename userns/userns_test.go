package userns

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestSubIDs(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       idRange
	}{
		{"by name", "other:1:70000\nme:100000:65536\n", idRange{100000, 65536}},
		{"by id", "1000:200000:65536\n", idRange{200000, 65536}},
		{"the largest", "me:100000:2000\nme:200000:65536\n1000:300000:3000\n", idRange{200000, 65536}},
		{"without a line end", "me:100000:65536", idRange{100000, 65536}},
		{"somebody else's", "other:100000:65536\n", idRange{}},
		{"too small", "me:100000:10\n", idRange{}},
		{"root's ids", "me:0:65536\n", idRange{}},
		{"no numbers", "me:x:y\nme:-5:65536\nme\nme:1:2:3\n\n# me\n", idRange{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "subuid")
			if err := os.WriteFile(file, []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			if got := subIDs(file, []string{"1000", "me"}); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
	if got := subIDs(filepath.Join(t.TempDir(), "none"), []string{"1000"}); got != (idRange{}) {
		t.Errorf("without a file: %+v", got)
	}
}

func TestOuterID(t *testing.T) {
	t.Setenv(EnvUID, "")
	if uid, gid := OuterID(); uid != os.Geteuid() || gid != os.Getegid() || Rootless() {
		t.Errorf("outside: %d %d, rootless %t", uid, gid, Rootless())
	}
	t.Setenv(EnvUID, "1000")
	t.Setenv(EnvGID, "1001")
	if uid, gid := OuterID(); uid != 1000 || gid != 1001 || !Rootless() {
		t.Errorf("inside: %d %d, rootless %t", uid, gid, Rootless())
	}
}

// TestTieToParent asks the kernel whether this process dies with its parent.
func TestTieToParent(t *testing.T) {
	runtime.LockOSThread() // the kernel keeps it by thread
	defer runtime.UnlockOSThread()
	defer unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0) //nolint:errcheck // it was zero
	for parent, want := range map[string]int32{"": 0, "x": 0, strconv.Itoa(os.Getpid()): 0, strconv.Itoa(os.Getppid()): int32(unix.SIGKILL)} {
		_ = unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0)
		t.Setenv(envParent, parent)
		TieToParent()
		var got int32
		if err := unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&got)), 0, 0, 0); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("parent %q: signal %d, want %d", parent, got, want)
		}
	}
}
