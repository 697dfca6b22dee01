package test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stages is a build of several stages whose RUN steps run side by side.
const stages = `FROM scratch AS base
COPY rootfs /
FROM base AS one
RUN head -c 400000 /bin/busybox > /one; i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo $i >> /one; done; sleep 0.1
FROM base AS two
RUN mkdir /two; for i in 1 2 3 4 5 6 7 8 9; do cat /bin/busybox | head -c 90000 > /two/$i; done; sleep 0.1
FROM base AS three
RUN (sleep 30 &) ; sleep 0.05; echo three > /three
FROM base
COPY --from=one /one /one
COPY --from=two /two /two
COPY --from=three /three /three
RUN cat /one /two/1 /three > /all
CMD ["head", "-c", "3", "/one"]
`

// newBuild writes the context of stages, and builds it in another store for its digest and duration.
func (m *machine) newBuild() (digest string, took time.Duration) {
	m.t.Helper()
	m.write("ctx/Dockerfile", stages)
	began := time.Now()
	digest = m.camada("--root", m.path("other"), "build", "-q", "ctx")
	took = time.Since(began)
	m.camada("--root", m.path("other"), "system", "reset", "-f")
	m.none("after a build", m.leftovers)
	return digest, took
}

// killed starts camada, sends it a signal after a while and waits for its end. It reports whether the signal was what ended it.
func (m *machine) killed(sig syscall.Signal, after time.Duration, args ...string) (hit bool, output string) {
	m.t.Helper()
	var out bytes.Buffer
	cmd := m.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	m.must(cmd.Start())
	timer := time.AfterFunc(after, func() {
		if sig == syscall.SIGKILL {
			_ = cmd.Process.Kill() // camada alone: what it started must die with it
			return
		}
		_ = syscall.Kill(-cmd.Process.Pid, sig)
	})
	defer timer.Stop()
	_ = cmd.Wait()
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return status.Signaled() || status.ExitStatus() != 0, out.String()
}

func seeded(t *testing.T) *rand.Rand {
	const seed = 20
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// TestKilledBuild kills a build at random moments. Nothing lives on; the store stays whole; the next build makes the same image, and
// after it gc leaves nothing that is not explained.
func TestKilledBuild(t *testing.T) {
	onMachine(t, func(m *machine) {
		want, took := m.newBuild()
		random := seeded(t)
		kills, tries := 50, 0
		if long() {
			kills = 500
		}
		for hits := 0; hits < kills && !t.Failed(); tries++ {
			args := []string{"build", "-q", "-t", "app", "--no-cache", "ctx"}
			if tries%4 == 0 {
				args = []string{"build", "-q", "-t", "app", "ctx"}
			}
			after := time.Duration(random.Int64N(int64(took)))
			hit, _ := m.killed(syscall.SIGKILL, after, args...)
			if !hit {
				continue // it was faster
			}
			hits++
			when := fmt.Sprintf("after kill %d, %v into the build,", hits, after)
			m.none(when, m.living)
			m.whole(when)
			if hits%5 != 0 {
				continue
			}
			if got := m.camada("build", "-q", "-t", "app", "ctx"); got != want {
				t.Errorf("%s the next build made %s, want %s", when, got, want)
			}
			if got := m.camada("run", "--rm", "--network", "none", "app"); got != "\x7fEL" {
				t.Errorf("%s the image says %q", when, got)
			}
			m.accounted(when)
		}
		t.Logf("killed %d of %d builds, which take %v", kills, tries, took)
	})
}

// TestInterruptedBuild presses Ctrl-C: the build itself takes away what it made.
func TestInterruptedBuild(t *testing.T) {
	onMachine(t, func(m *machine) {
		want, took := m.newBuild()
		random := seeded(t)
		n := 10
		if long() {
			n = 100
		}
		for i := range n {
			after := time.Duration(random.Int64N(int64(took)))
			hit, out := m.killed(syscall.SIGINT, after, "build", "--no-cache", "-t", "app", "ctx")
			when := fmt.Sprintf("after Ctrl-C %d, %v into the build,", i, after)
			if hit && !strings.Contains(out, "interrupted") && out != "" {
				t.Errorf("%s camada says:\n%s", when, out)
			}
			m.none(when, m.leftovers)
			m.whole(when)
			for _, odd := range account(t, m.root) {
				if begun(odd) {
					t.Errorf("%s there is %s", when, odd)
				}
			}
		}
		if got := m.camada("build", "-q", "-t", "app", "ctx"); got != want {
			t.Errorf("built %s, want %s", got, want)
		}
		m.accounted("after interrupted builds")
	})
}

// TestKilledVerbs kills the other verbs that write.
func TestKilledVerbs(t *testing.T) {
	onMachine(t, func(m *machine) {
		want, _ := m.newBuild()
		m.camada("build", "-q", "-t", "app", "ctx")
		m.camada("save", "-o", "app.tar", "app")
		random := seeded(t)
		n := 5
		if long() {
			n = 100
		}
		verbs := [][]string{
			{"run", "app", "sleep", "60"},
			{"run", "--rm", "app", "sh", "-c", "sleep 60 & sleep 61"},
			{"run", "--rm", "--network", "none", "--init", "app", "sleep", "60"},
			{"run", "-d", "app", "sleep", "60"},
			{"run", "-d", "--rm", "-p", "8080", "app", "sleep", "60"},
			{"load", "-i", "app.tar"},
			{"save", "-o", "new.tar", "app"},
			{"save", "--format", "oci-dir", "-o", "new.dir", "app"},
			{"tag", "app", "again"},
			{"untag", "again"},
			{"import", "app.tar", "odd"},
			{"gc", "--keep", "0s", "--keep-entries", "0", "--cache-keep", "0s"},
			{"rollback", "app"},
		}
		for i := range n {
			for _, v := range verbs {
				after := time.Duration(random.Int64N(int64(150 * time.Millisecond)))
				when := fmt.Sprintf("after %v, killed after %v (%d),", v, after, i)
				m.killed(syscall.SIGKILL, after, v...)
				if v[0] == "run" && v[1] == "-d" {
					m.killMonitors(when)
				}
				m.none(when, m.living)
				m.whole(when)
				m.afterKill(when)
				if t.Failed() {
					return
				}
			}
			m.must(os.RemoveAll(m.path("new.dir")))
			m.accounted(fmt.Sprintf("after round %d", i))
			if got := m.camada("build", "-q", "-t", "app", "ctx"); got != want {
				t.Fatalf("built %s, want %s", got, want)
			}
		}
	})
}

// TestDeadSupervisor kills what looks after containers that run: they die with it, and that is seen.
func TestDeadSupervisor(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.newBuild()
		m.camada("build", "-q", "-t", "app", "ctx")
		for _, flags := range [][]string{{}, {"-d"}, {"--init"}, {"-d", "-t"}, {"-d", "-p", "8080"}, {"--network", "host"}} {
			when := fmt.Sprintf("after the supervisor of run %v died,", flags)
			args := append(append([]string{"run", "--name", "box"}, flags...), "app", "sh", "-c", "echo begun; sleep 100 & sleep 101")
			cmd := m.command(args...)
			m.must(cmd.Start())
			for range 500 {
				if r := m.run("inspect", "-f", "{{.State.Running}}", "box"); strings.TrimSpace(r.out) == "true" && strings.Contains(m.camada("logs", "box"), "begun") {
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
			if got := m.camada("ps", "-q"); got == "" {
				t.Fatalf("run %v: the container does not run", flags)
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			m.killMonitors(when)
			m.none(when, m.living)
			if got := m.camada("ps", "-a"); !strings.Contains(got, "Exited (137)") {
				t.Errorf("%s ps says %s", when, got)
			}
			if got := m.camada("wait", "box"); got != "137" {
				t.Errorf("%s wait says %s", when, got)
			}
			if got := m.camada("logs", "box"); strings.TrimSpace(got) != "begun" {
				t.Errorf("%s logs say %q", when, got)
			}
			m.accounted(when) // with the container, which stays until it is removed
			m.camada("rm", "box")
			m.accounted(when)
		}
	})
}

// killMonitors kills what looks after detached containers; they die with it.
func (m *machine) killMonitors(when string) {
	m.t.Helper()
	m.none(when+" and the monitors,", func() (left []string) {
		for pid := range m.processes() {
			cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if err == nil && bytes.Contains(cmdline, []byte("container-monitor")) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
				left = append(left, fmt.Sprintf("%d", pid))
			}
		}
		return left
	})
}

// afterKill checks that ps, rm and gc find their way.
func (m *machine) afterKill(when string) {
	m.t.Helper()
	if running := m.camada("ps", "-q"); running != "" {
		m.t.Errorf("%s a container is said to run: %s", when, running)
	}
	if ids := strings.Fields(m.camada("ps", "-aq")); len(ids) > 0 {
		m.camada(append([]string{"rm"}, ids...)...)
		if m.camada("ps", "-aq") != "" {
			m.t.Errorf("%s rm left a container", when)
		}
	}
	m.collect()
	m.none(when+" and gc,", m.leftovers)
}
