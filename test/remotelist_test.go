package test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/camada/camada/internal/peers"
	"github.com/google/go-cmp/cmp"
)

// TestRemoteLists lists and looks at what is in a registry, and compares with what docker's client says of it.
func TestRemoteLists(t *testing.T) {
	p := peers.Need(t, "docker-registry", "busybox")
	c := &ours{t: t, bin: shipped(t), root: p.Path("store")}
	host := p.StartDistribution("docker-registry", "")
	dir := system(t, p.Path("ctx"))
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY rootfs/etc /etc\n")
	app := host + "/team/app"
	c.run("build", "-q", "--push", "-t", app+":1.2.0", "-t", app+":v1.10.0", "-t", app+":2.0.0-rc.1", "-t", app+":latest", "--platform", "linux/amd64", dir)
	c.run("build", "-q", "--push", "-t", app+":multi", "-t", host+"/other/app:1", "--platform", "linux/amd64,linux/arm64", dir)
	for _, tc := range []struct {
		args string
		want string
	}{
		{"", "1.2.0 2.0.0-rc.1 latest multi v1.10.0"},
		{"--sort version", "latest multi 1.2.0 v1.10.0 2.0.0-rc.1"},
		{"--newest 2", "2.0.0-rc.1 v1.10.0"},
		{"--filter semver=^1 --sort version -r", "v1.10.0 1.2.0"},
		{"--filter pattern=*.* --filter pattern=l*", "1.2.0 2.0.0-rc.1 latest v1.10.0"},
		{"--filter semver=9", ""},
	} {
		if got := strings.Join(strings.Fields(c.run(append([]string{"tags", app}, strings.Fields(tc.args)...)...)), " "); got != tc.want {
			t.Errorf("tags %s: %s; want %s", tc.args, got, tc.want)
		}
	}
	if got := c.run("tags", "--format", "{{.Name}}", "--newest", "1", app); got != app+":2.0.0-rc.1" {
		t.Error(got)
	}
	for _, args := range [][]string{{app + ":1"}, {"--filter", "x=1", app}, {"--sort", "size", app}, {host + "/none"}} {
		if _, said, code := c.talk(append([]string{"tags"}, args...)...); code != 1 {
			t.Errorf("tags %q: %d, %s", args, code, said)
		}
	}

	if got := strings.Fields(c.run("search", "--format", "{{.Name}}", host+"/tea")); !slices.Equal(got, []string{app}) {
		t.Errorf("search: %q", got)
	}
	if got := strings.Fields(c.run("search", "--format", "{{.Name}}", host+"/")); !slices.Equal(got, []string{host + "/other/app", app}) {
		t.Errorf("search: %q", got)
	}
	if got := c.run("search", "--limit", "1", host+"/"); !strings.HasPrefix(got, "NAME ") || strings.Count(got, host) != 1 {
		t.Errorf("search: %s", got)
	}

	for _, name := range []string{app + ":1.2.0", app + ":multi"} {
		raw, _, _ := c.talk("manifest", "inspect", "--raw", name)
		sum := sha256.Sum256([]byte(raw))
		if d := "sha256:" + hex.EncodeToString(sum[:]); !strings.Contains(c.run("images", "--digests", strings.TrimSuffix(name, ":1.2.0")), d) {
			t.Errorf("%s: the raw bytes have the digest %s", name, d)
		}
	}
	if got := c.run("manifest", "inspect", "--platform", "linux/arm64", "--format", "{{.config.mediaType}}", app+":multi"); !strings.Contains(got, "config") {
		t.Errorf("for a platform: %s", got)
	}
	if _, said, code := c.talk("manifest", "inspect", app+":none"); code != 1 || !strings.Contains(said, "no such manifest: "+app+":none") {
		t.Errorf("what is not there: %d, %s", code, said)
	}
	docker, err := exec.LookPath("docker")
	if err != nil {
		t.Skip("docker is not installed: its words are not compared")
	}
	t.Setenv("DOCKER_CONFIG", p.Path("docker"))
	for _, args := range [][]string{{app + ":1.2.0"}, {app + ":multi"}, {"-v", app + ":1.2.0"}, {"-v", app + ":multi"}} {
		args = append([]string{"manifest", "inspect", "--insecure"}, args...)
		theirs, err := exec.Command(docker, args...).Output()
		if err != nil {
			t.Errorf("docker %q: %v", args, err)
			continue
		}
		if d := cmp.Diff(parsed(t, theirs), parsed(t, []byte(c.run(args...)))); d != "" {
			t.Errorf("%q: %s", args, d)
		}
	}
}

// parsed reads JSON.
func parsed(t *testing.T, data []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(data, &v); err != nil {
		t.Errorf("%v: %s", err, data)
	}
	return v
}

// TestSearch asks a server that answers as docker.io does.
func TestSearch(t *testing.T) {
	var last atomic.Value
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last.Store(r.URL.String())
		fmt.Fprint(w, `{"num_results": 2, "results": [{"name": "debian", "description": "Debian is a system`+strings.Repeat(" x", 50)+`", "star_count": 5000, "is_official": true},
			{"name": "who/debian", "description": "", "star_count": 3}]}`)
	}))
	defer hub.Close()
	config := t.TempDir()
	write(t, config, "containers/certs.d/index.docker.io/hosts.toml", "server = \""+hub.URL+"\"\n")
	t.Setenv("XDG_CONFIG_HOME", config)
	c := &ours{t: t, bin: shipped(t), root: t.TempDir()}
	out := c.run("search", "debian")
	if asked := last.Load(); asked != "/v1/search?n=25&q=debian" || !strings.Contains(out, "5000    [OK]") || strings.Contains(out, strings.Repeat(" x", 30)) {
		t.Errorf("asked %s:\n%s", asked, out)
	}
	out = c.run("search", "-f", "stars=10", "--limit", "7", "--format", "{{.Name}} {{.StarCount}} {{.IsOfficial}}", "docker.io/who/debian")
	if asked := last.Load(); out != "debian 5000 true" || asked != "/v1/search?n=7&q=who%2Fdebian" {
		t.Errorf("asked %s: %s", asked, out)
	}
	for _, args := range [][]string{{"--limit", "101", "x"}, {"-f", "stars=x", "x"}, {"-f", "color=red", "x"}, {"127.0.0.1:1/x"}} {
		if _, said, code := c.talk(append([]string{"search"}, args...)...); code != 1 {
			t.Errorf("search %q: %d, %s", args, code, said)
		}
	}
}
