package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/internal/peers"
)

// TestLogin logs in to a registry that wants a password, and uses what others keep, and they what camada keeps.
func TestLogin(t *testing.T) {
	p := peers.Need(t, "docker-registry", "skopeo", "busybox")
	bin := shipped(t)
	p.Write("users", users)
	host := p.StartDistribution("docker-registry", p.Path("users"))
	dir := system(t, p.Path("ctx"))
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY rootfs/etc /etc\n")
	c := &ours{t: t, bin: bin, root: p.Path("store")}
	for _, name := range []string{"docker", "containers"} {
		t.Run(name, func(t *testing.T) {
			c := &ours{t: t, bin: bin, root: c.root}
			p := p.In(t)
			t.Setenv("DOCKER_CONFIG", p.Path(name))
			t.Setenv("REGISTRY_AUTH_FILE", "")
			t.Setenv("XDG_RUNTIME_DIR", "")
			t.Setenv("HOME", p.Path("home"))
			file := p.Path(name + "/config.json")
			if name == "containers" {
				file = p.Path(name + "/auth.json")
				t.Setenv("REGISTRY_AUTH_FILE", file)
			}
			image := host + "/" + name + "/app:1"
			if _, said, code := c.talk("build", "-q", "--push", "-t", image, dir); code == 0 || !strings.Contains(said, "401 Unauthorized") {
				t.Errorf("a push without a login: %d, %s", code, said)
			}
			_, said, code := c.feed("wrong\n", "login", "-u", "tester", "--password-stdin", host)
			if code != 1 || strings.Contains(said, "wrong") {
				t.Errorf("a wrong password: %d, %s", code, said)
			}
			if _, err := os.Stat(file); err == nil {
				t.Error("a wrong password is kept")
			}
			out, said, code := c.feed("secret pass\n", "login", "-u", "tester", "--password-stdin", "http://"+host+"/v2/")
			if code != 0 || out != "Login Succeeded" || !strings.Contains(said, file) {
				t.Errorf("login: %d, %q, %s", code, out, said)
			}
			if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
				t.Error(info, err)
			}
			c.run("build", "-q", "--push", "-t", image, dir)
			p.Run("skopeo", "inspect", "--tls-verify=false", "--authfile", file, "docker://"+image)
			if out, said, code := c.talk("login", host); code != 0 || out != "Login Succeeded" || !strings.Contains(said, "[Username: tester]") {
				t.Errorf("login with what is kept: %d, %q, %s", code, out, said)
			}
			if out := c.run("logout", host); out != "Removing login credentials for "+host {
				t.Errorf("logout: %q", out)
			}
			if _, said, code := c.talk("login", host); code != 1 || !strings.Contains(said, "non TTY") {
				t.Errorf("login without anything: %d, %s", code, said)
			}
			// What skopeo keeps is found.
			p.Run("skopeo", "login", "--tls-verify=false", "--authfile", file, "-u", "tester", "-p", "secret pass", host)
			c.run("pull", "-q", image)
			c.run("logout", host)
			if data, err := os.ReadFile(file); err != nil || strings.Contains(string(data), host) {
				t.Errorf("after logout %s has %s, %v", filepath.Base(file), data, err)
			}
		})
	}
}

// TestLoginFlags are those of docker, with its words.
func TestLoginFlags(t *testing.T) {
	bin := shipped(t)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	c := &ours{t: t, bin: bin, root: t.TempDir()}
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--password-stdin"}, 1, "the --password-stdin option requires --username to be set"},
		{[]string{"--password-stdin", "-u", "a", "-p", "b"}, 1, "cannot specify both --password and --password-stdin"},
		{[]string{"--password-stdin", "-u", "a"}, 1, "standard input has no password"},
		{[]string{"a", "b"}, 125, "at most 1 argument"},
		{[]string{"under_score.lan"}, 1, "is no registry"},
		{[]string{"-u", "a", "-p", "hunter2", "127.0.0.1:1"}, 1, "WARNING! Using --password via the CLI is insecure. Use --password-stdin."},
	} {
		if _, said, code := c.talk(append([]string{"login"}, tc.args...)...); code != tc.code || !strings.Contains(said, tc.want) || strings.Contains(said, "hunter2") {
			t.Errorf("login %q: %d, %s", tc.args, code, said)
		}
	}
}
