package tasks

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "room" {
		fmt.Println(Room(40))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestRoom asks with and without room, by the limit of a user's processes.
func TestRoom(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: no other user, who has no processes yet, can be had")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[string]string{"30": "40 more processes and threads cannot be started: ulimit -u is 30", "100": "<nil>"} {
		// It is opened before the rights are given up, which would not find it.
		cmd := exec.Command("prlimit", "--nproc="+limit+":"+limit, "setpriv", "--reuid=64321", "--regid=64321", "--clear-groups", "/proc/self/fd/3", "room")
		if cmd.Err != nil {
			t.Skip(cmd.Err)
		}
		f, err := os.Open(self)
		if err != nil {
			t.Fatal(err)
		}
		cmd.ExtraFiles = []*os.File{f}
		out, err := cmd.CombinedOutput()
		f.Close()
		if err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("limit %s: %v: %s", limit, err, out)
		}
	}
}

func TestNested(t *testing.T) {
	for _, n := range []int{-1, 0, 1, 20} {
		if errno := nested(n); errno != 0 {
			t.Errorf("%d threads: %v", n, errno)
		}
	}
}

func TestExplain(t *testing.T) {
	for _, err := range []error{nil, errors.New("other"), unix.ENOMEM, errdefs.Limit("known: %w", unix.EAGAIN)} {
		if got := Explain(err); got != err { //nolint:errorlint // the same one
			t.Errorf("%v: %v", err, got)
		}
	}
	if got := Explain(unix.EAGAIN); !errors.Is(got, unix.EAGAIN) {
		t.Errorf("%v", got)
	}
	if err := Crashed("panic: other"); err != nil {
		t.Error(err)
	}
	if err := Crashed("runtime: failed to create new OS thread (have 2 already; errno=11)\n"); !errdefs.IsLimit(err) {
		t.Error(err)
	}
}

func TestGroups(t *testing.T) {
	for own, want := range map[string][]string{
		"0::/user.slice/a b\n":         {"/sys/fs/cgroup/user.slice/a b", "/sys/fs/cgroup/user.slice", "/sys/fs/cgroup"},
		"8:pids:/x\n3:cpu:/y\n0::/z\n": {"/sys/fs/cgroup/pids/x", "/sys/fs/cgroup/pids"},
		"0::/z\n8:pids:/\n":            {"/sys/fs/cgroup/pids"},
		"0::/../..\n":                  {"/sys/fs/cgroup"},
		"3:cpu:/y\n":                   nil,
		"x\n0:\n0::x\n":                nil,
		"":                             nil,
	} {
		if got := groups(own); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", own, got, want)
		}
	}
}

func TestNumber(t *testing.T) {
	for text, want := range map[string]uint64{"12\n": 12, "0": 0} {
		if got, ok := number(text); !ok || got != want {
			t.Errorf("%q: %d %t", text, got, ok)
		}
	}
	for _, text := range []string{"max\n", "", "-1"} {
		if _, ok := number(text); ok {
			t.Errorf("%q is a number", text)
		}
	}
}
