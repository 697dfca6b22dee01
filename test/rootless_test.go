package test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// userStages is a Dockerfile for users with ranges of ids; plainStages one that does with one id.
const (
	userStages = `FROM scratch AS base
COPY rootfs /
RUN mkdir /data && chown app:app /data && touch /data/a && chown 33:44 /data/a && rm /bin/seq

FROM base AS second
COPY --chown=app:extra text /home/app/text
RUN chmod 600 /home/app/text && ln /home/app/text /home/app/link && chown app /home/app
USER app
RUN id -u > /home/app/id

FROM base
COPY --from=second /home /home
COPY --from=second /home/app/id /data/
USER app
WORKDIR /home/app/work
CMD ["cat", "/home/app/text", "/data/id"]
`
	plainStages = `FROM scratch AS base
COPY rootfs /
RUN mkdir -p /data/x && rm /bin/seq && rm -r /root && mkdir /root

FROM base
COPY --chown=app:extra text /home/app/text
RUN chmod 644 /home/app/text && mv /home/app/text /home/app/other
COPY --from=base --chown=33 /data /data
`
)

// TestRootless is the life of images and containers of an ordinary user with ranges of ids.
func TestRootless(t *testing.T) {
	asUser(t, place{subIDs: ranges}, func(u *user) {
		ctx := u.context(filepath.Join(u.dir, "ctx"), "ctx", "Dockerfile", userStages, "text", "text\n")
		u.camada("build", "-q", "-t", "app", ctx)
		u.says("text\n1000", "run", "--rm", "--network", "none", "app")
		u.says("0", "run", "--rm", "--network", "host", "-u", "root", "app", "id", "-u")
		u.says("33 44\n1000 2000", "run", "--rm", "--network", "none", "-u", "0", "app", "stat", "-c", "%u %g", "/data/a", "/home/app/text")
		if info := u.camada("info"); !strings.Contains(info, "rootless, 65537 ids") || !strings.Contains(info, "overlay") {
			t.Errorf("info:\n%s", info)
		}
		u.refused(125, []string{"memory limits: ", "systemd-run --user"}, "run", "--rm", "--network", "none", "-m", "64m", "app")
		u.refused(125, []string{"user 65537 does not exist in this user namespace", "/etc/subuid"}, "run", "--rm", "--network", "none", "-u", "65537", "app")
		u.background()
		u.archives()
		u.killed()
		u.interrupted()
		u.says("text\n1000", "--storage-driver", "native", "--root", filepath.Join(u.home, "native"), "run", "--rm", "--network", "none", u.native())
		u.camada("--root", filepath.Join(u.home, "native"), "system", "reset", "-f")
		u.camada("run", "-d", "--network", "none", "-u", "33", "app", "sleep", "100") // reset ends it
	})
}

// background is the life of containers that nobody waits for.
func (u *user) background() {
	u.t.Helper()
	const loop = `trap "echo bye; exit 3" TERM; echo hello; while :; do sleep 0.05; done`
	u.camada("run", "-d", "--name", "one", "--network", "none", "app", "sh", "-c", loop)
	u.says("1000", "exec", "one", "id", "-u")
	u.says("0", "exec", "-u", "0", "one", "id", "-u")
	u.camada("exec", "-u", "0", "one", "touch", "/of-root")
	u.says("one", "ps", "--format", "{{.Names}}")
	u.refused(1, []string{"one is running"}, "rm", "one")
	u.says("one", "stop", "-t", "10", "one")
	u.says("3", "wait", "one")
	u.says("hello\nbye", "logs", "one")
	tar := filepath.Join(u.dir, "one.tar")
	out, err := os.Create(tar)
	u.must(err)
	cmd := u.command("export", "one")
	cmd.Stdout = out
	u.must(cmd.Run())
	u.must(out.Close())
	if list, err := exec.Command("tar", "-tf", tar, "of-root").CombinedOutput(); err != nil {
		u.t.Errorf("export: %v: %s", err, list)
	}
	u.camada("import", tar, "imported")
	u.says("33 44", "run", "--rm", "--network", "none", "imported", "stat", "-c", "%u %g", "/data/a")
	u.says("one", "rm", "one")
	u.camada("run", "-d", "--name", "two", "--network", "none", "-u", "33", "app", "sleep", "100")
	u.says("two", "kill", "two")
	u.says("137", "wait", "two")
	u.says("two", "rm", "-f", "two")
	u.camada("run", "-d", "--name", "three", "--network", "none", "-u", "33", "app", "sleep", "100")
	u.says("three", "rm", "-f", "three")
	u.says("", "ps", "-aq")
}

// archives are images that leave the store and come back, and what keeps it clean.
func (u *user) archives() {
	u.t.Helper()
	id := u.camada("images", "-q", "--no-trunc", "app")
	u.camada("save", "-o", "app.tar", "app")
	u.camada("rmi", "app", "imported")
	u.says("", "images", "-q")
	u.camada("gc", "--keep", "0s", "--keep-entries", "0", "--cache-keep", "0s")
	u.says("", "images", "-q")
	u.camada("load", "-i", "app.tar")
	u.says(id, "images", "-q", "--no-trunc", "app")
	u.says("text\n1000", "run", "--rm", "--network", "none", "app")
	if out := u.camada("fsck"); !strings.Contains(out, "no problems") {
		u.t.Error(out)
	}
	if out := u.camada("df"); !strings.Contains(out, "Images") {
		u.t.Error(out)
	}
}

// killed kills the process that the user started: all of it has to go.
func (u *user) killed() {
	u.t.Helper()
	cmd := u.command("run", "--rm", "--network", "none", "app", "sh", "-c", "echo up; exec sleep 100")
	out, err := cmd.StdoutPipe()
	u.must(err)
	u.must(cmd.Start())
	_, err = out.Read(make([]byte, 3))
	u.must(err)
	u.must(cmd.Process.Kill())
	_ = cmd.Wait()
	var left []string
	for range 250 {
		if left = u.processes(); len(left) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	u.t.Errorf("a killed run leaves:\n%s", strings.Join(left, "\n"))
}

// interrupted presses ^C at a terminal, again and again: the container gets each signal once.
func (u *user) interrupted() {
	u.t.Helper()
	master, slave, err := terminal()
	u.must(err)
	defer master.Close()
	cmd := u.command("run", "--rm", "--network", "none", "app", "sh", "-c",
		`n=0; trap 'n=$((n+1)); echo got $n.' INT; trap 'echo "signals: $n."; exit 0' QUIT; sleep 100 & echo got 0.; while :; do wait; done`)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	u.must(cmd.Start())
	slave.Close()
	const times, interrupt, quit = 20, 3, 28
	var said []byte
	buf := make([]byte, 1000)
	for pressed := 0; pressed <= times; {
		n, err := master.Read(buf)
		said = append(said, buf[:n]...)
		if err != nil { // the terminal hung up
			break
		}
		if bytes.Contains(said, fmt.Appendf(nil, "got %d.", pressed)) {
			key := byte(interrupt)
			if pressed++; pressed > times {
				key = quit
			}
			_, err = master.Write([]byte{key})
			u.must(err)
		}
	}
	rest, _ := io.ReadAll(master) // it ends with an error when the terminal hangs up
	said = append(said, rest...)
	if err := cmd.Wait(); err != nil || !bytes.Contains(said, fmt.Appendf(nil, "signals: %d.", times)) {
		u.t.Errorf("after %d times ^C: %v\n%s", times, err, said)
	}
}

// terminal makes a new one.
func terminal() (master, slave *os.File, err error) {
	if master, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0); err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
	}
	return master, slave, err
}

// native loads the saved image into a store without overlays.
func (u *user) native() string {
	u.t.Helper()
	u.camada("--storage-driver", "native", "--root", filepath.Join(u.home, "native"), "load", "-i", "app.tar")
	return "app"
}

// TestRootlessBridge connects containers without root, by pasta.
func TestRootlessBridge(t *testing.T) {
	asUser(t, place{subIDs: ranges}, func(u *user) {
		ctx := u.context(filepath.Join(u.dir, "ctx"), "ctx", "Dockerfile", "FROM scratch\nCOPY rootfs /\nRUN mkdir /www && echo served > /www/index.html\n")
		u.camada("build", "-q", "-t", "app", ctx)
		path := u.env
		for _, helper := range []string{"pasta"} {
			if _, err := exec.LookPath(helper); err != nil {
				t.Skipf("no %s: install passt", helper)
			}
			u.must(os.Chmod("/dev/net/tun", 0o600))
			u.env = append(append([]string{}, path...), "PATH="+u.only("newuidmap", "newgidmap", helper))
			u.refused(125, []string{"/dev/net/tun: permission denied", "chmod 666", "--network host"}, "run", "--rm", "app", "true")
			u.must(os.Chmod("/dev/net/tun", 0o666))
			if out := u.camada("run", "--rm", "app", "ls", "/sys/class/net"); out != "eth0\nlo" {
				t.Errorf("%s: interfaces %q", helper, out)
			}
			for range 2 { // the port is free again at once
				u.camada("run", "-d", "--name", "web", "-p", "127.0.0.1:18963:80", "-p", "18964:80", "app", "httpd", "-f", "-h", "/www")
				u.served("http://127.0.0.1:18963/")
				u.served("http://127.0.0.1:18964/")
				u.camada("network", "create", "mine")
				u.refused(1, []string{"its network is that of pasta, which connects to nothing else; start it with --network"}, "network", "connect", "mine", "web")
				u.refused(1, []string{"its network is that of pasta"}, "network", "disconnect", "bridge", "web")
				u.says("served", "exec", "web", "cat", "/www/index.html")
				u.camada("network", "rm", "mine")
				u.camada("rm", "-f", "web")
			}
			if left := u.processes(); len(left) > 0 {
				t.Errorf("%s is left: %v", helper, left)
			}
		}
	})
}

// only makes a directory of links to some programs.
func (u *user) only(names ...string) string {
	u.t.Helper()
	dir := open(u.t, u.t.TempDir())
	for _, n := range names {
		p, err := exec.LookPath(n)
		u.must(err)
		u.must(os.Symlink(p, filepath.Join(dir, n)))
	}
	return dir
}

// served waits until the server answers.
func (u *user) served(url string) {
	u.t.Helper()
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var err error
	for range 100 {
		var r *http.Response
		if r, err = client.Get(url); err == nil {
			r.Body.Close()
			if r.StatusCode != http.StatusOK {
				u.t.Errorf("%s: %s", url, r.Status)
			}
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	u.t.Errorf("%s does not answer: %v\n%s", url, err, u.camada("logs", "web"))
}

// TestRootlessOneID is what a user can do whom nobody granted ranges.
func TestRootlessOneID(t *testing.T) {
	asUser(t, place{}, func(u *user) {
		ctx := u.context(filepath.Join(u.dir, "ctx"), "ctx", "Dockerfile", plainStages, "text", "text\n")
		u.camada("build", "-q", "-t", "app", ctx)
		u.says("text", "run", "--rm", "--network", "none", "app", "cat", "/home/app/other")
		u.says("0", "run", "--rm", "--network", "host", "app", "id", "-u")
		u.refused(125, []string{"user 1000 does not exist in this user namespace", "newuidmap"}, "run", "--rm", "--network", "none", "-u", "app", "app", "true")
		u.refused(1, []string{"one id", "--variant distroless"}, "base", "debian")
		if info := u.camada("info"); !strings.Contains(info, "rootless, 1 id (no ranges in /etc/subuid") {
			t.Errorf("info:\n%s", info)
		}
		u.camada("run", "-d", "--name", "one", "--network", "none", "app", "sleep", "100")
		u.says("0", "exec", "one", "id", "-u")
		u.refused(126, []string{"user 33 does not exist"}, "exec", "-u", "33", "one", "true")
		u.camada("rm", "-f", "one")
		if out := u.camada("fsck"); !strings.Contains(out, "no problems") {
			t.Error(out)
		}
	})
}

// TestSameDigests builds as root, as a user with ranges and, from the next test on, with one id: in other directories,
// at other times, without caches, the images are the same to the bit.
func TestSameDigests(t *testing.T) {
	asUser(t, place{subIDs: ranges, alone: true}, func(u *user) {
		r := u.root()
		for name, source := range map[string]string{"app": userStages, "plain": plainStages} {
			mine := u.context(filepath.Join(u.dir, "ctx"), name, "Dockerfile", source, "text", "text\n")
			roots := r.context(filepath.Join(u.dir, "ctx"), name+"-of-root", "Dockerfile", source, "text", "text\n")
			want := r.camada("build", "--no-cache", "-q", "-t", name, roots)
			u.says(want, "build", "--no-cache", "-q", "-t", name, mine)
		}
		r.camada("system", "reset", "-f")
	})
}

// TestSameDigestsOneID is TestSameDigests for a user without ranges.
func TestSameDigestsOneID(t *testing.T) {
	asUser(t, place{alone: true}, func(u *user) {
		r := u.root()
		mine := u.context(filepath.Join(u.dir, "ctx"), "app", "Dockerfile", plainStages, "text", "text\n")
		roots := r.context(filepath.Join(u.dir, "ctx"), "of-root", "Dockerfile", plainStages, "text", "text\n")
		want := r.camada("build", "--no-cache", "-q", "-t", "app", roots)
		u.says(want, "build", "--no-cache", "-q", "-t", "app", mine)
		r.camada("system", "reset", "-f")
	})
}

// TestSameBases makes base images and the example as root and as a user.
func TestSameBases(t *testing.T) {
	if testing.Short() {
		t.Skip("short: uses the network")
	}
	asUser(t, place{subIDs: ranges}, func(u *user) {
		r := u.root()
		bases := [][]string{{"base", "debian", "--variant", "distroless", "--include", "libc6", "-t", "demo/distroless"}}
		if long() {
			bases = append(bases, []string{"base", "debian", "--include", "tcc,libc6-dev", "-t", "demo/debian"})
		}
		for _, b := range bases {
			if of := r.run(b...); of.code != 0 {
				t.Skipf("the archive is out of reach: %v", of)
			}
			u.camada(b...)
		}
		if long() {
			ctx := u.context("../examples/web", "web")
			want := r.camada("build", "--no-cache", "-q", "-t", "demo/web", r.context("../examples/web", "web"))
			u.says(want, "build", "--no-cache", "-q", "-t", "demo/web", ctx)
		} else {
			t.Log("not tested: minbase and the example, which take a minute; set CAMADA_TEST_LONG=1")
		}
		const show = "{{.Repository}} {{.ID}} {{.Digest}}"
		u.says(r.camada("images", "--no-trunc", "--format", show), "images", "--no-trunc", "--format", show)
		r.camada("system", "reset", "-f")
	})
}
