package test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// netSteps asks from inside of RUN steps what they can reach; two stages do so side by side. The server on port 7000 says who asks.
const netSteps = `FROM scratch AS base
COPY rootfs /
RUN ls /sys/class/net > /interfaces && wget -qO- http://outside.example:7000/ > /by-name && wget -qO- http://here:7000/ > /by-host
FROM base AS left
RUN ! wget -T 5 -qO- http://127.0.0.1:7000/ && wget -qO- http://198.51.100.1:7000/ && wget -qO- 'http://[2001:db8::1]:7000/'
FROM base AS right
RUN ! wget -T 5 -qO- http://127.0.0.1:7000/ && wget -qO- http://198.51.100.1:7000/ && ping -c 1 -W 5 198.51.100.1
FROM base
COPY --from=left /interfaces /left
COPY --from=right /interfaces /right
RUN --network=none ls /sys/class/net > /none && ! wget -T 5 -qO- http://198.51.100.1:7000/
RUN --network=host wget -qO- http://127.0.0.1:7000/ > /host
RUN touch /www
CMD ["cat", "/interfaces", "/left", "/right", "/none"]
`

// TestRootlessSteps looks at the networks of an ordinary user's RUN steps, with and without ranges of ids.
func TestRootlessSteps(t *testing.T) {
	asUser(t, place{subIDs: ranges, alone: true}, func(u *user) {
		outsideOf(u)
		ctx := u.context(filepath.Join(u.dir, "ctx"), "ctx", "Dockerfile", netSteps)
		build := []string{"build", "--no-cache", "-q", "--allow", "network.host", "--add-host", "here=host-gateway", "-t", "app", ctx}
		if r := u.run(build...); r.code != 0 || r.errors != "" {
			t.Fatal(r)
		}
		u.says("eth0\nlo\neth0\nlo\neth0\nlo\nlo", "run", "--rm", "--network", "none", "app")
		for name, want := range map[string]string{"/by-name": "for 198.51.100.1:", "/by-host": "for 198.51.100.1:", "/host": "for 127.0.0.1:"} {
			if got := u.camada("run", "--rm", "--network", "none", "app", "cat", name); !strings.HasPrefix(got, want) {
				t.Errorf("%s says %q, want %s", name, got, want)
			}
		}
		u.stepKilled()

		// Where no network can be made, it is the host's, and the user is told.
		plain := u.context(filepath.Join(u.dir, "ctx"), "plain", "Dockerfile", "FROM scratch\nCOPY rootfs /\nRUN id > /id\nRUN cat /id\n")
		want := u.camada("build", "--no-cache", "-q", "-t", "plain", plain)
		u.must(os.Chmod("/dev/net/tun", 0o600))
		onHost := u.context(filepath.Join(u.dir, "ctx"), "host", "Dockerfile", "FROM scratch\nCOPY rootfs /\nRUN wget -qO- http://127.0.0.1:7000/\nRUN wget -qO- http://127.0.0.1:7000/\n")
		r := u.run("build", "--no-cache", "-q", "-t", "host", onHost)
		if r.code != 0 || strings.Count(r.errors, "RUN steps have the host's network") != 1 || !strings.Contains(r.errors, "/dev/net/tun: permission denied") {
			t.Errorf("without /dev/net/tun: %v", r)
		}
		u.says(want, "build", "--no-cache", "-q", "-t", "plain", plain)
		if left := u.processes(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// stepKilled kills a build in a step that is connected. What is left of it bothers nobody, and gc takes it away.
func (u *user) stepKilled() {
	u.t.Helper()
	ctx := u.context(filepath.Join(u.dir, "ctx"), "killed", "Dockerfile", "FROM scratch\nCOPY rootfs /\nRUN wget -qO- http://198.51.100.1:7000/ && echo it is up && sleep 1000\n")
	cmd := u.command("build", "--progress", "plain", "-t", "killed", ctx)
	out, err := cmd.StderrPipe()
	u.must(err)
	cmd.Stdout = cmd.Stderr
	u.must(cmd.Start())
	var said []byte
	for buf := make([]byte, 1000); !bytes.Contains(said, []byte(" it is up\n")); {
		n, err := out.Read(buf)
		said = append(said, buf[:n]...)
		if err != nil {
			u.t.Fatalf("%v: %s", err, said)
		}
	}
	u.must(cmd.Process.Signal(unix.SIGKILL))
	_ = cmd.Wait()
	var left []string
	for range 250 {
		if left = u.processes(); len(left) == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if len(left) > 0 {
		u.t.Errorf("a killed build leaves %v", left)
	}
	u.camada("gc")
	if found, _ := filepath.Glob(filepath.Join(u.home, ".local/share/camada/tmp/*")); len(found) > 0 {
		u.t.Errorf("a killed build leaves %v", found)
	}
}

// TestRootlessBuildFewTasks builds as an ordinary user under low limits of his processes, RLIMIT_NPROC: it works, or the limit is named, and nothing is left.
func TestRootlessBuildFewTasks(t *testing.T) {
	asUser(t, place{subIDs: ranges, alone: true}, func(u *user) {
		outsideOf(u)
		u.env = append(u.env, "GOMAXPROCS=2") // more need more
		ctx := u.context(filepath.Join(u.dir, "ctx"), "ctx", "Dockerfile", netSteps)
		worked := 0
		for _, n := range []int{15, 20, 24, 26, 30, 60} {
			cmd := u.command("build", "--no-cache", "-q", "--allow", "network.host", "--add-host", "here=host-gateway", "-t", "app", ctx)
			cmd.Path, cmd.Args = "/usr/bin/prlimit", append([]string{"prlimit", fmt.Sprintf("--nproc=%d:%d", n, n), cmd.Path}, cmd.Args[1:]...)
			out, err := cmd.CombinedOutput()
			said := string(out)
			if err == nil {
				worked++
			} else if !strings.Contains(said, "camada: ") || !strings.Contains(said, fmt.Sprint("ulimit -u is ", n)) || strings.Contains(said, "goroutine ") {
				t.Errorf("with at most %d processes: %v\n%s", n, err, said)
			}
			t.Logf("with at most %d processes: %v", n, err)
		}
		if worked == 0 {
			t.Error("no limit was high enough")
		}
		u.camada("gc")
		u.camada("build", "-q", "--allow", "network.host", "--add-host", "here=host-gateway", "-t", "app", ctx)
		u.says("eth0\nlo\neth0\nlo\neth0\nlo\nlo", "run", "--rm", "--network", "none", "app")
	})
}
