package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/internal/peers"
)

// theirDockerfile makes an image whose second and third layers hide files of the first.
const theirDockerfile = `FROM scratch
COPY rootfs /
RUN mkdir -p /d /opaque /swap && echo keep > /d/keep && echo gone > /d/gone && ln /d/keep /d/hard && echo old > /opaque/old && echo f > /swap/f
RUN rm -r /d/gone /opaque /swap && mkdir /opaque && echo new > /opaque/new && echo file > /swap && chown 70000:70001 /swap && chmod 4750 /swap
COPY look.sh /look.sh
ENV A="b c"
WORKDIR /srv
USER app:extra
ENTRYPOINT ["/bin/sh", "/look.sh"]
CMD ["given"]
`

// look prints what a container sees of an image of theirDockerfile.
const look = `echo "$1 $(id -u):$(id -g) $(pwd) $A"; cd /
find d opaque swap | sort | while read f; do stat -c '%n %a %u:%g' $f; done
cat d/keep d/hard opaque/new
`

const wantLook = `given 1000:2000 /srv b c
d 755 0:0
d/hard 644 0:0
d/keep 644 0:0
opaque 755 0:0
opaque/new 644 0:0
swap 4750 70000:70001
keep
keep
new`

func theirContext(t *testing.T, dir string) string {
	t.Helper()
	write(t, system(t, dir), "Dockerfile", theirDockerfile, "look.sh", look)
	return dir
}

// runsTheirs loads what a tool made, each into a store of its own, and runs it.
func runsTheirs(t *testing.T, bin string, paths ...string) {
	t.Helper()
	for _, path := range paths {
		c := &ours{t: t, bin: bin, root: filepath.Join(t.TempDir(), "store")}
		c.run("load", "-q", "-i", path, "-t", "theirs")
		if got := c.run("run", "--rm", "--network", "none", "theirs"); got != wantLook {
			t.Errorf("%s: got\n%s\nwant\n%s", filepath.Base(path), got, wantLook)
		}
		if out := c.run("fsck"); !strings.Contains(out, "no problems") {
			t.Errorf("%s: the store is not whole: %s", filepath.Base(path), out)
		}
	}
}

func TestWeRunTheirImages(t *testing.T) {
	need := peers.Need(t, "busybox")
	bin := shipped(t)
	context := theirContext(t, need.Path("ctx"))

	t.Run("docker", func(t *testing.T) {
		p := peers.Need(t, "dockerd", "docker")
		p.StartDocker()
		p.Run("docker", "build", "-q", "--network", "none", "-t", "theirs:1", context)
		p.Run("docker", "save", "-o", p.Path("docker.tar"), "theirs:1")
		runsTheirs(t, bin, p.Path("docker.tar"))
	})
	t.Run("buildkit", func(t *testing.T) {
		p := peers.Need(t, "buildkitd", "buildctl")
		p.StartBuildkit()
		var paths []string
		for _, kind := range []string{"oci,compression=gzip", "oci,compression=zstd,oci-mediatypes=true", "oci,compression=uncompressed", "docker,compression=estargz", "docker"} {
			path := p.Path(fmt.Sprintf("%d.tar", len(paths)))
			p.Run("buildctl", "build", "--frontend", "dockerfile.v0", "--local", "context="+context, "--local", "dockerfile="+context,
				"--output", "type="+kind+",force-compression=true,dest="+path)
			paths = append(paths, path)
		}
		runsTheirs(t, bin, paths...)
	})
	for _, builder := range []string{"podman", "buildah"} {
		t.Run(builder, func(t *testing.T) {
			p := peers.Need(t, builder, "runc")
			// Layers of their own, for the hidden files to be in lower ones.
			p.Run(builder, "build", "--layers", "--isolation", "oci", "--runtime", "runc", "--network", "none", "-q", "-t", "localhost/theirs:1", context)
			var paths []string
			for _, kind := range []string{"docker-archive", "oci-archive", "oci"} {
				path := p.Path(kind)
				name := path + ":localhost/theirs:1"
				p.Run(builder, "push", "localhost/theirs:1", kind+":"+name)
				paths = append(paths, path)
			}
			for _, compression := range []string{"zstd", "gzip"} {
				path := p.Path(compression)
				if _, err := p.Try(builder, "push", "--compression-format", compression, "localhost/theirs:1", "oci:"+path+":1"); err != nil {
					t.Logf("%s cannot write %s: %v", builder, compression, err)
					continue
				}
				paths = append(paths, path)
			}
			runsTheirs(t, bin, paths...)
		})
	}
}

// TestWeRunCopiedImages is about tools that do not build, but write images of their own making.
func TestWeRunCopiedImages(t *testing.T) {
	c, need := withPeers(t)
	c.run("build", "-q", "-t", "theirs:1", theirContext(t, need.Path("ctx")))
	source := "oci:" + c.root + ":theirs:1"
	t.Run("skopeo", func(t *testing.T) {
		p := peers.Need(t, "skopeo")
		var paths []string
		for i, args := range [][]string{
			{"docker-archive:PATH:localhost/theirs:1"},
			{"oci-archive:PATH:theirs:1"},
			{"oci:PATH:1"},
			{"--dest-compress-format", "zstd", "--dest-compress", "oci:PATH:1"},
			{"--dest-decompress", "dir:PATH"},
			{"--format", "v2s2", "docker-archive:PATH"},
		} {
			path := p.Path(fmt.Sprint("copy", i))
			for j := range args {
				args[j] = strings.ReplaceAll(args[j], "PATH", path)
			}
			p.Run("skopeo", append([]string{"copy", source}, args...)...)
			if strings.HasPrefix(args[len(args)-1], "dir:") { // a form of skopeo's own, by which it makes uncompressed layouts
				p.Run("skopeo", "copy", "dir:"+path, "oci:"+path+"-oci:1")
				path += "-oci"
			}
			paths = append(paths, path)
		}
		runsTheirs(t, c.bin, paths...)
	})
	t.Run("crane", func(t *testing.T) {
		p := peers.Need(t, "crane", "tar")
		name := p.StartRegistry() + "/theirs:1"
		one := p.Path("one")
		c.in(t).run("save", "--format", "oci-dir", "-o", one, "theirs:1")
		p.Run("crane", "push", one, name)
		p.Run("crane", "pull", "--format", "tarball", name, p.Path("tarball"))
		p.Run("crane", "pull", "--format", "legacy", name, p.Path("legacy"))
		p.Run("crane", "pull", "--format", "oci", name, p.Path("oci"))
		// A layer on top that hides and adds, made by crane.
		write(t, p.Path("more"), "d/.wh.keep", "", "added", "added\n")
		p.Run("tar", "-C", p.Path("more"), "--owner=0", "--group=0", "-cf", p.Path("more.tar"), "d", "added")
		p.Run("crane", "append", "-b", name, "-f", p.Path("more.tar"), "-t", name+"more", "-o", p.Path("more.image"))
		runsTheirs(t, c.bin, p.Path("tarball"), p.Path("legacy"), p.Path("oci"))
		c := c.in(t)
		c.run("load", "-q", "-i", p.Path("more.image"), "-t", "more")
		if got := c.run("run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", "more", "-c", "ls /d; cat /added"); got != "hard\nadded" {
			t.Errorf("the image with crane's layer shows %q", got)
		}
		p.Run("crane", "mutate", "--set-platform", "linux/amd64", "--entrypoint", "/bin/sh,/look.sh", "--cmd", "given", "--env", "A=b c", "--label", "by=crane", "-t", name, name)
		p.Run("crane", "pull", "--format", "oci", name, p.Path("mutated"))
		runsTheirs(t, c.bin, p.Path("mutated"))
	})
	t.Run("umoci", func(t *testing.T) {
		p := peers.Need(t, "umoci")
		dir := p.Path("layout")
		p.Run("umoci", "init", "--layout", dir)
		p.Run("umoci", "new", "--image", dir+":v1")
		p.Run("umoci", "insert", "--image", dir+":v1", filepath.Join(need.Path("ctx"), "rootfs"), "/")
		write(t, p.Path("files"), "d/keep", "keep\n", "d/gone", "gone\n", "opaque/old", "old\n", "new/new", "new\n", "look.sh", look, "swap", "file\n")
		for _, name := range []string{"d", "opaque", "look.sh", "swap"} {
			p.Run("umoci", "insert", "--image", dir+":v1", p.Path("files/"+name), "/"+name)
		}
		p.Run("umoci", "insert", "--image", dir+":v1", "--whiteout", "/d/gone")
		p.Run("umoci", "insert", "--image", dir+":v1", "--opaque", p.Path("files/new"), "/opaque")
		p.Run("umoci", "config", "--image", dir+":v1", "--config.user", "app:extra", "--config.workingdir", "/srv", "--config.env", "A=b c",
			"--config.entrypoint", "/bin/sh", "--config.entrypoint", "/look.sh", "--config.cmd", "given")
		// A layer by the difference of two trees.
		bundle := p.Path("bundle")
		p.Run("umoci", "unpack", "--image", dir+":v1", bundle)
		root := filepath.Join(bundle, "rootfs")
		if err := os.Link(filepath.Join(root, "d/keep"), filepath.Join(root, "d/hard")); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(root, "swap"), 70000, 70001); err != nil {
			t.Fatal(err)
		}
		p.Run("chmod", "4750", filepath.Join(root, "swap"))
		p.Run("umoci", "repack", "--image", dir+":v1", bundle)
		runsTheirs(t, c.bin, dir)
	})
}
