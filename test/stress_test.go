package test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestStress starts and ends containers in a row, many at once, and executes many programs in one. A container that runs all the time in the
// background, and one in the foreground, are the witnesses: afterwards the machine is what it was, and so are the processes that
// look after those two.
func TestStress(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.write("ctx/Dockerfile", "FROM scratch\nCOPY rootfs /\nRUN mkdir /data && echo data > /data/file\nVOLUME /data\nCMD [\"true\"]\n")
		m.camada("build", "-q", "-t", "app", "ctx")
		s := &stress{m: m}
		s.begin()
		began := time.Now()
		n := bySize(50, 1000)
		s.inARow(n)
		t.Logf("%d containers in a row: %v", n, time.Since(began))
		m.compare("after containers in a row", s.before, s.keepers...)

		began = time.Now()
		n = bySize(100, 10000)
		s.executed(n)
		t.Logf("%d programs executed: %v", n, time.Since(began))
		m.compare("after programs were executed", s.before, s.keepers...)

		n = bySize(10, 200)
		s.atOnce(n)
		m.compare("after containers at once", s.before, s.keepers...)
		s.end()
	})
}

// stress is a machine with the two witnesses.
type stress struct {
	m          *machine
	foreground func() error
	// keepers are the processes that look after the witnesses.
	keepers []int
	before  inventory
}

// begin starts the witnesses, and does all once so that what stays for good is there: bridges, tables of rules, locks.
func (s *stress) begin() {
	m := s.m
	m.t.Helper()
	m.camada("network", "create", "own")
	m.camada("network", "create", "other")
	m.camada("run", "-d", "--name", "witness", "-h", "witness", "--network", "own", "-p", "127.0.0.1::80", "-v", "kept:/kept", "--restart", "unless-stopped",
		"--health-cmd", "true", "--health-interval", "300ms", "app", "sleep", "100000")
	cmd := m.command("run", "-i", "--name", "foreground", "-p", "127.0.0.1::80", "--init", "app", "sh", "-c", "cat; exit 7")
	in, err := cmd.StdinPipe()
	m.must(err)
	m.must(cmd.Start())
	s.foreground = func() error {
		in.Close()
		return cmd.Wait()
	}
	for range 500 {
		if m.camada("ps", "-q", "--filter", "name=foreground") != "" && strings.Contains(m.camada("ps", "--filter", "name=witness"), "(healthy)") {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	for _, name := range []string{"witness", "foreground"} {
		var pid int
		_, err := fmt.Sscan(m.keeper(name), &pid)
		m.must(err)
		s.keepers = append(s.keepers, pid)
	}
	s.inARow(len(s.kinds("")))
	s.executed(1)
	time.Sleep(1500 * time.Millisecond) // a monitor has less when it has run for a second
	s.before = m.takeInventory(s.keepers...)
}

// end ends the witnesses, which were there all the time.
func (s *stress) end() {
	m := s.m
	m.t.Helper()
	if got := m.camada("inspect", "--format", "{{.RestartCount}} {{.State.Running}} {{.State.Health.Status}}", "witness"); got != "0 true healthy" {
		m.t.Errorf("the witness is %s", got)
	}
	m.camada("rm", "-f", "-v", "witness")
	if err := s.foreground(); err == nil || err.Error() != "exit status 7" {
		m.t.Errorf("the witness in the foreground: %v", err)
	}
	m.camada("rm", "-v", "foreground")
	m.camada("network", "rm", "own", "other")
	m.accounted("after stress")
}

// kinds are lives of a container, each a few commands with the exit code that they have.
func (s *stress) kinds(name string) [][]step {
	up := []string{"run", "-d", "--name", name}
	with := func(first []string, more ...string) []string { return append(append([]string{}, first...), more...) }
	return [][]step{
		{{0, []string{"run", "--rm", "app"}}},
		{{3, []string{"run", "--rm", "-p", "80", "-e", "A=b", "app", "sh", "-c", "test -s /data/file && exit 3"}}},
		{{0, []string{"run", "--rm", "-v", "kept:/kept", "--network", "own", "--network", "other", "--network-alias", "alias", "app", "sh", "-c", "echo $$ > /kept/file"}}},
		{{0, []string{"run", "--rm", "--init", "--memory", "64m", "--pids-limit", "50", "--cpus", "0.9", "--network", "none", "--tmpfs", "/t", "--read-only", "app"}}},
		{{0, with(up, "-p", "127.0.0.1::80", "-p", "127.0.0.1::53/udp", "--health-cmd", "true", "--health-interval", "20ms", "app", "sleep", "1000")},
			{0, []string{"network", "connect", "other", name}}, {0, []string{"pause", name}}, {0, []string{"rm", "-f", "-v", name}}},
		{{0, []string{"create", "--name", name, "--network", "own", "app", "sh", "-c", "exit 0"}}, {0, []string{"start", "-a", name}}, {0, []string{"start", name}},
			{0, []string{"wait", name}}, {0, []string{"rm", "-v", name}}},
		{{0, with(up, "-t", "--stop-signal", "KILL", "app", "sleep", "1000")}, {0, []string{"restart", name}}, {0, []string{"stop", name}}, {0, []string{"rm", "-v", name}}},
		{{0, with(up, "--rm", "app", "sleep", "1000")}, {0, []string{"kill", name}}},
		{{127, []string{"run", "--rm", "-p", "80", "app", "nosuch"}}},
		{{125, []string{"run", "--rm", "--network", "none", "--mount", "type=bind,source=/nosuch,target=/x", "app"}}},
		{{127, with(up, "--rm", "--network", "own", "app", "nosuch")}},
	}
}

// step is a command and its exit code.
type step struct {
	code int
	args []string
}

func (s *stress) steps(steps []step) {
	for _, st := range steps {
		if r := s.m.run(st.args...); r.code != st.code {
			s.m.t.Errorf("want exit code %d: %v", st.code, r)
		}
	}
}

func (s *stress) inARow(n int) {
	for i := range n {
		kinds := s.kinds(fmt.Sprintf("row%d", i))
		s.steps(kinds[i%len(kinds)])
		if s.m.t.Failed() {
			return
		}
	}
}

// executed executes programs in the witnesses, two at a time.
func (s *stress) executed(n int) {
	kinds := []step{
		{0, []string{"exec", "witness", "true"}},
		{3, []string{"exec", "-e", "A=b", "-w", "/tmp", "-u", "app", "witness", "sh", "-c", "true & wait; exit 3"}},
		{0, []string{"exec", "foreground", "cat", "/data/file"}},
		{127, []string{"exec", "witness", "nosuch"}},
	}
	var work sync.WaitGroup
	for w := range 2 {
		work.Go(func() {
			for i := w; i < n && !s.m.t.Failed(); i += 2 {
				s.steps([]step{kinds[i/2%len(kinds)]})
			}
		})
	}
	work.Wait()
}

// atOnce has many containers run at the same time, each a web server on a port of its own.
func (s *stress) atOnce(n int) {
	m := s.m
	m.t.Helper()
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("crowd%d", i)
	}
	began := time.Now()
	interval := fmt.Sprint(bySize(1, 20), "s") // more checks at once than the machine has time for would look at nothing else
	s.each(names, func(name string) {
		m.run("run", "-d", "--name", name, "-h", name, "-p", "127.0.0.1::80", "--health-cmd", "true", "--health-interval", interval, "app",
			"sh", "-c", "mkdir /www; hostname > /www/index.html; exec httpd -f -h /www")
	})
	m.t.Logf("%d containers started at once: %v", n, time.Since(began))
	ports := map[string]string{}
	for line := range strings.Lines(m.camada("ps", "--format", "{{.Names}} {{.Ports}}", "--filter", "name=crowd")) {
		name, address, _ := strings.Cut(strings.TrimSpace(line), " ")
		ports[name], _, _ = strings.Cut(address, "->")
	}
	if len(ports) != n {
		m.t.Errorf("%d of %d containers run", len(ports), n)
	}
	for name, address := range ports {
		if got := fetched(address); got != name {
			m.t.Errorf("at %s, of container %s, is %q", address, name, got)
		}
	}
	time.Sleep(3 * time.Second) // monitors give memory back after a second
	s.memory(names)
	began = time.Now()
	s.each(names, func(name string) { m.run("rm", "-f", "-v", name) })
	m.t.Logf("%d containers removed at once: %v", n, time.Since(began))
	if left := m.camada("ps", "-aq", "--filter", "name=crowd"); left != "" {
		m.t.Errorf("containers are left: %s", left)
	}
}

func (s *stress) each(names []string, f func(name string)) {
	var work sync.WaitGroup
	for _, name := range names {
		work.Go(func() { f(name) })
	}
	work.Wait()
}

// fetched is what a web server says, once it is there.
func fetched(address string) string {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var err error
	for range 250 {
		var r *http.Response
		if r, err = client.Get("http://" + address + "/"); err == nil {
			b, _ := io.ReadAll(r.Body)
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return strings.TrimSpace(string(b))
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Sprint(err)
}

// memory says what the monitors of containers take, in all and each. The proportional size counts pages that several share in parts.
func (s *stress) memory(names []string) {
	m := s.m
	m.t.Helper()
	var rss, pss, anonymous, most int
	for _, name := range names {
		b, err := os.ReadFile("/proc/" + m.keeper(name) + "/smaps_rollup")
		m.must(err)
		all := kilobytes(string(b))
		rss, pss, anonymous, most = rss+all["Rss"], pss+all["Pss"], anonymous+all["Anonymous"], max(most, all["Rss"])
	}
	n := len(names)
	m.t.Logf("%d monitors: resident %d KiB each, %d at most; proportional %d KiB each; anonymous %d KiB each", n, rss/n, most, pss/n, anonymous/n)
	if anonymous/n >= monitorMemory {
		m.t.Errorf("a monitor has %d KiB of its own, want less than %d", anonymous/n, monitorMemory)
	}
}

// kilobytes reads the lines "Name: 12 kB" of files of /proc.
func kilobytes(text string) map[string]int {
	all := map[string]int{}
	for line := range strings.Lines(text) {
		var n int
		if name, rest, ok := strings.Cut(line, ":"); ok {
			if _, err := fmt.Sscanf(strings.TrimSpace(rest), "%d kB", &n); err == nil {
				all[name] = n
			}
		}
	}
	return all
}
