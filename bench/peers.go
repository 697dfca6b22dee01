package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// daemon is a peer's server that the bench started.
type daemon struct {
	cmd    *exec.Cmd
	socket string
	// dir has all that the daemon keeps.
	dir string
}

// has tells whether a program is installed, and remembers when not.
func (b *bench) has(peer string, programs ...string) bool {
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			b.absent[peer] = "no program " + p
			return false
		}
	}
	return true
}

// docker's own client of the same release comes first: a newer one may refuse to talk to an older daemon.
func dockerClient() string {
	if _, err := os.Stat("/usr/bin/docker"); err == nil {
		return "/usr/bin/docker"
	}
	return "docker"
}

// up starts a daemon once; nil when it is not there or does not start.
func (b *bench) up(ctx context.Context, name string) *daemon {
	if d, ok := b.daemons[name]; ok {
		return d
	}
	if b.daemons == nil {
		b.daemons = map[string]*daemon{}
	}
	b.daemons[name] = nil
	d, err := b.start(ctx, name)
	if err != nil {
		b.absent[name] = err.Error()
		return nil
	}
	b.daemons[name] = d
	return d
}

func (b *bench) start(ctx context.Context, name string) (*daemon, error) {
	b.started++
	dir := filepath.Join(b.dir, fmt.Sprintf("%s-%d", name, b.started))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	sock := filepath.Join(dir, "sock")
	var args, check []string
	switch name {
	case "docker":
		conf := fmt.Sprintf(`{"data-root":%q,"exec-root":%q,"pidfile":%q,"hosts":["unix://%s"],"storage-driver":"overlay2"}`,
			filepath.Join(dir, "data"), filepath.Join(dir, "exec"), filepath.Join(dir, "pid"), sock)
		if err := os.WriteFile(filepath.Join(dir, "conf.json"), []byte(conf), 0o644); err != nil {
			return nil, err
		}
		args = []string{"dockerd", "--config-file", filepath.Join(dir, "conf.json")}
		check = []string{dockerClient(), "-H", "unix://" + sock, "version"}
	case "buildkitd":
		args = []string{"buildkitd", "--root", filepath.Join(dir, "data"), "--addr", "unix://" + sock, "--oci-worker-net=host", "--containerd-worker=false"}
		check = []string{"buildctl", "--addr", "unix://" + sock, "debug", "workers"}
	case "containerd":
		conf := fmt.Sprintf("version = 3\nroot = %q\nstate = %q\n[grpc]\n  address = %q\n[ttrpc]\n  address = %q\n", filepath.Join(dir, "data"), filepath.Join(dir, "state"), sock, sock+".ttrpc")
		if err := os.WriteFile(filepath.Join(dir, "conf.toml"), []byte(conf), 0o644); err != nil {
			return nil, err
		}
		args = []string{"containerd", "-c", filepath.Join(dir, "conf.toml")}
		check = []string{"ctr", "-a", sock, "version"}
	default:
		return nil, fmt.Errorf("no such daemon: %s", name)
	}
	if _, err := exec.LookPath(args[0]); err != nil {
		return nil, fmt.Errorf("no program %s", args[0])
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // it is ended by stopDaemons, in order, not by a kill
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for range 150 {
		if b.command(ctx, nil, check[0], check[1:]...) == nil {
			return &daemon{cmd: cmd, socket: sock, dir: dir}, nil
		}
		time.Sleep(200 * time.Millisecond)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return nil, errors.New("it did not answer within 30 s")
}

// renew puts a new daemon, which knows nothing, in the place of one that runs.
func (b *bench) renew(ctx context.Context, name string) error {
	b.daemons[name].stop()
	d, err := b.start(ctx, name)
	b.daemons[name] = d
	return err
}

func (b *bench) stopDaemons() {
	for _, d := range b.daemons {
		d.stop()
	}
}

func (d *daemon) stop() {
	if d != nil {
		_ = d.cmd.Process.Signal(os.Interrupt)
		_ = d.cmd.Wait()
	}
}

// daemonMemory is the largest resident size of a daemon and what it started, in bytes.
func (b *bench) daemonMemory(name string) int64 {
	d := b.daemons[name]
	if d == nil {
		return 0
	}
	sum := int64(0)
	for _, pid := range append(descendants(d.cmd.Process.Pid), d.cmd.Process.Pid) {
		sum += processPeak(pid)
	}
	return sum
}

// daemonCPU is the CPU time of a daemon and of the processes that it started and that still
// run (docker's own containerd), in seconds.
func (b *bench) daemonCPU(name string) float64 {
	d := b.daemons[name]
	if d == nil {
		return 0
	}
	sum := 0.0
	for _, pid := range append(descendants(d.cmd.Process.Pid), d.cmd.Process.Pid) {
		sum += processCPU(pid)
	}
	return sum
}

func descendants(pid int) []int {
	var all []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		text, err := os.ReadFile(t)
		if err != nil {
			continue
		}
		for f := range strings.FieldsSeq(string(text)) {
			var child int
			if _, err := fmt.Sscan(f, &child); err == nil {
				all = append(all, child)
				all = append(all, descendants(child)...)
			}
		}
	}
	return all
}

// podmanEnv makes podman and buildah work where limits cannot be raised and cgroups are not systemd's.
func (b *bench) podmanEnv() []string {
	conf := filepath.Join(b.dir, "containers.conf")
	_ = os.WriteFile(conf, []byte("[containers]\ndefault_ulimits = [\"nofile=1024:1024\",\"nproc=1024:1024\"]\n[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n"), 0o644)
	policy := filepath.Join(b.dir, "policy.json")
	_ = os.WriteFile(policy, []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o644)
	return []string{"CONTAINERS_CONF=" + conf}
}

// podmanArgs are podman's or buildah's arguments for a store of its own.
func (b *bench) podmanArgs(store string) []string {
	return []string{"--root", filepath.Join(b.dir, store, "root"), "--runroot", filepath.Join(b.short, store), "--storage-driver", "overlay"}
}
