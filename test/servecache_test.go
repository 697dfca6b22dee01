package test

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/camada/camada/internal/peers"
)

// TestServeCache pulls an image of docker.io through a registry that keeps copies, with everybody's tools, from upstreams of three kinds, and then
// once more when there is no upstream any more.
func TestServeCache(t *testing.T) {
	need := peers.Need(t, "busybox")
	bin := shipped(t)
	dir := system(t, need.Path("ctx"))
	write(t, dir, "Dockerfile", cachedDockerfile)
	first := &ours{t: t, bin: bin, root: need.Path("first")}
	first.run("build", "-q", "-t", "app:1", dir)
	t.Run("camada", func(t *testing.T) {
		up := startServe(t, bin, t.TempDir(), "127.0.0.1:0")
		cache := cacheOf(t, bin, first, up.host)
		pullThrough(t, bin, cache.host)
		up.end(syscall.SIGTERM)
		pullThrough(t, bin, cache.host)
	})
	for _, program := range []string{"docker-registry", "registry"} { // 2.8 and 3
		t.Run(program, func(t *testing.T) {
			p := peers.Need(t, program)
			cache := cacheOf(t, bin, first, p.StartDistribution(program, ""))
			last := &ours{t: t, bin: bin, root: p.Path("last")}
			last.run("pull", "-q", cache.host+"/docker.io/library/app:1")
			if out := last.run("run", "--rm", "--network", "none", cache.host+"/docker.io/library/app:1"); out != "made\nran" {
				t.Errorf("it prints %q", out)
			}
		})
	}
}

// cacheOf pushes the image to an upstream, and starts a registry that keeps copies of it, as those of docker.io.
func cacheOf(t *testing.T, bin string, from *ours, upstream string) *served {
	t.Helper()
	from.run("tag", "app:1", upstream+"/library/app:1")
	from.run("push", "-q", upstream+"/library/app:1")
	conf := t.TempDir()
	write(t, conf, "registry.yaml", fmt.Sprintf("cache:\n  - {host: docker.io, upstream: \"http://%s\", plain: \"**\", fresh: 0s}\n", upstream))
	return startServe(t, bin, t.TempDir(), "127.0.0.1:0", "--config", filepath.Join(conf, "registry.yaml"))
}

// pullThrough pulls with one tool after the other, each by the form of name that it knows.
func pullThrough(t *testing.T, bin, host string) {
	const image = "docker.io/library/app:1"
	for _, c := range []struct {
		name     string
		programs []string
		pull     func(t *testing.T, p *peers.Peers)
	}{
		{"ours", []string{"busybox"}, func(t *testing.T, p *peers.Peers) {
			last := &ours{t: t, bin: bin, root: p.Path("last")}
			last.run("pull", "-q", host+"/"+image)
			write(t, p.Path("config/containers/certs.d/docker.io"), "hosts.toml", fmt.Sprintf("[host.\"http://%s\"]\ncapabilities = [\"pull\", \"resolve\"]\n", host))
			t.Setenv("XDG_CONFIG_HOME", p.Path("config"))
			(&ours{t: t, bin: bin, root: p.Path("mirrored")}).run("pull", "-q", image)
		}},
		{"docker", []string{"dockerd", "docker", "runc"}, func(_ *testing.T, p *peers.Peers) {
			p.StartDockerWithMirror("http://" + host)
			p.Run("docker", "pull", "-q", image)
		}},
		{"containerd", []string{"containerd", "ctr", "runc"}, func(t *testing.T, p *peers.Peers) {
			p.StartContainerd()
			write(t, p.Path("hosts/docker.io"), "hosts.toml", fmt.Sprintf("server = \"http://127.0.0.1:1\"\n[host.\"http://%s\"]\ncapabilities = [\"pull\", \"resolve\"]\n", host))
			flags := []string{"images", "pull", "--snapshotter", "native", "--hosts-dir", p.Path("hosts")}
			if strings.Contains(p.Run("ctr", "images", "pull", "--help"), "--local") {
				flags = append(flags, "--local")
			}
			p.Run("ctr", append(flags, image)...)
		}},
		{"podman", []string{"podman"}, func(t *testing.T, p *peers.Peers) {
			write(t, p.Path("conf"), "registries.conf", fmt.Sprintf("[[registry]]\nlocation = \"docker.io\"\n[[registry.mirror]]\nlocation = \"%s/docker.io\"\ninsecure = true\n", host))
			t.Setenv("CONTAINERS_REGISTRIES_CONF", p.Path("conf/registries.conf"))
			p = peers.Need(t, "podman") // with this environment
			p.Run("podman", "pull", "-q", image)
		}},
		{"skopeo", []string{"skopeo"}, func(_ *testing.T, p *peers.Peers) {
			p.Run("skopeo", "copy", "-q", "--src-tls-verify=false", "docker://"+host+"/"+image, "oci:"+p.Path("layout")+":x")
		}},
	} {
		t.Run(c.name, func(t *testing.T) { c.pull(t, peers.Need(t, c.programs...)) })
	}
}
