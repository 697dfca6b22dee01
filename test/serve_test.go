package test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/camada/camada/internal/peers"
)

// served is a `camada serve` that runs.
type served struct {
	cmd *exec.Cmd
	// host is its HOST:PORT.
	host string
}

// startServe starts camada serve over a directory and waits until it says where it is. The test ends it.
func startServe(t *testing.T, bin, data, addr string, flags ...string) *served {
	t.Helper()
	cmd := exec.Command(bin, append([]string{"serve", "--addr", addr, "--data", data}, flags...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	// What is served may be an address as well.
	_, at, _ := strings.Cut(strings.TrimSpace(line), " at ")
	_, host, ok := strings.Cut(at, "://")
	if err != nil || !ok {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("camada serve says %q: %v", line, err)
	}
	s := &served{cmd: cmd, host: host}
	t.Cleanup(func() { s.end(syscall.SIGTERM) })
	return s
}

// end sends a signal and waits for the end, once.
func (s *served) end(sig os.Signal) {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Signal(sig)
		_ = s.cmd.Wait()
	}
}

// client is a tool that pulls an image from a registry and pushes it again under another name.
type client struct {
	name     string
	programs []string
	// start starts a daemon; nil is none.
	start func(*peers.Peers)
	// through pulls from and pushes to; user is NAME:PASSWORD or "".
	through func(p *peers.Peers, from, to, user string)
}

// clients are those of others; context is the context of the image, for those that build.
func clients(context string) []client {
	return []client{
		{"docker", []string{"dockerd", "docker", "runc"}, (*peers.Peers).StartDocker, func(p *peers.Peers, from, to, _ string) {
			p.Run("docker", "pull", "-q", from)
			p.Run("docker", "tag", from, to)
			p.Run("docker", "push", "-q", to)
		}},
		{"podman", []string{"podman"}, nil, func(p *peers.Peers, from, to, _ string) {
			p.Run("podman", "pull", "-q", "--tls-verify=false", from)
			p.Run("podman", "push", "-q", "--tls-verify=false", from, to)
		}},
		{"skopeo", []string{"skopeo"}, nil, func(p *peers.Peers, from, to, _ string) {
			p.Run("skopeo", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+from, "oci:"+p.Path("layout")+":x")
			p.Run("skopeo", "copy", "-q", "--dest-tls-verify=false", "oci:"+p.Path("layout")+":x", "docker://"+to)
		}},
		{"crane", []string{"crane"}, nil, func(p *peers.Peers, from, to, _ string) {
			p.Run("crane", "validate", "--insecure", "--remote", from)
			p.Run("crane", "copy", "--insecure", from, to)
		}},
		{"oras", []string{"oras"}, nil, func(p *peers.Peers, from, to, user string) {
			flags := []string{"--from-insecure", "--to-insecure"}
			if user == "" {
				flags = []string{"--from-plain-http", "--to-plain-http"}
			}
			p.Run("oras", append([]string{"copy", from, to}, flags...)...)
		}},
		{"sync", []string{"skopeo"}, nil, func(p *peers.Peers, from, to, _ string) {
			p.Run("skopeo", "sync", "--src-tls-verify=false", "--src", "docker", "--dest", "dir", from, p.Path("mirror"))
			p.Run("skopeo", "sync", "--dest-tls-verify=false", "--src", "dir", "--dest", "docker", p.Path("mirror"), strings.TrimSuffix(to, "/app:1"))
		}},
		{"regctl", nil, nil, throughRegctl},
		{"cosign", []string{"cosign"}, nil, throughCosign},
		{"containerd", []string{"containerd", "ctr", "runc"}, (*peers.Peers).StartContainerd, func(p *peers.Peers, from, to, user string) {
			flags := []string{"--plain-http"}
			if user != "" {
				host, _, _ := strings.Cut(from, "/")
				dir := filepath.Join(p.Path("hosts"), host)
				if err := os.MkdirAll(dir, 0o700); err != nil {
					panic(err)
				}
				p.Write(filepath.Join("hosts", host, "hosts.toml"), "server = \"https://"+host+"\"\n[host.\"https://"+host+"\"]\n  skip_verify = true\n")
				flags = []string{"--hosts-dir", p.Path("hosts"), "--user", user}
			}
			if strings.Contains(p.Run("ctr", "images", "pull", "--help"), "--local") { // since version 2 the daemon would do it, which has a configuration of its own
				flags = append(flags, "--local")
			}
			p.Run("ctr", append(append([]string{"images", "pull", "--snapshotter", "native"}, flags...), from)...)
			p.Run("ctr", append(append([]string{"images", "push"}, flags...), to, from)...)
		}},
		{"buildkit", []string{"buildkitd", "buildctl"}, (*peers.Peers).StartBuildkit, func(p *peers.Peers, _, to, _ string) {
			cache := "type=registry,registry.insecure=true,ref=" + to + "-cache"
			build := []string{"--progress", "plain", "--frontend", "dockerfile.v0", "--local", "context=" + context, "--local", "dockerfile=" + context,
				"--output", "type=image,push=true,registry.insecure=true,name=" + to}
			p.Run("buildctl", append([]string{"build", "--export-cache", cache + ",mode=max"}, build...)...)
			p.Run("buildctl", "prune", "--all")
			_, said, err := p.Talk("buildctl", append([]string{"build", "--import-cache", cache}, build...)...)
			if n := strings.Count(said, " CACHED\n"); err != nil || n == 0 {
				panic(fmt.Sprintf("with the cache that was exported %d steps are cached: %v\n%s", n, err, said))
			}
		}},
	}
}

// throughRegctl copies an image, and something that is attached to it, with regclient's command.
func throughRegctl(p *peers.Peers, from, to, user string) {
	host, _, _ := strings.Cut(from, "/")
	regctl := func(args ...string) string {
		security := "insecure"
		if user == "" {
			security = "disabled"
		}
		return p.Run(p.Regctl(), append([]string{"--host", "reg=" + host + ",tls=" + security}, args...)...)
	}
	p.Write("notes.txt", "notes\n")
	regctl("image", "copy", from, to)
	regctl("artifact", "put", "--artifact-type", "application/vnd.test.notes", "--file", p.Path("notes.txt"), "--subject", to)
	if got := regctl("artifact", "list", to); !strings.Contains(got, "application/vnd.test.notes") {
		panic("it finds nothing attached: " + got)
	}
	copied := strings.TrimSuffix(to, ":1") + ":2"
	regctl("image", "copy", "--referrers", to, copied)
	if got := regctl("tag", "ls", strings.TrimSuffix(to, ":1")); got != "1\n2" {
		panic("it lists " + got)
	}
	regctl("tag", "rm", copied)
	if a, b := regctl("image", "digest", from), regctl("image", "digest", to); a != b {
		panic(a + " became " + b)
	}
}

// throughCosign signs an image, attests something about it, and copies it with both, with the command of sigstore.
func throughCosign(p *peers.Peers, from, to, user string) {
	security := "--allow-insecure-registry"
	if user == "" {
		security = "--allow-http-registry"
	}
	cosign := func(verb string, args ...string) string {
		return p.Run("cosign", append([]string{verb, security}, args...)...)
	}
	key, public := p.Path("cosign.key"), p.Path("cosign.pub")
	p.Run("cosign", "generate-key-pair", "--output-key-prefix", p.Path("cosign"))
	p.Write("predicate.json", `{"tried": true}`)
	digest := p.Run("cosign", "triangulate", security, from)
	_, digest, _ = strings.Cut(digest, ":sha256-")
	pinned := strings.TrimSuffix(from, ":1") + "@sha256:" + strings.TrimSuffix(digest, ".sig")
	cosign("sign", "--key", key, "--tlog-upload=false", "--yes", pinned)
	cosign("attest", "--key", key, "--tlog-upload=false", "--yes", "--type", "custom", "--predicate", p.Path("predicate.json"), pinned)
	cosign("copy", from, to)
	for _, image := range []string{from, to} {
		cosign("verify", "--key", public, "--insecure-ignore-tlog", image)
		cosign("verify-attestation", "--key", public, "--insecure-ignore-tlog", "--type", "custom", image)
	}
}

// TestServe lets everybody's tools push to camada serve and pull from it, with and without TLS and users.
func TestServe(t *testing.T) {
	need := peers.Need(t, "busybox", "openssl")
	t.Setenv("COSIGN_PASSWORD", "of the key")
	bin := shipped(t)
	dir := system(t, need.Path("ctx"))
	write(t, dir, "Dockerfile", cachedDockerfile)
	need.Run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
		"-addext", "subjectAltName=IP:127.0.0.1", "-keyout", need.Path("key.pem"), "-out", need.Path("cert.pem"))
	need.Write("users", users)
	need.Write("registry.yaml", "users: users\ntls: {certificate: cert.pem, key: key.pem}\n")
	for _, tc := range []struct {
		name, user string
		flags      []string
	}{
		{"open", "", nil},
		{"users and TLS", "tester:secret pass", []string{"--config", need.Path("registry.yaml")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := startServe(t, bin, t.TempDir(), "127.0.0.1:0", tc.flags...)
			config := filepath.Join(t.TempDir(), "config.json")
			if err := os.WriteFile(config, []byte(`{"auths": {"`+s.host+`": {"auth": "`+base64.StdEncoding.EncodeToString([]byte(tc.user))+`"}}}`), 0o600); err != nil {
				t.Fatal(err)
			}
			if tc.user != "" {
				t.Setenv("DOCKER_CONFIG", filepath.Dir(config))
				t.Setenv("REGISTRY_AUTH_FILE", config)
				t.Setenv("SSL_CERT_FILE", need.Path("cert.pem")) // buildkitd has no other way to get a token
			}
			from := s.host + "/team/app:1"
			first := &ours{t: t, bin: bin, root: filepath.Join(t.TempDir(), "first")}
			first.run("build", "-q", "--push", "-t", from, dir)
			for _, c := range clients(dir) {
				t.Run(c.name, func(t *testing.T) {
					p := peers.Need(t, c.programs...)
					if c.start != nil {
						c.start(p)
					}
					to := s.host + "/" + c.name + "/app:1"
					c.through(p, from, to, tc.user)
					last := &ours{t: t, bin: bin, root: p.Path("last")}
					if out := last.run("run", "--rm", "--network", "none", to); out != "made\nran" {
						t.Errorf("what it pushed prints %q", out)
					}
				})
			}
			t.Run("chart", func(t *testing.T) { chart(t, first.in(t), s.host, tc.user) })
			if tc.user == "" {
				return
			}
			t.Setenv("DOCKER_CONFIG", t.TempDir())
			t.Setenv("REGISTRY_AUTH_FILE", "")
			if _, said, code := first.talk("pull", "-q", from); code == 0 || strings.Contains(said, "secret pass") {
				t.Errorf("without credentials: exit code %d: %s", code, said)
			}
		})
	}
}

// chart pushes what helm keeps in registries (helm's documentation, "Use OCI-based registries"), and pulls it.
func chart(t *testing.T, c *ours, host, user string) {
	p := peers.Need(t, "oras", "tar")
	const config, archive = "application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	write(t, p.Path("files/app"), "Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.2.3+build\n")
	p.Run("tar", "-C", p.Path("files"), "-czf", p.Path("files/app-1.2.3.tgz"), "app")
	write(t, p.Path("files"), "config.json", `{"apiVersion":"v2","name":"app","version":"1.2.3+build"}`)
	t.Chdir(p.Path("files"))
	name, flag := host+"/charts/app:1.2.3_build", "--insecure" // a plus has no place in a tag
	if user == "" {
		flag = "--plain-http"
	}
	p.Run("oras", "push", flag, "--config", "config.json:"+config, name, "app-1.2.3.tgz:"+archive)
	raw := c.run("manifest", "inspect", "--raw", name)
	for _, want := range []string{config, archive} {
		if !strings.Contains(raw, want) {
			t.Errorf("no %s in %s", want, raw)
		}
	}
	want, err := os.ReadFile("app-1.2.3.tgz")
	if err != nil {
		t.Fatal(err)
	}
	c.run("copy", "docker://"+name, "docker://"+host+"/copied/app:1.2.3_build")
	c.run("artifact", "pull", "-o", p.Path("ours"), host+"/copied/app:1.2.3_build")
	p.Run("oras", "pull", flag, "-o", p.Path("theirs"), name)
	for _, dir := range []string{"ours", "theirs"} {
		if got, err := os.ReadFile(p.Path(dir + "/app-1.2.3.tgz")); err != nil || string(got) != string(want) {
			t.Errorf("%s: %d bytes of %d, %v", dir, len(got), len(want), err)
		}
	}
}

// TestServeKilled kills a registry under load, again and again: what it acknowledged is there afterwards, and whole.
func TestServeKilled(t *testing.T) {
	p := peers.Need(t, "busybox", "crane")
	bin := shipped(t)
	dir := system(t, p.Path("ctx"))
	first := &ours{t: t, bin: bin, root: p.Path("first")}
	const images = 3
	for i := range images {
		write(t, dir, "Dockerfile", fmt.Sprintf("FROM scratch\nCOPY rootfs /\nRUN head -c %d /dev/urandom > /random\n", 1000+i*3_000_000))
		first.run("build", "-q", "--output", fmt.Sprintf("type=oci,tar=false,dest=%s", p.Path(fmt.Sprint("layout", i))), dir)
	}
	rounds := 5
	if os.Getenv("CAMADA_TEST_LONG") != "" {
		rounds = 100
	}
	data, addr := p.Path("data"), "127.0.0.1:0"
	p.Write("registry.yaml", "sweep: {grace: 1s, every: 1s}\n")
	var mu sync.Mutex
	var acknowledged []string
	for round := range rounds {
		s := startServe(t, bin, data, addr, "--config", p.Path("registry.yaml"))
		addr = s.host
		var all sync.WaitGroup
		for w := range images {
			all.Go(func() {
				for i := 0; ; i++ {
					name := fmt.Sprintf("%s/repo%d/app:%d-%d", s.host, w, round, i)
					if _, _, err := p.Talk("crane", "push", "--insecure", p.Path(fmt.Sprint("layout", w)), name); err != nil {
						return
					}
					mu.Lock()
					acknowledged = append(acknowledged, name)
					mu.Unlock()
				}
			})
		}
		time.Sleep(time.Second + rand.N(time.Second))
		s.end(syscall.SIGKILL)
		all.Wait()
	}
	s := startServe(t, bin, data, addr, "--config", p.Path("registry.yaml"))
	if len(acknowledged) == 0 {
		t.Error("no push was acknowledged")
	}
	for _, name := range acknowledged {
		p.Run("crane", "digest", "--insecure", name)
	}
	for w := range images { // one of each repository is read to its last byte; the scrub reads all
		for _, name := range acknowledged {
			if strings.Contains(name, fmt.Sprintf("/repo%d/", w)) {
				p.Run("crane", "validate", "--insecure", "--remote", name)
				break
			}
		}
	}
	var report struct {
		Tags, Problems int
		Found          []map[string]string
	}
	ask(t, "http://"+s.host+"/v2/_camada/registry/scrub", &report)
	if report.Problems != 0 || report.Tags < len(acknowledged) {
		t.Errorf("%d tags of %d; problems: %v", report.Tags, len(acknowledged), report.Found)
	}
}

// ask sends a POST and decodes the answer.
func ask(t *testing.T, url string, v any) {
	t.Helper()
	resp, err := http.Post(url, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", url, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		t.Fatal(err)
	}
}

// TestShipKilled kills pushes and pulls at any moment: the next one goes on, and nothing that is there is damaged.
func TestShipKilled(t *testing.T) {
	p := peers.Need(t, "busybox", "crane")
	bin := shipped(t)
	dir := system(t, p.Path("ctx"))
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY rootfs /\nRUN head -c 20000000 /dev/urandom > /random\nRUN head -c 5000000 /dev/urandom > /more\nCMD [\"echo\", \"whole\"]\n")
	s := startServe(t, bin, p.Path("data"), "127.0.0.1:0")
	rounds := 8
	if os.Getenv("CAMADA_TEST_LONG") != "" {
		rounds = 100
	}
	first, last := &ours{t: t, bin: bin, root: p.Path("first")}, &ours{t: t, bin: bin, root: p.Path("last")}
	first.run("build", "-q", "-t", "app", dir)
	killed := func(c *ours, longest time.Duration, args ...string) {
		cmd := exec.Command(bin, args...)
		cmd.Env = append(os.Environ(), "CAMADA_ROOT="+c.root)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(longest))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	for i := range rounds {
		name := fmt.Sprintf("%s/app:%d", s.host, i%2)
		first.run("tag", "app", name)
		killed(first, 300*time.Millisecond, "push", "-q", name)
		killed(last, 600*time.Millisecond, "pull", "-q", name)
		if out := last.run("fsck"); !strings.Contains(out, "no problems") {
			t.Fatal(out)
		}
	}
	name := s.host + "/app:0"
	first.run("push", "-q", name)
	p.Run("crane", "validate", "--insecure", "--remote", name)
	last.run("pull", "-q", name)
	for _, c := range []*ours{first, last} {
		if out := c.run("run", "--rm", "--network", "none", name); out != "whole" {
			t.Errorf("it prints %q", out)
		}
		if out := c.run("fsck"); !strings.Contains(out, "no problems") {
			t.Error(out)
		}
	}
	last.run("rmi", "-f", name)
	last.run("gc")
	var report struct{ Problems int }
	ask(t, "http://"+s.host+"/v2/_camada/registry/scrub", &report)
	if report.Problems != 0 {
		t.Errorf("the registry has %d problems", report.Problems)
	}
}
