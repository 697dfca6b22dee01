package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/remote/remotetest"
)

// mountDockerfile appends to a cache mount, and shows what is in it.
const mountDockerfile = `FROM scratch
COPY rootfs /
ARG TURN=1
RUN --mount=type=cache,id=log,target=/cache echo "turn $TURN" >> /cache/log && cp /cache/log /seen && ls -ld /cache/log > /dev/null
CMD ["cat", "/seen"]
`

// TestCacheMountsTravel takes cache mounts to machines that have none.
func TestCacheMountsTravel(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("runs containers as root")
	}
	bin := shipped(t)
	dir := system(t, t.TempDir())
	write(t, dir, "Dockerfile", mountDockerfile)
	for _, name := range []string{"registry", "local", "inline"} {
		t.Run(name, func(t *testing.T) {
			reg := remotetest.Start(t)
			machine := func() *ours { return &ours{t: t, bin: bin, root: filepath.Join(t.TempDir(), "store")} }
			tag, place := "app", "type=local,dest="+filepath.Join(t.TempDir(), "cache")
			from := strings.Replace(place, "dest=", "src=", 1)
			more := []string{"-q"}
			switch name {
			case "registry":
				place = "type=registry,ref=" + reg.Ref("cache:1").String()
				from = place
			case "inline":
				tag, place = reg.Ref("app:1").String(), "type=inline"
				from, more = "type=registry,ref="+tag, []string{"-q", "--push"}
			}
			build := func(c *ours, turn string, args ...string) string {
				t.Helper()
				c.run(append(append([]string{"build", "-t", tag, "--build-arg", "TURN=" + turn, "--cache-to", place + ",mounts=true"}, more...), append(args, dir)...)...)
				return c.run("run", "--rm", "--network", "none", tag)
			}
			if got := build(machine(), "1"); got != "turn 1" {
				t.Errorf("first: %q", got)
			}
			if got := build(machine(), "2", "--cache-from", from); got != "turn 1\nturn 2" {
				t.Errorf("on another machine: %q", got)
			}
			// A build that needs nothing of it hands it on.
			uploads := len(reg.Calls("PUT uploads"))
			if got := build(machine(), "2", "--cache-from", from); got != "turn 1\nturn 2" {
				t.Errorf("cached: %q", got)
			}
			if n := len(reg.Calls("PUT uploads")); n != uploads {
				t.Errorf("%d blobs were uploaded again", n-uploads)
			}
			if got := build(machine(), "3", "--cache-from", from); got != "turn 1\nturn 2\nturn 3" {
				t.Errorf("handed on: %q", got)
			}
			// A machine that has the mount keeps its own.
			own := machine()
			own.run("build", "-q", "-t", "app", "--build-arg", "TURN=own", dir)
			if got := build(own, "4", "--cache-from", from); got != "turn own\nturn 4" {
				t.Errorf("a mount of its own: %q", got)
			}
			own.run("fsck")
			own.run("gc")
		})
	}
}
