package test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/internal/peers"
)

// released is an application of two versions in a registry, both of which had the tag 1.
type released struct {
	ref     string
	digests []string
	ours    *ours
}

// release pushes both versions. Each has its name in /version, and stays.
func release(t *testing.T, c *ours, p *peers.Peers, host string) released {
	t.Helper()
	r := released{ref: host + "/team/app:1", ours: c}
	for _, version := range []string{"one", "two"} {
		dir := system(t, p.Path(version))
		write(t, dir, "version", version, "Dockerfile", "FROM scratch\nCOPY rootfs /\nENV PATH=/bin\nCOPY version /\nCMD [\"sleep\", \"1000\"]\n")
		c.run("build", "-q", "--push", "-t", r.ref, dir)
	}
	r.digests = strings.Fields(c.run("log", "--format", "{{.Digest}}", "docker://"+r.ref))
	slices.Reverse(r.digests) // the newest is the first of a log
	if len(r.digests) != 2 || r.digests[0] == r.digests[1] {
		t.Fatalf("the registry remembers %q", r.digests)
	}
	return r
}

// pinned is the reference of a version, 0 or 1.
func (r *released) pinned(version int) string {
	return strings.TrimSuffix(r.ref, ":1") + "@" + r.digests[version]
}

// TestServeSwarm has a service of a Docker Swarm updated and rolled back, by digests and by a tag that moves, from camada serve.
func TestServeSwarm(t *testing.T) {
	if !long() {
		t.Skip("CAMADA_TEST_LONG is not set: a swarm watches each update for some seconds")
	}
	p := peers.Need(t, "busybox", "dockerd", "docker", "docker-proxy", "iptables", "nsenter", "unshare", "ip", "runc")
	pid := p.StartDockerAlone()
	// All others are in the daemon's network, too: there a registry at 127.0.0.1 may speak plain HTTP.
	p.Write("camada", "#!/bin/sh\nexec nsenter --net=/proc/"+pid+"/ns/net "+shipped(t)+" \"$@\"\n")
	if err := os.Chmod(p.Path("camada"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := startServe(t, p.Path("camada"), t.TempDir(), "127.0.0.1:0")
	r := release(t, &ours{t: t, bin: p.Path("camada"), root: p.Path("store")}, p, s.host)

	p.Run("docker", "swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1")
	runs := func(what, version string) {
		t.Helper()
		image := p.Run("docker", "service", "inspect", "-f", "{{.Spec.TaskTemplate.ContainerSpec.Image}}", "app")
		task := p.Run("docker", "ps", "-q", "--filter", "label=com.docker.swarm.service.name=app")
		want := r.digests[slices.Index([]string{"one", "two"}, version)]
		if got := p.Run("docker", "exec", task, "cat", "/version"); got != version || !strings.HasSuffix(image, want) {
			t.Errorf("%s: %s runs, of %s; want %s of %s", what, got, image, version, want)
		}
	}
	update := func(args ...string) {
		t.Helper()
		p.Run("docker", append([]string{"service", "update", "-q", "--update-monitor", "1s", "--rollback-monitor", "1s"}, append(args, "app")...)...)
	}
	p.Run("docker", "service", "create", "-q", "--name", "app", "--stop-grace-period", "0s", r.pinned(0))
	runs("created", "one")
	update("--image", r.pinned(1))
	runs("updated by a digest", "two")
	p.Run("docker", "service", "rollback", "-q", "app")
	runs("rolled back", "one")
	update("--image", r.ref) // the client asks the registry what the tag is
	runs("updated by the tag", "two")
	r.ours.run("rollback", "docker://"+r.ref)
	update("--image", r.ref)
	runs("updated by the tag that went back", "one")
}

// TestServeContainerd has a container of containerd updated and rolled back, by digests and by a tag that moves, from camada serve.
func TestServeContainerd(t *testing.T) {
	p := peers.Need(t, "busybox", "containerd", "ctr", "containerd-shim-runc-v2", "runc")
	s := startServe(t, shipped(t), t.TempDir(), "127.0.0.1:0")
	r := release(t, &ours{t: t, bin: shipped(t), root: p.Path("store")}, p, s.host)
	p.StartContainerd()
	flags := []string{"images", "pull", "--plain-http", "--snapshotter", "native"}
	if strings.Contains(p.Run("ctr", "images", "pull", "--help"), "--local") {
		flags = append(flags, "--local")
	}
	runs := func(what, ref, version string) {
		t.Helper()
		p.Run("ctr", append(slices.Clone(flags), ref)...)
		if got := p.Run("ctr", "run", "--rm", "--snapshotter", "native", ref, "app", "cat", "/version"); got != version {
			t.Errorf("%s: it prints %q", what, got)
		}
		if got := p.Run("ctr", "images", "ls", "name=="+ref); !strings.Contains(got, r.digests[slices.Index([]string{"one", "two"}, version)]) {
			t.Errorf("%s: %s", what, got)
		}
	}
	runs("by a digest", r.pinned(0), "one")
	runs("by the next digest", r.pinned(1), "two")
	runs("by the tag", r.ref, "two")
	runs("back by the digest", r.pinned(0), "one")
	r.ours.run("rollback", "docker://"+r.ref)
	runs("by the tag that went back", r.ref, "one")
}
