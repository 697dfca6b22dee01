package test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/camada/camada/internal/peers"
)

// TestUnderPodmanOfUser is TestUnderEngines for podman of an ordinary user.
func TestUnderPodmanOfUser(t *testing.T) {
	if os.Getenv("CAMADA_TEST_LONG") == "" {
		t.Skip("podman of an ordinary user waits long after run --rm: CAMADA_TEST_LONG=1")
	}
	asUser(t, place{subIDs: ranges}, func(u *user) {
		for _, program := range []string{"podman", "conmon"} {
			if _, err := exec.LookPath(program); err != nil {
				t.Skipf("%s is not installed", program)
			}
		}
		dir := u.context(filepath.Join(u.dir, "ctx"), "ctx", "Dockerfile", engineDockerfile)
		u.camada("build", "-q", "-t", "img:1", dir)
		u.camada("save", "-o", "img.tar", "img:1")
		run, link := filepath.Join(u.home, "run"), filepath.Join(u.home, "camada-runtime")
		u.must(os.Mkdir(run, 0o700))
		u.must(os.Chown(run, userID, userID))
		u.must(os.Symlink(filepath.Join(os.Getenv(forUser), "camada"), link))
		u.must(os.WriteFile(filepath.Join(u.home, "containers.conf"), []byte(peers.ContainersConf), 0o644))
		e := &engine{t: t, context: dir, own: u.home, states: filepath.Join(run, "camada/runtime"), call: func(ctx context.Context, args ...string) *exec.Cmd {
			cmd := exec.CommandContext(ctx, "podman", append([]string{"--root", filepath.Join(u.home, "storage"), "--storage-driver", "vfs", "--runtime", link}, args...)...)
			cmd.Dir, cmd.Env = u.home, append(slices.Clone(u.env), "XDG_RUNTIME_DIR="+run, "CONTAINERS_CONF="+filepath.Join(u.home, "containers.conf"))
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: u.id, Gid: u.id}}
			return cmd
		}}
		e.lives(filepath.Join(u.home, "img.tar"))
		e.run("system", "migrate") // ends the process that holds its namespace
	})
}
