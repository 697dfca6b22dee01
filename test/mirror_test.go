package test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/internal/peers"
)

// TestMirrors pulls by way of mirrors as the files of podman and of containerd have them.
func TestMirrors(t *testing.T) {
	p := peers.Need(t, "docker-registry", "crane", "busybox")
	bin := shipped(t)
	dir := system(t, p.Path("ctx"))
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY rootfs/etc /etc\n")
	mirror, origin := p.StartDistribution("docker-registry", ""), p.StartRegistry()
	config := p.Path("containers.d/registries.conf")
	t.Setenv("CONTAINERS_REGISTRIES_CONF", config)
	t.Setenv("XDG_CONFIG_HOME", p.Path("config"))
	first := &ours{t: t, bin: bin, root: p.Path("first")}
	first.run("build", "-q", "--push", "-t", mirror+"/cache/team/app:1", dir)
	first.run("build", "-q", "--push", "-t", mirror+"/team/other:1", "--label", "a=b", dir)
	first.run("build", "-q", "--push", "-t", origin+"/team/app:2", "--label", "a=c", dir)
	n := 0
	pull := func(name string) (string, int) {
		n++
		_, said, code := (&ours{t: t, bin: bin, root: p.Path(fmt.Sprint("store", n))}).talk("pull", "-q", name)
		return said, code
	}

	write(t, filepath.Dir(config), "registries.conf", fmt.Sprintf(`
[[registry]]
location = "camada.invalid"
[[registry.mirror]]
location = %[1]q
[[registry]]
location = %[2]q
[[registry.mirror]]
location = "127.0.0.1:1"
[[registry.mirror]]
location = "%[1]s/cache"
[[registry]]
location = "no.example"
blocked = true
`, mirror, origin))
	for _, name := range []string{"camada.invalid/team/other:1", origin + "/team/app:1", origin + "/team/app:2"} {
		if said, code := pull(name); code != 0 {
			t.Errorf("%s: %d, %s", name, code, said)
		}
	}
	said, code := pull(origin + "/team/app:3")
	for _, want := range []string{origin, mirror, "127.0.0.1:1", "404"} {
		if code != 1 || !strings.Contains(said, want) {
			t.Errorf("what nobody has: no %s in %d, %s", want, code, said)
		}
	}
	if said, code := pull("no.example/app"); code != 1 || !strings.Contains(said, "blocked in "+config) {
		t.Errorf("what is blocked: %d, %s", code, said)
	}

	write(t, filepath.Dir(config), "registries.conf", "")
	write(t, p.Path("config/containers/certs.d/camada.invalid"), "hosts.toml", fmt.Sprintf("[host.\"http://%s\"]\ncapabilities = [\"pull\", \"resolve\"]\n", mirror))
	if said, code := pull("camada.invalid/team/other:1"); code != 0 {
		t.Errorf("by hosts.toml: %d, %s", code, said)
	}
	write(t, p.Path("config/containers/certs.d/camada.invalid"), "hosts.toml", "rewrite = true")
	if said, code := pull("camada.invalid/team/other:1"); code != 1 || !strings.Contains(said, "the key rewrite is not supported") {
		t.Errorf("by a hosts.toml that is not understood: %d, %s", code, said)
	}
}
