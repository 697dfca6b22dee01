package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestUserStress starts and ends containers of an ordinary user in a row and at once, and executes programs in one. A container that runs all the
// time is the witness: afterwards all is what it was before, and so is the process that looks after it. Then there is no room for processes.
func TestUserStress(t *testing.T) {
	asUser(t, place{subIDs: ranges, alone: true}, func(u *user) {
		outsideOf(u)
		u.camada("build", "-q", "-t", "app", u.context(filepath.Join(u.dir, "ctx"), "ctx", "Dockerfile", netDockerfile+"RUN mkdir /data && echo data > /data/file\nVOLUME /data\n"))
		s := &userStress{u: u}
		s.begin()
		began := time.Now()
		n := bySize(8, 300)
		s.inARow(n)
		t.Logf("%d containers in a row: %v", n, time.Since(began))
		s.compare("after containers in a row")

		began = time.Now()
		n = bySize(8, 1000)
		s.executed(n)
		t.Logf("%d programs executed: %v", n, time.Since(began))
		s.compare("after programs were executed")

		n = bySize(4, 30)
		s.atOnce(n)
		s.compare("after containers at once")
		s.fewTasks()
		s.compare("after limits of processes")
		u.says("0 true healthy", "inspect", "--format", "{{.RestartCount}} {{.State.Running}} {{.State.Health.Status}}", "witness")
		u.camada("rm", "-f", "-v", "witness")
		u.camada("network", "rm", "own")
		if left := u.processes(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// userStress is an ordinary user with the witness.
type userStress struct {
	u *user
	// keeper is the process that looks after the witness.
	keeper int
	before inventory
}

// begin starts the witness, and does all once so that what stays for good is there.
func (s *userStress) begin() {
	u := s.u
	u.t.Helper()
	u.camada("network", "create", "own")
	u.camada("run", "-d", "--name", "witness", "--network", "own", "-p", "127.0.0.1::80", "-v", "kept:/kept", "--restart", "unless-stopped",
		"--health-cmd", "true", "--health-interval", "4s", "app", "sleep", "100000")
	id := u.camada("inspect", "--format", "{{.ID}}", "witness")
	b, err := os.ReadFile(filepath.Join(u.home, ".local/share/camada/containers", id, "state.json"))
	u.must(err)
	_, rest, _ := strings.Cut(string(b), `"keeper":`)
	_, err = fmt.Sscan(strings.SplitN(rest, ",", 2)[0], &s.keeper)
	u.must(err)
	s.inARow(len(s.kinds("")))
	s.executed(4)
	if u.t.Failed() {
		u.t.FailNow()
	}
	for range 500 {
		if strings.Contains(u.camada("ps", "--filter", "name=witness"), "(healthy)") {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(1500 * time.Millisecond) // a monitor has less when it has run for a second
	s.before = s.look()
	for range 100 {
		time.Sleep(20 * time.Millisecond)
		next := s.look()
		if len(next.without(s.before))+len(s.before.without(next)) == 0 {
			return
		}
		s.before = next
	}
	u.t.Fatal("it does not come to rest")
}

// look takes an inventory: processes, mounts, files, the interfaces and rules of the user's network namespace, the descriptors of the witness's monitor.
func (s *userStress) look() (all inventory) {
	u := s.u
	for _, m := range mountinfo(u.t) {
		all = append(all, "mount: "+m)
	}
	for _, p := range u.processes() {
		all = append(all, "process: "+p)
	}
	for _, dir := range []string{"/run", u.temp, filepath.Join(u.home, ".local/share/camada")} {
		for _, name := range files(dir) {
			if !strings.Contains(name, "/members/") { // who shared the user namespace last is forgotten by the next one
				all = append(all, name)
			}
		}
	}
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", s.keeper))
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && strings.HasPrefix(target, "net:[") {
			all = append(all, s.network(fd)...)
		}
	}
	all = append(all, openFiles(s.keeper)...)
	slices.Sort(all)
	return all
}

// network are the interfaces and rules of a network namespace that the monitor has open.
func (s *userStress) network(ns string) (all inventory) {
	for _, what := range [][]string{{"ip", "-br", "link"}, {"nft", "list", "ruleset"}} {
		if _, err := exec.LookPath(what[0]); err != nil {
			continue
		}
		out, err := exec.Command("nsenter", append([]string{"-t", fmt.Sprint(s.keeper), "--user", "--net=" + ns}, what...)...).CombinedOutput()
		if err != nil {
			return append(all, "gone: "+string(out)) // it was closed again meanwhile
		}
		for line := range strings.Lines(string(out)) {
			all = append(all, what[0]+": "+strings.TrimSpace(line))
		}
	}
	return all
}

// compare waits until all is what it was before.
func (s *userStress) compare(when string) {
	s.u.t.Helper()
	var differ []string
	for range 500 {
		now := s.look()
		differ = differ[:0]
		for _, line := range now.without(s.before) {
			differ = append(differ, "more: "+line)
		}
		for _, line := range s.before.without(now) {
			differ = append(differ, "less: "+line)
		}
		if len(differ) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.u.t.Errorf("%s it differs:\n%s", when, strings.Join(differ, "\n"))
}

// kinds are lives of a container.
func (s *userStress) kinds(name string) [][]step {
	up := []string{"run", "-d", "--name", name}
	with := func(more ...string) []string { return append(append([]string{}, up...), more...) }
	return [][]step{
		{{0, []string{"run", "--rm", "app", "true"}}},
		{{3, []string{"run", "--rm", "-p", "80", "-e", "A=b", "app", "sh", "-c", "test -s /data/file && exit 3"}}},
		{{0, []string{"run", "--rm", "-v", "kept:/kept", "--network", "own", "app", "sh", "-c", "echo $$ > /kept/file"}}},
		{{0, []string{"run", "--rm", "--init", "--network", "none", "--tmpfs", "/t", "--read-only", "app", "true"}}},
		{{0, with("-p", "127.0.0.1::80", "--health-cmd", "true", "--health-interval", "20ms", "app", "sleep", "1000")},
			{0, []string{"network", "connect", "own", name}}, {0, []string{"rm", "-f", "-v", name}}},
		{{0, with("-t", "--stop-signal", "KILL", "app", "sleep", "1000")}, {0, []string{"restart", name}}, {0, []string{"stop", name}}, {0, []string{"rm", "-v", name}}},
		{{127, []string{"run", "--rm", "-p", "80", "app", "nosuch"}}},
		{{127, with("--rm", "--network", "own", "app", "nosuch")}},
	}
}

func (s *userStress) steps(steps []step) {
	for _, st := range steps {
		if r := s.u.run(st.args...); r.code != st.code {
			s.u.t.Errorf("want exit code %d: %v", st.code, r)
		}
	}
}

func (s *userStress) inARow(n int) {
	for i := range n {
		kinds := s.kinds(fmt.Sprintf("row%d", i))
		s.steps(kinds[i%len(kinds)])
		if s.u.t.Failed() {
			return
		}
	}
}

// executed executes programs in the witness, two at a time.
func (s *userStress) executed(n int) {
	kinds := []step{
		{0, []string{"exec", "witness", "true"}},
		{3, []string{"exec", "-e", "A=b", "-w", "/tmp", "witness", "sh", "-c", "true & wait; exit 3"}},
		{127, []string{"exec", "witness", "nosuch"}},
	}
	var work sync.WaitGroup
	for w := range 2 {
		work.Go(func() {
			for i := w; i < n && !s.u.t.Failed(); i += 2 {
				s.steps([]step{kinds[i/2%len(kinds)]})
			}
		})
	}
	work.Wait()
}

// atOnce has containers run at the same time, each a web server on a port of its own.
func (s *userStress) atOnce(n int) {
	u := s.u
	u.t.Helper()
	var work sync.WaitGroup
	for i := range n {
		work.Go(func() {
			name := fmt.Sprint("crowd", i)
			s.steps([]step{{0, []string{"run", "-d", "--name", name, "-h", name, "-p", "127.0.0.1::80", "app",
				"sh", "-c", "hostname > /www/index.html; exec httpd -f -h /www"}}})
		})
	}
	work.Wait()
	for i := range n {
		name := fmt.Sprint("crowd", i)
		address, _, _ := strings.Cut(u.camada("ps", "--format", "{{.Ports}}", "--filter", "name="+name), "->")
		if got := fetched(address); got != name {
			u.t.Errorf("at %s, of container %s, is %q", address, name, got)
		}
	}
	for i := range n {
		work.Go(func() { s.steps([]step{{0, []string{"rm", "-f", "-v", fmt.Sprint("crowd", i)}}}) })
	}
	work.Wait()
}

// fewTasks is a low limit of the user's processes, RLIMIT_NPROC: each command does what it is to do, or says that there is no room.
func (s *userStress) fewTasks() {
	u := s.u
	for _, n := range []int{20, 40, 50, 60, 80} {
		for _, args := range [][]string{{"run", "--rm", "app", "true"}, {"run", "-d", "--rm", "--network", "none", "app", "true"}, {"exec", "witness", "true"}} {
			cmd := u.command(args...)
			cmd.Path, cmd.Args = "/usr/bin/prlimit", append([]string{"prlimit", fmt.Sprintf("--nproc=%d:%d", n, n), cmd.Path}, args...)
			out, err := cmd.CombinedOutput()
			if said := string(out); err != nil && !(strings.HasPrefix(said, "camada: ") && strings.Contains(said, fmt.Sprint("ulimit -u is ", n))) {
				u.t.Errorf("with at most %d processes %v: %v\n%s", n, args, err, said)
			}
			if n == 20 && err == nil {
				u.t.Errorf("with at most %d processes, which the witness has already, %v works", n, args)
			}
		}
	}
	u.camada("gc")
}
