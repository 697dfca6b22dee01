package test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/internal/peers"
	"github.com/google/go-cmp/cmp"
)

// TestParity builds small Dockerfiles with camada and with BuildKit, and compares the image configs and each file. What is
// meant to differ is left out by name, and stands in docs/compatibility.md.
func TestParity(t *testing.T) {
	p := peers.Need(t, "busybox", "buildkitd", "buildctl")
	c := &ours{t: t, bin: shipped(t), root: p.Path("store")}
	p.StartBuildkit()
	dir := system(t, p.Path("base"))
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY rootfs /\nENV PATH=/bin\n", "onbuild.df", parityOnbuild)
	c.run("build", "-q", "-t", "base", dir)
	c.run("build", "-q", "-t", "trigger", "-f", filepath.Join(dir, "onbuild.df"), dir)
	var bases []string
	for _, name := range []string{"base", "trigger"} {
		layout := p.Path(name + "-layout")
		c.run("save", "--format", "oci-dir", "-o", layout, name)
		digest := c.run("images", "--format", "{{.Digest}}", name)
		bases = append(bases, "--oci-layout", name+"="+layout, "--opt", "context:"+name+"=oci-layout://"+name+"@"+digest)
	}
	context := parityContext(t, p.Path("ctx"))
	for _, name := range sortedKeys(parityCases) {
		t.Run(name, func(t *testing.T) {
			p, c := p.In(t), c.in(t)
			df := p.Path("df")
			write(t, df, "Dockerfile", parityCases[name])
			archive := p.Path(name + ".tar")
			args := append([]string{"build", "--frontend", "dockerfile.v0", "--local", "context=" + context, "--local", "dockerfile=" + df,
				"--opt", "build-arg:GIVEN=given", "--opt", "build-arg:SOURCE_DATE_EPOCH=1700000000",
				"--output", "type=oci,rewrite-timestamp=true,dest=" + archive}, bases...)
			_, theirs := p.Try("buildctl", args...)
			_, code := c.try("build", "-q", "-t", "ours", "--build-arg", "GIVEN=given", "-f", filepath.Join(df, "Dockerfile"), context)
			if (theirs == nil) != (code == 0) {
				t.Fatalf("BuildKit says %v, camada %d", theirs, code)
			}
			if theirs != nil {
				return
			}
			c.run("load", "-q", "-i", archive, "-t", "theirs")
			if diff := cmp.Diff(parityConfig(c, "theirs"), parityConfig(c, "ours")); diff != "" {
				t.Errorf("config, -BuildKit +camada\n%s", diff)
			}
			if diff := cmp.Diff(listing(c, "theirs"), listing(c, "ours")); diff != "" {
				t.Errorf("files, -BuildKit +camada\n%s", diff)
			}
		})
	}
}

func sortedKeys(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

const parityOnbuild = `FROM scratch
COPY rootfs /
ENV PATH=/bin
ONBUILD COPY a.txt /triggered/
ONBUILD RUN echo triggered > /triggered/run
ONBUILD ENV TRIGGERED=yes
`

// parityContext is the context of all cases.
func parityContext(t *testing.T, dir string) string {
	t.Helper()
	write(t, dir, "a.txt", "a\n", "b.txt", "b\n", "sub/c.txt", "c\n", "sub/deep/d.txt", "d\n", "space name.txt", "s\n", "x[1].txt", "x\n",
		"ignored/file", "no\n", "ignored/kept", "yes\n", "run.sh", "#!/bin/sh\necho hi\n", ".dockerignore", "ignored/*\n!ignored/kept\n**/*.tmp\n", "sub/t.tmp", "no\n")
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.Mkdir(filepath.Join(dir, "empty"), 0o750))
	check(os.Chmod(filepath.Join(dir, "run.sh"), 0o755))
	check(os.Chmod(filepath.Join(dir, "b.txt"), 0o4711))
	check(os.Chmod(filepath.Join(dir, "sub/deep"), 0o1770))
	check(os.Symlink("a.txt", filepath.Join(dir, "link")))
	check(os.Symlink("sub", filepath.Join(dir, "linkdir")))
	check(os.Symlink("/etc/passwd", filepath.Join(dir, "sub/absolute")))
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	check(w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "in/", Mode: 0o711, Uid: 5, Gid: 6}))
	check(w.WriteHeader(&tar.Header{Name: "in/file", Mode: 0o4755, Uid: 70000, Gid: 7, Size: 3}))
	_, err := w.Write([]byte("in\n"))
	check(err)
	check(w.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: "in/hard", Linkname: "in/file", Mode: 0o4755, Uid: 70000, Gid: 7}))
	check(w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "in/soft", Linkname: "file"}))
	check(w.Close())
	write(t, dir, "files.tar", buf.String())
	return dir
}

// parityConfig is what matters of an image's config, as text.
func parityConfig(c *ours, name string) string {
	c.t.Helper()
	id := c.run("images", "-q", "--no-trunc", name)
	data, err := os.ReadFile(filepath.Join(c.root, "blobs", "sha256", strings.TrimPrefix(id, "sha256:")))
	if err != nil {
		c.t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		c.t.Fatal(err)
	}
	delete(config, "rootfs") // the layers are compared by their files
	text, err := json.MarshalIndent(config, "", " ")
	if err != nil {
		c.t.Fatal(err)
	}
	return string(text)
}

// parityEpoch is the time that no file of a build is younger than.
const parityEpoch = 1700000000

// stubs are the directories that BuildKit's RUN steps leave as places for mounts, and camada's do not.
var stubs = []string{`dev 5 755 0:0 0,0 new -> "" ""`, `proc 5 755 0:0 0,0 new -> "" ""`, `sys 5 755 0:0 0,0 new -> "" ""`}

// listing is the file system of an image: a line for each file.
func listing(c *ours, name string) string {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "fs.tar")
	c.run("export", "-o", path, name)
	f, err := os.Open(path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	var lines []string
	r := tar.NewReader(f)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			slices.Sort(lines)
			return strings.Join(lines, "\n")
		}
		if err != nil {
			c.t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			c.t.Fatal(err)
		}
		content := string(data)
		if len(content) > 2000 {
			content = fmt.Sprintf("%x", sha256.Sum256(data))
		}
		age := fmt.Sprint(h.ModTime.Unix())
		if h.ModTime.Unix() == parityEpoch {
			age = "new"
		}
		line := fmt.Sprintf("%s %c %o %d:%d %d,%d %s -> %q %q", strings.TrimSuffix(h.Name, "/"), h.Typeflag, h.Mode, h.Uid, h.Gid, h.Devmajor, h.Devminor, age, h.Linkname, content)
		for _, k := range sortedKeys(h.PAXRecords) {
			if strings.HasPrefix(k, "SCHILY.xattr.") {
				line += fmt.Sprintf(" %s=%q", k, h.PAXRecords[k])
			}
		}
		if !slices.Contains(stubs, line) {
			lines = append(lines, line)
		}
	}
}

var parityCases = map[string]string{
	"from-scratch":   "FROM scratch\nCOPY a.txt /\n",
	"config-only":    "FROM scratch\nENV A=b\nCMD [\"x\"]\n",
	"from-stages":    "ARG V=1\nFROM base AS one\nARG V\nRUN echo $V > /one\nFROM one AS two\nRUN echo two > /two\nFROM base\nCOPY --from=one /one /x\nCOPY --from=1 /two /y/\nCOPY --from=base /etc/passwd /z/\n",
	"from-platform":  "FROM --platform=$BUILDPLATFORM base\nARG TARGETPLATFORM TARGETARCH BUILDOS\nRUN echo $TARGETPLATFORM $TARGETARCH $BUILDOS > /p\n",
	"arg":            "ARG G=global\nFROM base\nARG G\nARG L=local\nARG GIVEN=default\nARG UNSET\nRUN echo \"$G $L $GIVEN ${UNSET-none}\" > /args\nENV L2=$L\nARG L=again\nRUN env | sort | grep -v -e HOSTNAME -e SHLVL -e OTEL -e TRACEPARENT -e SOURCE_DATE > /env\nLABEL v=${GIVEN:-x} w=${UNSET:-dflt} q=${G:+alt}\n",
	"arg-predefined": "FROM base\nARG HTTP_PROXY=x\nARG TARGETARCH\nRUN echo ok ${TARGETOS:-none} > /x\n",
	"env":            "FROM base\nENV A=1 B=\"two words\" C='single $A' D=$A-${B}\nENV old style  value here\nENV A=2 E=$A ESC=\\$A\nRUN echo $A $D $E \"$C\" $ESC > /env\n",
	"run-shell":      "FROM base\nRUN echo a > /a && \\\n    # a comment\n    echo b > /b\nRUN [\"/bin/sh\", \"-c\", \"echo $PATH > /exec; umask > /umask; pwd > /pwd; id > /id; hostname > /dev/null\"]\nRUN rm /a && mkdir /d && chmod 2775 /d && ln -s d /l && touch /d/f && ln /d/f /d/g\n",
	"run-env":        "FROM base\nENV X=1\nRUN env | cut -d= -f1 | sort > /names; echo $HOME > /home\nUSER app\nRUN env | cut -d= -f1 | sort > /tmp/names; echo $HOME > /tmp/home; id > /tmp/id\nUSER 1234:5678\nRUN echo $HOME > /tmp/home2; id > /tmp/id2\n",
	"run-heredoc":    "FROM base\nRUN <<EOF\necho one > /one\necho two > /two\nEOF\nRUN cat <<A > /a && cat <<\"B\" > /b\nva $PATH\nA\nvb $PATH\nB\nRUN <<EOF\n#!/bin/sh\necho script > /script\nEOF\n",
	"run-files":      "FROM base\nRUN ls -a / | sort > /root/ls; ls -a /etc > /root/etc; stat -c '%n %a %u:%g %F' /dev /proc /sys /dev/* /tmp | grep -v otel | sort > /root/stat\nRUN rm -rf /tmp && mkdir -m 1777 /tmp\n",
	"run-delete":     "FROM base AS b\nRUN mkdir -p /x/y /z && echo 1 > /x/y/1 && echo 2 > /z/2\nRUN rm -r /x/y && mkdir /x/y && echo n > /x/y/n && rm -r /z && echo file > /z\nFROM b\nRUN mv /x /moved && cp -a /moved /copied && chown 70000:70001 /moved\n",
	"copy":           "FROM base\nCOPY a.txt b.txt /d/\nCOPY a.txt /renamed\nCOPY sub /sub\nCOPY sub /slash/\nCOPY link /link\nCOPY linkdir /linkdir\nCOPY *.txt /glob/\nCOPY su? /q/\nCOPY [\"space name.txt\", \"/space dir/\"]\nCOPY empty /empty\nCOPY . /all/\n",
	"copy-existing":  "FROM base\nRUN mkdir -m 700 /d && chown 7:8 /d && ln -s /d /ln && echo old > /d/a.txt\nCOPY a.txt /d\nCOPY sub /ln/\nCOPY sub/deep /d\nCOPY a.txt /ln/renamed\nCOPY b.txt /etc/passwd\n",
	"copy-flags":     "FROM base\nCOPY --chown=app:extra a.txt /chown/\nCOPY --chown=1:2 sub /chown/sub\nCOPY --chown=app b.txt /chown/b\nCOPY --chmod=640 b.txt /chmod/\nCOPY --chmod=0755 sub /chmod/sub\nCOPY --chown=70000 --chmod=4755 a.txt /both/\nUSER app\nCOPY a.txt /user\nWORKDIR /w\nCOPY a.txt rel/\n",
	"copy-from":      "FROM base AS src\nRUN mkdir -p /s/d && echo 1 > /s/1 && ln /s/1 /s/d/hard && ln -s ../1 /s/d/soft && chown -R 9:10 /s && chmod 4755 /s/1\nFROM base\nCOPY --from=src /s /s\nCOPY --from=src s/d/soft /f/\nCOPY --from=src --chown=3:4 /s/d /g\nCOPY --from=src /s/d/h* /h/\nCOPY --from=0 /etc/group /group\n",
	"copy-heredoc":   "FROM base\nARG V=x\nCOPY <<EOF /one\nv $V\nEOF\nCOPY <<\"EOF\" <<B.txt /dir/\nraw $V\nEOF\nb\nB.txt\nCOPY --chmod=755 --chown=app <<EOF /run.sh\n#!/bin/sh\nEOF\n",
	"copy-trailing":  "FROM base\nCOPY a.txt .\nCOPY a.txt ./x/y/\nCOPY sub/. /dot/\nCOPY sub/deep/ /deep\nCOPY ./a.txt ../up\nCOPY x[[]1].txt /bracket\nCOPY ignored /ignored\n",
	"add":            "FROM base\nADD a.txt /d/\nADD files.tar /tar/\nADD files.tar sub /more/\nADD --chown=1:2 files.tar /owned\nADD --chmod=600 a.txt /m\nADD link /link\n",
	"workdir":        "FROM base\nWORKDIR /a\nWORKDIR b/c\nENV D=dir\nWORKDIR $D\nRUN pwd > /pwd\nUSER app\nWORKDIR /own/ed\nRUN pwd > /tmp/pwd\nWORKDIR /tmp\nWORKDIR ../etc/.\n",
	"user":           "FROM base\nUSER app\nRUN id > /tmp/1\nUSER app:extra\nRUN id > /tmp/2\nUSER 4242\nRUN id > /tmp/3\nUSER :2000\n",
	"label":          "FROM base\nLABEL a=b \"quoted key\"=\"quoted value\" multi=\"line \\\nline\"\nLABEL a=c\nLABEL old value here\n",
	"expose":         "FROM base\nEXPOSE 80 443/tcp 53/udp 8000-8002\nARG P=99\nEXPOSE $P/TCP\n",
	"volume":         "FROM base\nRUN mkdir /v && echo 1 > /v/1\nVOLUME /v /w\nVOLUME [\"/x y\", \"rel\"]\nRUN echo 2 > /v/2; ls /v > /ls\n",
	"entry":          "FROM base\nCMD echo shell\nENTRYPOINT [\"/bin/echo\", \"a\"]\n",
	"entry-shell":    "FROM base AS a\nENTRYPOINT exec top\nCMD [\"p\"]\nFROM a\nENTRYPOINT []\n",
	"cmd-reset":      "FROM base AS a\nCMD [\"kept\"]\nFROM a\nENTRYPOINT [\"x\"]\n",
	"shell":          "FROM base\nSHELL [\"/bin/sh\", \"-ec\"]\nRUN echo $- > /flags\nCMD echo hi\nENTRYPOINT echo\nHEALTHCHECK CMD true\n",
	"stopsignal":     "FROM base\nSTOPSIGNAL SIGUSR1\nSTOPSIGNAL 9\n",
	"healthcheck":    "FROM base AS a\nHEALTHCHECK --interval=1m30s --timeout=10s --start-period=2s --start-interval=500ms --retries=4 CMD [\"/bin/true\", \"x\"]\nFROM a\nHEALTHCHECK --interval=5s CMD test -f /x\n",
	"healthcheck-no": "FROM base\nHEALTHCHECK NONE\n",
	"onbuild":        "FROM base\nONBUILD RUN echo later\nONBUILD COPY . /app\n",
	"onbuild-base":   "FROM trigger\nRUN cat /triggered/run > /after\n",
	"maintainer":     "FROM base\nMAINTAINER Some One <a@example.org>\n",
	"directives":     "# escape=`\n# a comment\nFROM base\nRUN echo a `\n  b > /ab\nENV P=C:\\x\n",
	"case":           "from base as X\nrun echo x > /x\nFROM base\ncopy --from=x /x /y\n",
	"missing-copy":   "FROM base\nCOPY nothing /x\n",
	"missing-glob":   "FROM base\nCOPY nothing* a.txt /x/\n",
	"ignored-copy":   "FROM base\nCOPY ignored/file /x\n",
}
