package test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// forUser is set in the tests that run where there is an ordinary user; it is the directory of camada.
const forUser = "CAMADA_TEST_USER"

// The ordinary user. He is nobody's but the test's: /etc/passwd and the like are other files there.
const (
	userID   = 12345
	userName = "camada-test"
	ranges   = userName + ":700000:65536\n"
)

// user is an ordinary user in a mount and a PID namespace of the test's own, so that users, mounts and processes
// end with it, however it ends.
type user struct {
	t *testing.T
	// dir is the test's, home and temp the user's.
	dir, home, temp string
	env             []string
	id              uint32
	mounts          []string
}

// place is where a user lives.
type place struct {
	// subIDs is what /etc/subuid and /etc/subgid say there.
	subIDs string
	// alone is without a network, so that root can make one of his own.
	alone bool
}

// asUser runs fn where there is an ordinary user: this test again, as a child in new namespaces.
func asUser(t *testing.T, where place, fn func(u *user)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: a user and ranges of ids for him cannot be made")
	}
	if _, err := exec.LookPath("newuidmap"); err != nil {
		t.Skip("no newuidmap: install uidmap")
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("no busybox: install busybox-static")
	}
	if os.Getenv(forUser) == "" {
		againForUser(t, where)
		return
	}
	u := &user{t: t, dir: open(t, t.TempDir()), id: userID}
	u.home, u.temp = filepath.Join(u.dir, "home"), filepath.Join(u.dir, "tmp")
	for _, d := range []string{u.home, u.temp} {
		u.must(os.Mkdir(d, 0o700)) // nobody else may look in, not even the other ids of the ranges
		u.must(os.Chown(d, userID, userID))
	}
	u.must(rootfs(filepath.Join(u.dir, "ctx/rootfs"), busybox))
	u.env = append(os.Environ(), "HOME="+u.home, "TMPDIR="+u.temp, "NO_COLOR=1", "XDG_DATA_HOME=", "XDG_RUNTIME_DIR=", "CAMADA_ROOT=",
		"PATH="+os.Getenv(forUser)+":"+os.Getenv("PATH"))
	u.mounts = mountinfo(t)
	fn(u)
	u.gone()
}

// open lets everybody through to a directory that testing made. The one above can be the machine's, which keeps the rights that it has.
func open(t *testing.T, dir string) string {
	t.Helper()
	for _, d := range []string{filepath.Dir(dir), dir} {
		info, err := os.Stat(d)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode(); mode&0o055 != 0o055 {
			if err := os.Chmod(d, mode|0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// againForUser runs this test in a child, which sees other files in /etc.
func againForUser(t *testing.T, where place) {
	t.Helper()
	bin, etc := open(t, filepath.Dir(shipped(t))), t.TempDir()
	for name, add := range map[string]string{
		"passwd": fmt.Sprintf("%s:x:%d:%d::/nonexistent:/bin/sh\n", userName, userID, userID),
		"group":  fmt.Sprintf("%s:x:%d:\n", userName, userID),
		"subuid": "", "subgid": "",
	} {
		text, err := os.ReadFile("/etc/" + name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if add == "" {
			text, add = nil, where.subIDs
		}
		if err := os.WriteFile(filepath.Join(etc, name), append(text, add...), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const first = `set -e; mount -t proc proc /proc; mkdir -p /dev/net; mount -t tmpfs -o mode=755 net /dev/net
mknod -m 600 /dev/net/tun c 10 200
for f in passwd group subuid subgid; do test -e /etc/$f || touch /etc/$f; mount --bind "$0/$f" /etc/$f; done
set +e; "$@"; exit $?`
	namespaces, script := []string{"--mount", "--pid"}, first
	if where.alone {
		namespaces, script = append(namespaces, "--net"), "mount -t tmpfs -o mode=755 run /run; "+first
	}
	args := append(namespaces, "--fork", "--kill-child", "sh", "-c", script, etc,
		os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1", "-test.timeout=25m")
	cmd := exec.Command("unshare", args...)
	cmd.Env = append(os.Environ(), forUser+"="+bin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Fatalf("as a user: %v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("as a user:\n%s", out)
	}
	t.Logf("as a user:\n%s", out)
}

// root is the same place as root sees it, with a home of root's own.
func (u *user) root() *user {
	r := *u
	r.id, r.home = 0, filepath.Join(u.dir, "root")
	u.must(os.MkdirAll(r.home, 0o700))
	r.env = append(append([]string{}, u.env...), "HOME="+r.home, "CAMADA_ROOT="+filepath.Join(r.home, "store"), "TMPDIR="+r.home)
	return &r
}

func (u *user) must(err error) {
	u.t.Helper()
	if err != nil {
		u.t.Fatal(err)
	}
}

func (u *user) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(os.Getenv(forUser), "camada"), args...)
	cmd.Dir, cmd.Env = u.home, u.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: u.id, Gid: u.id}}
	cmd.WaitDelay = 20 * time.Second
	return cmd
}

// run runs camada as the user, whatever comes of it.
func (u *user) run(args ...string) result {
	var out, errs bytes.Buffer
	cmd := u.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil || errors.Is(err, exec.ErrWaitDelay) {
		u.t.Fatalf("camada %s: %v\n%s%s", strings.Join(args, " "), err, &out, &errs)
	}
	return result{args: args, out: out.String(), errors: errs.String(), code: cmd.ProcessState.ExitCode()}
}

// camada runs camada, which must succeed, and returns its standard output without line end.
func (u *user) camada(args ...string) string {
	u.t.Helper()
	r := u.run(args...)
	if r.code != 0 {
		u.t.Fatal(r)
	}
	return strings.TrimSpace(r.out)
}

// says checks what camada writes to standard output.
func (u *user) says(want string, args ...string) {
	u.t.Helper()
	if got := u.camada(args...); got != want {
		u.t.Errorf("camada %s: says %q, want %q", strings.Join(args, " "), got, want)
	}
}

// refused checks that camada fails with an exit code and words that say why.
func (u *user) refused(code int, words []string, args ...string) {
	u.t.Helper()
	r := u.run(args...)
	if r.code != code {
		u.t.Errorf("%v, want exit code %d", r, code)
	}
	for _, w := range words {
		if !strings.Contains(r.errors, w) {
			u.t.Errorf("%v\nwant it to say %q", r, w)
		}
	}
}

// context makes a copy of a build context that belongs to the user, has other times, and lies elsewhere.
func (u *user) context(source, name string, files ...string) string {
	u.t.Helper()
	dir := filepath.Join(u.home, name)
	out, err := exec.Command("cp", "-r", source, dir).CombinedOutput()
	if err != nil {
		u.t.Fatalf("%v\n%s", err, out)
	}
	for i := 0; i < len(files); i += 2 {
		u.must(os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o644))
	}
	when := time.Date(2000+int(u.id%20), 2, 3, 4, 5, 6, 7, time.UTC)
	u.must(filepath.Walk(dir, func(name string, info os.FileInfo, err error) error {
		if err == nil && info.Mode()&os.ModeSymlink == 0 {
			err = os.Chtimes(name, when, when)
		}
		return errors.Join(err, os.Lchown(name, int(u.id), int(u.id)))
	}))
	return dir
}

func mountinfo(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// gone checks that a reset leaves nothing of the user: no process, no mount, no file.
func (u *user) gone() {
	u.t.Helper()
	if u.t.Failed() {
		return
	}
	u.camada("system", "reset", "-f")
	var left []string
	for range 250 {
		if left = u.processes(); len(left) == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	for _, m := range mountinfo(u.t) {
		if !slices.Contains(u.mounts, m) {
			left = append(left, "mount: "+m)
		}
	}
	for _, dir := range []string{u.temp, filepath.Join(u.home, ".local/share/camada")} {
		entries, err := os.ReadDir(dir)
		u.must(err)
		for _, e := range entries {
			left = append(left, filepath.Join(dir, e.Name()))
		}
	}
	if len(left) > 0 {
		u.t.Errorf("after a reset there is left:\n%s", strings.Join(left, "\n"))
	}
}

// processes are all but the shell that is the first one and this test.
func (u *user) processes() (list []string) {
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	u.must(err)
	for _, n := range names {
		if n == "/proc/1/cmdline" || n == fmt.Sprintf("/proc/%d/cmdline", os.Getpid()) {
			continue
		}
		if b, err := os.ReadFile(n); err == nil && len(b) > 0 { // an empty one is a zombie's
			list = append(list, n+": "+strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return list
}
