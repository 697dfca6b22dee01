package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/internal/peers"
)

// TestRemoteHistory looks at the history of tags in a registry, and goes back in it, as with tags of the store.
func TestRemoteHistory(t *testing.T) {
	p := peers.Need(t, "busybox", "crane")
	bin := shipped(t)
	c := &ours{t: t, bin: bin, root: p.Path("store")}
	dir := system(t, p.Path("ctx"))
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY rootfs/etc /etc\n")
	p.Write("users", users)
	p.Write("registry.yaml", "users: users\nrules: [{repositories: '**', users: tester, actions: [pull, push, delete]}]\n")
	s := startServe(t, bin, p.Path("data"), "127.0.0.1:0", "--config", p.Path("registry.yaml"))
	t.Setenv("DOCKER_CONFIG", p.Path("config"))
	t.Setenv("REGISTRY_AUTH_FILE", "")
	crane := peers.Need(t, "crane") // with the credentials
	c.run("login", "-u", "tester", "-p", "secret pass", s.host)
	name := s.host + "/app:1"
	digest := map[string]string{}
	for _, version := range []string{"a", "b", "c"} {
		c.run("build", "-q", "--push", "-t", name, "--label", "version="+version, dir)
		digest[version] = strings.Fields(c.run("images", "--digests", "--format", "{{.Digest}}", name))[0]
	}
	at := "docker://" + name
	log := func(n int) string {
		t.Helper()
		out := c.run("log", "--no-trunc", "--format", "{{.Verb}} {{.Digest}} {{.Before}} {{.Note}}", at)
		lines := strings.Split(out, "\n")
		if len(lines) != n {
			t.Fatalf("%d moves, not %d:\n%s", len(lines), n, out)
		}
		return strings.TrimSpace(lines[0])
	}
	if got, want := log(3), fmt.Sprintf("push %s %s by tester", digest["c"], digest["b"]); got != want {
		t.Errorf("%q, not %q", got, want)
	}
	if got := c.run("log", at); !strings.Contains(got, name+"@{2}") || !strings.Contains(got, "ENTRY") {
		t.Error(got)
	}
	for i, tc := range []struct {
		args []string
		is   string
	}{
		{[]string{"rollback", at}, "b"},
		{[]string{"rollback", at}, "a"}, // one by one, as in the store
		{[]string{"rollback", "--to", digest["c"], at}, "c"},
		{[]string{"rollback", "--to", digest["a"][7:19], at}, "a"},
		{[]string{"rollback", "--to", digest["b"][:20], at}, "b"},
	} {
		if got, want := c.run(tc.args...), at+" is "+digest[tc.is]+" again"; got != want {
			t.Errorf("%d: %q, not %q", i, got, want)
		}
		if got := crane.Run("crane", "digest", "--insecure", name); got != digest[tc.is] {
			t.Errorf("%d: crane sees %s", i, got)
		}
	}
	if got := c.run("untag", at); got != "Untagged: "+name {
		t.Error(got)
	}
	if _, err := crane.Try("crane", "digest", "--insecure", name); err == nil {
		t.Error("it is still there")
	}
	c.run("rollback", at)
	if got := crane.Run("crane", "digest", "--insecure", name); got != digest["b"] {
		t.Errorf("crane sees %s", got)
	}
	if got, want := log(10), fmt.Sprintf("restore %s  by tester", digest["b"]); got != want {
		t.Errorf("%q, not %q", got, want)
	}
	other := p.StartRegistry() + "/app:1"
	c.run("push", "-q", name, other)
	for _, tc := range []struct{ args, want string }{
		{"rollback --to sha256:1234567 " + at, "it never was"},
		{"rollback --to 12 " + at, "first 6 digits"},
		{"rollback " + at + " 100", "it can go back"},
		{"rollback --to 1234567 " + at + " 2", "not both"},
		{"rollback " + at + "@" + digest["a"], "a digest has no history"},
		{"log docker://" + s.host + "/app:none", "no tag none"},
		{"log docker://" + other, "registries of camada serve do"},
		{"rollback docker://" + other, "registries of camada serve do"},
		{"log " + s.host + "/elsewhere:1", "the registry's is docker://" + s.host + "/elsewhere:1"},
		{"untag docker://" + s.host + "/app:none", "404"},
	} {
		if _, said, code := c.talk(strings.Fields(tc.args)...); code == 0 || !strings.Contains(said, tc.want) {
			t.Errorf("%s: exit code %d: %s; want %q", tc.args, code, said, tc.want)
		}
	}
	// A tag of the store goes back by a digest, too.
	c.run("rollback", "--to", digest["a"][7:19], name)
	if got := strings.Fields(c.run("images", "--digests", "--format", "{{.Digest}}", name))[0]; got != digest["a"] {
		t.Errorf("the store's is %s, not %s", got, digest["a"])
	}
	c.run("rollback", "--to", digest["b"], name)
	if got := strings.Fields(c.run("images", "--digests", "--format", "{{.Digest}}", name))[0]; got != digest["b"] {
		t.Errorf("the store's is %s, not %s", got, digest["b"])
	}
}

// TestPushPlaces pushes to files and directories, and under other names, and pulls from there.
func TestPushPlaces(t *testing.T) {
	p := peers.Need(t, "busybox", "crane", "skopeo")
	bin := shipped(t)
	c := &ours{t: t, bin: bin, root: p.Path("store")}
	dir := system(t, p.Path("ctx"))
	write(t, dir, "Dockerfile", cachedDockerfile)
	c.run("build", "-q", "-t", "team/app:1", dir)
	digest := strings.Fields(c.run("images", "--digests", "--format", "{{.Digest}}", "team/app:1"))[0]
	host := p.StartRegistry()
	t.Chdir(p.Path("ctx"))
	for i, tc := range []struct {
		push       []string
		pull, name string
		// changed is true where the format has no manifest.
		changed bool
	}{
		{push: []string{"team/app:1", "docker-archive:a.tar"}, pull: "docker-archive:a.tar", name: "docker.io/team/app:1", changed: true},
		{push: []string{"team/app:1", "docker-archive:b.tar:other:2"}, pull: "docker-archive:b.tar:other:2", name: "docker.io/library/other:2", changed: true},
		{push: []string{"docker-archive:c.tar:team/app:1"}, pull: "docker-archive:c.tar", name: "docker.io/team/app:1", changed: true},
		{push: []string{"team/app:1", "oci-archive:d.tar"}, pull: "oci-archive:d.tar", name: "docker.io/team/app:1"},
		{push: []string{"team/app:1", "oci:e"}, pull: "oci:e", name: "docker.io/team/app:1"},
		{push: []string{"oci:./f:team/app:1"}, pull: "oci:f", name: "docker.io/team/app:1"},
		{push: []string{"team/app:1", "oci:g:5"}, pull: "oci:g:5", name: "docker.io/library/loaded:5"},
		{push: []string{"team/app:1", host + "/app:1"}, pull: host + "/app:1", name: host + "/app:1"},
		{push: []string{"team/app:1", "docker://" + host + "/app:2"}, pull: "docker://" + host + "/app:2", name: host + "/app:2"},
	} {
		t.Run(strings.Join(tc.push, " "), func(t *testing.T) {
			c := c.in(t)
			if out := c.run(append([]string{"push"}, tc.push...)...); !tc.changed && !strings.Contains(out, digest) {
				t.Errorf("push says %q, not %s", out, digest)
			}
			last := &ours{t: t, bin: bin, root: p.Path(fmt.Sprint("last", i))}
			if got := last.run("pull", "-q", tc.pull); got != tc.name {
				t.Errorf("it is called %q, not %q", got, tc.name)
			}
			if got := strings.Fields(last.run("images", "--digests", "--format", "{{.Digest}}", tc.name))[0]; !tc.changed && got != digest {
				t.Errorf("it is %s, not %s", got, digest)
			}
			if out := last.run("run", "--rm", "--network", "none", tc.name); out != "made\nran" {
				t.Errorf("it prints %q", out)
			}
			if out := last.run("fsck"); !strings.Contains(out, "no problems") {
				t.Error(out)
			}
		})
	}
	p.Run("skopeo", "inspect", "docker-archive:"+filepath.Join(p.Path("ctx"), "a.tar"))
	for _, tc := range []struct{ args, want string }{
		{"push docker-archive:x.tar", "say which image"},
		{"push none:1 docker-archive:x.tar", "no such image"},
		{"push team/app:1 " + host + "/app@" + digest, "a digest cannot be tagged"},
		{"push --delta=a team/app:1 " + host + "/app:3", "give no DESTINATION"},
		{"pull docker-archive:x.tar", "there is no file"},
		{"pull oci:./none", "none"},
	} {
		if _, said, code := c.talk(strings.Fields(tc.args)...); code == 0 || !strings.Contains(said, tc.want) {
			t.Errorf("%s: exit code %d: %s; want %q", tc.args, code, said, tc.want)
		}
	}
	if _, err := os.Stat("x.tar"); err == nil {
		t.Error("there is a file of a push that failed")
	}
}
