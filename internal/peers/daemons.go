package peers

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// StartDocker starts a Docker daemon of our own, without a network, and stops it at the end of the test.
func (p *Peers) StartDocker() {
	p.t.Helper()
	p.startDocker(nil)
}

// StartDockerAlone starts a Docker daemon with networks in a network namespace of its own, stops it at the end of the test, and returns the daemon's
// process.
func (p *Peers) StartDockerAlone() (pid string) {
	p.t.Helper()
	const host = `mount -t tmpfs run /run && ip link set lo up && exec "$0" "$@"`
	p.startDocker(map[string]any{"bridge": "", "iptables": true}, "unshare", "--net", "--mount", "sh", "-c", host)
	text, err := os.ReadFile(p.Path("pid"))
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// StartDockerWith is StartDocker for a daemon that runs containers with another runtime, which has a name and a path.
func (p *Peers) StartDockerWith(name, path string) {
	p.t.Helper()
	p.startDocker(map[string]any{"default-runtime": name, "runtimes": map[string]any{name: map[string]string{"path": path}}})
}

// StartDockerWithMirror is StartDocker for a daemon that asks a mirror, by its URL, for what docker.io has.
func (p *Peers) StartDockerWithMirror(url string) {
	p.t.Helper()
	p.startDocker(map[string]any{"registry-mirrors": []string{url}})
}

func (p *Peers) startDocker(more map[string]any, within ...string) {
	p.t.Helper()
	settings := map[string]any{
		"data-root": p.Path("data"), "exec-root": p.Path("exec"), "pidfile": p.Path("pid"),
		"hosts": []string{"unix://" + p.Path("sock")}, "storage-driver": "vfs",
		"bridge": "none", "iptables": false, "ip6tables": false,
	}
	maps.Copy(settings, more)
	config, err := json.Marshal(settings)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Write("docker.json", string(config))
	p.docker = "unix://" + p.Path("sock")
	command := slices.Concat(within, []string{"dockerd", "--config-file", p.Path("docker.json")})
	p.start(p.Path("data"), p.works("docker", "--host", p.docker, "version"), command[0], command[1:]...)
}

// StartContainerd starts a containerd of our own and stops it at the end of the test. Its containers are started by the client's wish.
func (p *Peers) StartContainerd() {
	p.t.Helper()
	p.containerd = p.Path("containerd.sock")
	p.Write("containerd.toml", fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\n  address = %q\n",
		p.Path("containerd"), p.Path("containerd-state"), p.containerd))
	p.start("", p.works("ctr", "--address", p.containerd, "version"), "containerd", "--config", p.Path("containerd.toml"))
}

// StartBuildkit starts a BuildKit daemon of our own, whose steps use the host's network, and stops it at the end of the test.
func (p *Peers) StartBuildkit() {
	p.t.Helper()
	p.buildkit = "unix://" + p.Path("buildkit.sock")
	runtime, err := exec.LookPath("runc")
	if err != nil {
		p.t.Skip("buildkitd needs runc, which is not installed")
	}
	p.start(p.Path("buildkit"), p.works("buildctl", "--addr", p.buildkit, "debug", "workers"), "buildkitd", "--root", p.Path("buildkit"), "--addr", p.buildkit,
		"--oci-worker-net=host", "--oci-worker-binary="+runtime, "--oci-worker-snapshotter=native", "--containerd-worker=false",
		"--allow-insecure-entitlement=network.host", "--allow-insecure-entitlement=security.insecure")
}

// StartRegistry starts crane's registry, stops it at the end of the test, and returns its address.
func (p *Peers) StartRegistry() string {
	p.t.Helper()
	address := p.freeAddress()
	p.start("", listens(address), "crane", "registry", "serve", "--address", address)
	return address
}

// StartDistribution starts a registry of the distribution project, by the name of its program: docker-registry is its second, registry
// its third major version. users, a file of htpasswd, lets in only those; "" lets in all.
func (p *Peers) StartDistribution(program, users string) string {
	p.t.Helper()
	return p.startDistribution(program, users, "")
}

// StartDistributionRemoving is StartDistribution for a registry that may remove manifests.
func (p *Peers) StartDistributionRemoving(program, users string) string {
	p.t.Helper()
	return p.startDistribution(program, users, ", delete: {enabled: true}")
}

func (p *Peers) startDistribution(program, users, storage string) string {
	p.t.Helper()
	address := p.freeAddress()
	config := "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: " + p.Path(program) + "}" + storage + "}\nhttp: {addr: " + address + "}\n"
	if users != "" {
		config += "auth: {htpasswd: {realm: test, path: " + users + "}}\n"
	}
	p.Write(program+".yml", config)
	p.start("", listens(address), program, "serve", p.Path(program+".yml"))
	return address
}

// freeAddress is an address of this machine that nobody listens at.
func (p *Peers) freeAddress() string {
	p.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// listens tells whether somebody listens at an address.
func listens(address string) func() bool {
	return func() bool {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		c.Close()
		return true
	}
}

// start starts a daemon and waits until it answers. A machine may have no room for a daemon (no
// cgroups, no privileges): then the test is skipped.
func (p *Peers) start(data string, answers func() bool, program string, args ...string) {
	p.t.Helper()
	p.startAs(program, data, answers, program, args...)
}

// startAs is start for a program whose log has another name.
func (p *Peers) startAs(name, data string, answers func() bool, program string, args ...string) {
	p.t.Helper()
	log, err := os.Create(p.Path(name + ".log"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, p.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	p.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			p.t.Errorf("%s does not end", program)
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
		if p.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			p.t.Logf("%s said last: %s", program, text[max(0, len(text)-64<<10):])
		}
		if data != "" {
			_ = syscall.Unmount(data, syscall.MNT_DETACH) // dockerd binds its directory onto itself
		}
	})
	skip := func(why string) {
		text, _ := os.ReadFile(log.Name())
		p.t.Skipf("%s cannot be started here: %s: %s", program, why, text[max(0, len(text)-500):])
	}
	for range 150 {
		if answers() {
			return
		}
		select {
		case <-ended:
			skip("it ended")
		case <-time.After(200 * time.Millisecond):
		}
	}
	skip("it does not answer")
}

// works tells whether a client gets an answer.
func (p *Peers) works(program string, args ...string) func() bool {
	return func() bool {
		cmd := exec.Command(program, args...)
		cmd.Env = p.env
		return cmd.Run() == nil
	}
}
