package test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camada/camada/internal/peers"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// ours runs camada with a store of its own.
type ours struct {
	t    *testing.T
	bin  string
	root string
}

// shipped builds the program as it is shipped, static, once for all tests, and returns its path.
func shipped(t *testing.T) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// program is what shipped builds. It lies where other users can execute it, and TestMain removes it.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "camada-tested-")
	if err != nil {
		return "", err
	}
	builtIn = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "camada")
	cmd := exec.Command("go", "build", "-o", path, "../cmd/camada")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build camada: %w\n%s", err, out)
	}
	return path, nil
})

// builtIn is the directory of the program; "" before it was built.
var builtIn string

// withPeers skips the test when a program is missing; else it returns camada and the peers.
func withPeers(t *testing.T, programs ...string) (*ours, *peers.Peers) {
	t.Helper()
	p := peers.Need(t, append([]string{"busybox"}, programs...)...)
	c := &ours{t: t, bin: shipped(t), root: p.Path("store")}
	t.Cleanup(func() {
		if out := c.run("fsck"); !strings.Contains(out, "no problems") {
			t.Errorf("the store is not whole: %s", out)
		}
	})
	return c, p
}

func (c *ours) in(t *testing.T) *ours {
	d := *c
	d.t = t
	return &d
}

// run runs camada and returns what it printed, without the last newline.
func (c *ours) run(args ...string) string {
	c.t.Helper()
	out, code := c.try(args...)
	if code != 0 {
		c.t.Fatalf("camada %s: exit code %d", strings.Join(args, " "), code)
	}
	return out
}

// try is run for verbs that may fail; the messages are in the test's log.
func (c *ours) try(args ...string) (string, int) {
	c.t.Helper()
	out, message, code := c.talk(args...)
	if code != 0 {
		c.t.Logf("camada %s: exit code %d\n%s\n%s", strings.Join(args, " "), code, out, message)
	}
	return out, code
}

// talk returns both outputs, without the last newline, and the exit code.
func (c *ours) talk(args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	return c.feed("", args...)
}

// feed is talk with something on the standard input.
func (c *ours) feed(stdin string, args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	cmd := exec.Command(c.bin, args...)
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	cmd.Env = append(os.Environ(), "CAMADA_ROOT="+c.root, "NO_COLOR=1", "SOURCE_DATE_EPOCH=1700000000")
	var message strings.Builder
	cmd.Stderr = &message
	out, err := cmd.Output()
	if cmd.ProcessState == nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(string(out)), strings.TrimSpace(message.String()), cmd.ProcessState.ExitCode()
}

// write writes files: names and contents in turn.
func write(t *testing.T, dir string, files ...string) {
	t.Helper()
	for i := 0; i+1 < len(files); i += 2 {
		name := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// system makes a build context with a small system in rootfs.
func system(t *testing.T, dir string) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("no busybox: install busybox-static")
	}
	if err := rootfs(filepath.Join(dir, "rootfs"), busybox); err != nil {
		t.Fatal(err)
	}
	return dir
}

// hardDockerfile makes an image with all that is hard to carry over.
const hardDockerfile = `FROM scratch AS base
COPY rootfs /

FROM base AS work
ADD marked.tar /out/
RUN echo made > /out/made && chmod 4755 /out/made

FROM base
RUN mkdir -p /d/sub /opaque/deep && echo keep > /d/keep && echo gone > /d/gone && echo s > /d/sub/s && \
    echo old > /opaque/old && echo old > /opaque/deep/old && ln /d/keep /d/hard && ln -s keep /d/link && echo f > /swap
RUN rm /d/gone && rm -r /d/sub /opaque /swap && mkdir /opaque /swap && echo new > /opaque/new && echo in > /swap/in
COPY --from=work /out/made /d/made
COPY --chown=70000:70001 big /d/big
COPY long /long
COPY --from=work /out/marked /d/marked
COPY check.sh /check.sh
ENV GREETING="hello world" EMPTY=
WORKDIR /srv/work
USER app
VOLUME /volume
EXPOSE 80/tcp 53/udp
LABEL made.by="camada test"
HEALTHCHECK --interval=5s --timeout=3s CMD /bin/true
STOPSIGNAL SIGINT
ENTRYPOINT ["/bin/sh", "/check.sh"]
CMD ["one", "two words"]
`

// check prints what a container sees of its image.
const check = `for a in "$@"; do echo "arg $a"; done
echo "user $(id -u):$(id -g) $(id -G)"
echo "dir $(pwd)"
echo "env $GREETING [${EMPTY-unset}]"
cd /
for f in $(find d opaque swap long srv | sort); do stat -c '%n %F %a %u:%g' $f; done | while read name rest; do
  case $name in d/keep|d/hard) echo "$name $rest $(stat -c %h $name)" ;; *) echo "$name $rest" ;; esac; done
cat d/keep d/hard d/link d/made opaque/new swap/in
`

var longName = strings.Repeat("n", 200)

// want is what check prints.
var want = strings.ReplaceAll(`arg one
arg two words
user 1000:1000 1000 2000
dir /srv/work
env hello world []
d directory 755 0:0
d/big regular file 644 70000:70001
d/hard regular file 644 0:0 2
d/keep regular file 644 0:0 2
d/link symbolic link 777 0:0
d/made regular file 4755 0:0
d/marked regular file 644 0:0
long directory 755 0:0
long/NAME directory 755 0:0
long/NAME/NAME regular file 644 0:0
opaque directory 755 0:0
opaque/new regular file 644 0:0
srv directory 755 0:0
srv/work directory 755 0:0
swap directory 755 0:0
swap/in regular file 644 0:0
keep
keep
keep
made
new
in`, "NAME", longName)

// capability is that of a program which may use raw sockets: revision 2, effective, CAP_NET_RAW.
const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// hard builds the image of hardDockerfile as hard:1.
func (c *ours) hard(dir string) {
	c.t.Helper()
	system(c.t, dir)
	write(c.t, dir, "Dockerfile", hardDockerfile, "check.sh", check, "big", "big\n",
		filepath.Join("long", longName, longName), "long\n")
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	h := &tar.Header{Name: "marked", Mode: 0o644, Size: 7, ModTime: time.Unix(1, 0), PAXRecords: map[string]string{
		"SCHILY.xattr.user.mark": "seen", "SCHILY.xattr.security.capability": capability,
	}}
	if err := errors.Join(w.WriteHeader(h), func() error { _, err := w.Write([]byte("marked\n")); return err }(), w.Close()); err != nil {
		c.t.Fatal(err)
	}
	write(c.t, dir, "marked.tar", buf.String())
	c.run("build", "-q", "-t", "hard:1", dir)
}

// checkRun compares what a run of the image printed.
func checkRun(t *testing.T, who, got string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s printed, -want +got\n%s", who, diff)
	}
}

func TestPeersRunOurImage(t *testing.T) {
	c, p := withPeers(t)
	c.hard(p.Path("ctx"))
	checkRun(t, "camada", c.run("run", "--rm", "--network", "none", "hard:1"))
	c.run("save", "-o", p.Path("hard.tar"), "hard:1")
	c.run("save", "--format", "docker-archive", "-o", p.Path("hard-docker.tar"), "hard:1")
	archives := []string{p.Path("hard.tar"), p.Path("hard-docker.tar")}

	t.Run("podman", func(t *testing.T) {
		p := peers.Need(t, "podman", "runc")
		for _, a := range archives {
			p.Run("podman", "load", "-i", a)
			checkRun(t, "podman", p.Run("podman", "run", "--rm", "--network", "none", "hard:1"))
			p.Run("podman", "rmi", "hard:1")
		}
		id := p.Run("podman", "pull", "-q", "oci:"+c.root+":hard:1")
		checkRun(t, "podman from the store", p.Run("podman", "run", "--rm", "--network", "none", id))
		if got := p.Run("podman", "image", "inspect", "--format", `{{.Config.StopSignal}} {{index .Labels "made.by"}} {{.Config.Volumes}}`, id); got != "SIGINT camada test map[/volume:{}]" {
			t.Errorf("podman sees %s", got)
		}
	})
	t.Run("docker", func(t *testing.T) {
		p := peers.Need(t, "dockerd", "docker")
		p.StartDocker()
		for _, a := range archives {
			p.Run("docker", "load", "-i", a)
			checkRun(t, "docker", p.Run("docker", "run", "--rm", "--network", "none", "hard:1"))
			p.Run("docker", "rmi", "hard:1")
		}
	})
	t.Run("skopeo", func(t *testing.T) {
		p := peers.Need(t, "skopeo")
		layout := "oci:" + c.root + ":hard:1"
		digest := c.in(t).run("images", "--format", "{{.Digest}}", "hard:1")
		if got := p.Run("skopeo", "inspect", "--format", "{{.Digest}}", layout); got != digest {
			t.Errorf("skopeo sees %s, want %s", got, digest)
		}
		p.Run("skopeo", "copy", layout, "docker-archive:"+p.Path("copy.tar")+":copy:1")
		// Into another store: crane cannot validate the uncompressed layers of a docker archive in this one.
		other := &ours{t: t, bin: c.bin, root: p.Path("other")}
		other.run("load", "-q", "-i", p.Path("copy.tar"))
		checkRun(t, "camada, of skopeo's copy", other.run("run", "--rm", "--network", "none", "copy:1"))
	})
	t.Run("crane", func(t *testing.T) {
		p := peers.Need(t, "crane")
		for _, a := range archives {
			p.Run("crane", "validate", "--tarball", a)
		}
		host := p.StartRegistry()
		p.Run("crane", "push", "--index", c.root, host+"/store:1")
		p.Run("crane", "validate", "--remote", host+"/store:1")
	})
	for _, runtime := range []string{"runc", "crun"} {
		t.Run("umoci and "+runtime, func(t *testing.T) {
			p := peers.Need(t, "umoci", "unshare", runtime)
			bundle := p.Path("bundle")
			p.Run("umoci", "unpack", "--image", c.root+":hard:1", bundle)
			plainBundle(t, bundle)
			// crun refuses a hierarchy that is half old, half new: it is shown the old half.
			script := `mountpoint -q /sys/fs/cgroup/unified && umount /sys/fs/cgroup/unified; cd "$1" && exec "$2" --root "$3" run camada-test-$$`
			got := p.Run("unshare", "-m", "sh", "-c", script, "sh", bundle, runtime, p.Path("state"))
			checkRun(t, runtime, got)
			for name, want := range map[string]string{"user.mark": "seen", "security.capability": capability} {
				value := make([]byte, 100)
				n, err := unix.Getxattr(filepath.Join(bundle, "rootfs/d/marked"), name, value)
				if err != nil || string(value[:n]) != want {
					t.Errorf("the attribute %s is %q, %v", name, value[:max(n, 0)], err)
				}
			}
		})
	}
}

// plainBundle makes umoci's bundle one for a run without a terminal and without a network.
func plainBundle(t *testing.T, bundle string) {
	t.Helper()
	name := filepath.Join(bundle, "config.json")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var spec map[string]any
	if err := json.Unmarshal(data, &spec); err != nil {
		t.Fatal(err)
	}
	process := spec["process"].(map[string]any)
	process["terminal"] = false
	delete(process, "rlimits")
	if data, err = json.Marshal(spec); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
