package test

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// parityCase is one file below testdata/parity: a txtar archive with a Dockerfile and further files of the context. Lines of
// its comment that look like "key: value" say how it is built; the others say what it shows.
//
//	fails            both builders must fail
//	lenient: REASON  BuildKit fails and camada builds; the words stand in docs/compatibility.md
//	strict: REASON   the other way round
//	times: REASON    the times of files differ; the words stand in docs/compatibility.md
//	line: 3          the line to name, where BuildKit names none or another; "none" for no line
//	contains: TEXT   part of camada's message
//	file: PATH       a file that the image must have, so that the case shows what it claims
//	arg: A=b         a build argument (arg, target, platform, label, allow: may be given again)
//	secret: id=x,src=FILE   a file of the archive
//	named: NAME=DIR  a named context, a directory of the archive
//	hide: DIR        leaves a directory of the archive out of the context
//	mode: 755 PATH   link: PATH -> TARGET   dir: PATH
//	crlf: FILE   bom: FILE   trim: FILE     change line ends, put a byte order mark before, cut the last newline
//	git              the case needs git
type parityCase struct {
	dir, dockerfile string
	fails           bool
	lenient, strict string
	times           string
	line, contains  string
	files           []string
	args            []keyValue
	allChecks       bool // compare --check too, besides the warnings of the build
	source          string
	t               *testing.T
}

type keyValue struct{ key, value string }

// readParityCase makes the context of a case.
func readParityCase(t *testing.T, name, server string) *parityCase {
	t.Helper()
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	top := t.TempDir()
	section := filepath.Base(filepath.Dir(name))
	pc := &parityCase{t: t, allChecks: section == "checks" || section == "directives" || section == "format", dir: filepath.Join(top, "ctx"), dockerfile: filepath.Join(top, "df", "Dockerfile")}
	parityContext(t, pc.dir)
	for _, f := range archive.Files {
		text := strings.NewReplacer("{{server}}", server, "{{tab}}", "\t", "{{bell}}", "\a", "{{long}}", strings.Repeat("long ", 4000)).Replace(string(f.Data))
		switch f.Name {
		case "Dockerfile":
			pc.source = text
			write(t, filepath.Dir(pc.dockerfile), "Dockerfile", text)
		case "Dockerfile.dockerignore":
			write(t, filepath.Dir(pc.dockerfile), f.Name, text)
		default:
			write(t, pc.dir, f.Name, text)
		}
	}
	for l := range strings.Lines(string(archive.Comment)) {
		key, value, _ := strings.Cut(strings.TrimSpace(l), ": ")
		pc.set(key, strings.TrimSpace(value))
	}
	return pc
}

// path is a file of the case.
func (pc *parityCase) path(name string) string {
	if name == "Dockerfile" {
		return pc.dockerfile
	}
	return filepath.Join(pc.dir, name)
}

func (pc *parityCase) check(err error) {
	pc.t.Helper()
	if err != nil {
		pc.t.Fatal(err)
	}
}

// set is one line of the comment.
func (pc *parityCase) set(key, value string) {
	pc.t.Helper()
	switch key {
	case "fails":
		pc.fails = true
	case "lenient":
		pc.lenient = value
	case "times":
		pc.times = value
	case "strict":
		pc.strict = value
	case "line":
		pc.line = value
	case "contains":
		pc.contains = value
	case "file":
		pc.files = append(pc.files, value)
	case "arg", "target", "platform", "label", "allow", "secret", "named", "network", "add-host":
		pc.args = append(pc.args, keyValue{key, value})
	case "git":
		if _, err := exec.LookPath("git"); err != nil {
			pc.t.Skip("git is not installed")
		}
	case "mode":
		mode, name, _ := strings.Cut(value, " ")
		m, err := strconv.ParseUint(mode, 8, 32)
		pc.check(err)
		pc.check(os.Chmod(pc.path(name), unixMode(uint32(m))))
	case "dir":
		pc.check(os.MkdirAll(pc.path(value), 0o755))
	case "link":
		name, target, _ := strings.Cut(value, " -> ")
		pc.check(os.Symlink(target, pc.path(name)))
	case "hide":
		outside := filepath.Join(filepath.Dir(pc.dir), value)
		pc.check(os.Rename(pc.path(value), outside))
	case "crlf", "bom", "trim":
		pc.check(transform(pc.path(value), key))
	}
}

func transform(name, how string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	switch how {
	case "crlf":
		data = bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
	case "bom":
		data = append([]byte("\xef\xbb\xbf"), data...)
	case "trim":
		data = bytes.TrimSuffix(data, []byte("\n"))
	}
	return os.WriteFile(name, data, 0o644)
}

func unixMode(m uint32) os.FileMode {
	mode := os.FileMode(m & 0o777)
	for bit, f := range map[uint32]os.FileMode{0o4000: os.ModeSetuid, 0o2000: os.ModeSetgid, 0o1000: os.ModeSticky} {
		if m&bit != 0 {
			mode |= f
		}
	}
	return mode
}

// outside is the path of a directory of the archive, which may be hidden from the context.
func (pc *parityCase) outside(name string) string {
	if hidden := filepath.Join(filepath.Dir(pc.dir), name); name != "" && name != "." {
		if _, err := os.Stat(hidden); err == nil {
			return hidden
		}
	}
	return filepath.Join(pc.dir, name)
}

// buildctl is the case as arguments of buildctl.
func (pc *parityCase) buildctl(bases map[string][]string) []string {
	args := []string{"--progress", "rawjson", "--frontend", "dockerfile.v0", "--local", "context=" + pc.dir, "--local", "dockerfile=" + filepath.Dir(pc.dockerfile),
		"--opt", "build-arg:GIVEN=given", "--opt", "build-arg:SOURCE_DATE_EPOCH=" + strconv.Itoa(parityEpoch)}
	for name, known := range bases {
		if strings.Contains(pc.source, name) || slices.ContainsFunc(pc.args, func(a keyValue) bool { return strings.HasSuffix(a.value, "="+name) }) {
			args = append(args, known...)
		}
	}
	for _, a := range pc.args {
		switch a.key {
		case "arg":
			args = append(args, "--opt", "build-arg:"+a.value)
		case "label":
			args = append(args, "--opt", "label:"+a.value)
		case "network":
			args = append(args, "--opt", "force-network-mode="+a.value)
		case "add-host":
			args = append(args, "--opt", "add-hosts="+strings.Replace(a.value, ":", "=", 1))
		case "allow":
			args = append(args, "--allow", a.value)
		case "secret":
			args = append(args, "--secret", pc.secret(a.value))
		case "named":
			name, dir, _ := strings.Cut(a.value, "=")
			args = append(args, "--local", "named-"+name+"="+pc.outside(dir), "--opt", "context:"+name+"=local:named-"+name)
		default:
			args = append(args, "--opt", a.key+"="+a.value)
		}
	}
	return args
}

// camada is the case as arguments of camada build.
func (pc *parityCase) camada() []string {
	args := []string{"--build-arg", "GIVEN=given", "-f", pc.dockerfile}
	for _, a := range pc.args {
		switch a.key {
		case "arg":
			args = append(args, "--build-arg", a.value)
		case "secret":
			args = append(args, "--secret", pc.secret(a.value))
		case "named":
			name, dir, _ := strings.Cut(a.value, "=")
			args = append(args, "--build-context", name+"="+pc.outside(dir))
		default:
			args = append(args, "--"+a.key, a.value)
		}
	}
	return append(args, pc.dir)
}

func (pc *parityCase) secret(value string) string {
	return strings.Replace(value, "src=", "src="+pc.dir+"/", 1)
}

// parityContext makes what is in the context of all cases.
func parityContext(t *testing.T, dir string) {
	t.Helper()
	write(t, dir, "a.txt", "a\n", "b.txt", "b\n", "sub/c.txt", "c\n", "sub/deep/d.txt", "d\n", "space name.txt", "s\n", "x[1].txt", "x\n",
		"ignored/file", "no\n", "ignored/kept", "yes\n", "run.sh", "#!/bin/sh\necho hi\n", ".dockerignore", "ignored/*\n!ignored/kept\n**/*.tmp\n", "sub/t.tmp", "no\n")
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.Mkdir(filepath.Join(dir, "empty"), 0o750))
	check(os.Chmod(filepath.Join(dir, "run.sh"), 0o755))
	check(os.Chmod(filepath.Join(dir, "b.txt"), unixMode(0o4711)))
	check(os.Chmod(filepath.Join(dir, "sub/deep"), unixMode(0o1770)))
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
}
