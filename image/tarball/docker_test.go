package tarball_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/image/tarball"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// startDocker starts a Docker daemon of our own, without a network, and stops it
// at the end of the test.
func (p *peers) startDocker() {
	p.t.Helper()
	config, err := json.Marshal(map[string]any{
		"data-root": p.path("data"), "exec-root": p.path("exec"), "pidfile": p.path("pid"),
		"hosts": []string{"unix://" + p.path("sock")}, "storage-driver": "vfs",
		"bridge": "none", "iptables": false, "ip6tables": false,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(p.path("docker.json"), config, 0o600); err != nil {
		p.t.Fatal(err)
	}
	log, err := os.Create(p.path("docker.log"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("dockerd", "--config-file", p.path("docker.json"))
	cmd.Stdout, cmd.Stderr = log, log
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
			p.t.Error("dockerd does not end")
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
		_ = exec.Command("umount", "-l", p.path("data")).Run()
	})
	p.docker = "unix://" + p.path("sock")
	for range 150 {
		if exec.Command("docker", "--host", p.docker, "version").Run() == nil {
			return
		}
		select {
		case <-ended:
			p.skipDocker("it ended")
		case <-time.After(200 * time.Millisecond):
		}
	}
	p.skipDocker("it does not answer")
}

// skipDocker skips: a machine may have no room for a daemon (no cgroups, no privileges).
func (p *peers) skipDocker(why string) {
	text, _ := os.ReadFile(p.path("docker.log"))
	p.t.Skipf("dockerd cannot be started here: %s: %s", why, text[max(0, len(text)-500):])
}

func TestDocker(t *testing.T) {
	p := need(t, "dockerd", "docker")
	p.startDocker()
	s := p.save()
	for _, format := range []tarball.Format{tarball.Combined, tarball.Docker} {
		t.Run("loads format "+string(format), func(t *testing.T) {
			p := &peers{t: t, dir: p.dir, docker: p.docker}
			p.run("docker", "load", "-i", s.paths[format])
			if got := p.run("docker", "image", "inspect", "--format", "{{.Id}}", "app:1"); got != "sha256:"+s.id {
				t.Errorf("docker has the image ID %s, want %s", got, s.id)
			}
			p.run("docker", "rmi", "app:1")
		})
	}
	t.Run("builds", func(t *testing.T) {
		p := &peers{t: t, dir: p.dir, docker: p.docker}
		dir := p.path("context")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\nENV X=y\nCOPY b /b\nCMD [\"/a\"]\n", "a": "a", "b": "b"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		t.Setenv("DOCKER_BUILDKIT", "0")
		p.run("docker", "build", "-t", "built:1", dir)
		p.run("docker", "save", "-o", p.path("built.tar"), "built:1")
		store, l := p.load(p.path("built.tar"))
		img, err := image.Open(context.Background(), store, l.Descriptor, ocispec.Platform{})
		if err != nil {
			t.Fatal(err)
		}
		if want := p.run("docker", "image", "inspect", "--format", "{{.Id}}", "built:1"); img.ID().String() != want {
			t.Errorf("image ID %s, want %s", img.ID(), want)
		}
		if h := img.History(); len(h) != 4 || h[0].Size != 0 || h[1].Size == 0 || h[2].Size != 0 || h[3].Size == 0 {
			t.Errorf("history %+v", h)
		}
	})
	t.Run("saves", func(t *testing.T) {
		p := &peers{t: t, dir: p.dir, docker: p.docker}
		if err := os.WriteFile(p.path("root.tar"), imagetest.Layer("file", "content"), 0o600); err != nil {
			t.Fatal(err)
		}
		want := p.run("docker", "import", "--change", "CMD /file", p.path("root.tar"), "made:1")
		p.run("docker", "tag", "made:1", "made:2")
		p.run("docker", "save", "-o", p.path("docker.tar"), "made:1", "made:2")
		store, l := p.load(p.path("docker.tar"))
		if got := id(t, store, l.Descriptor); "sha256:"+got != want {
			t.Errorf("image ID %s, want %s", got, want)
		}
		names := familiar(l)
		slices.Sort(names)
		if got := strings.Join(names, " "); got != "made:1 made:2" {
			t.Errorf("names %s", got)
		}
	})
}
