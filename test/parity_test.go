package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/internal/peers"
	"github.com/google/go-cmp/cmp"
)

// parityEpoch is the time that no file of a build is younger than.
const parityEpoch = 1700000000

// parity is what all cases share.
type parity struct {
	ours  *ours
	peers *peers.Peers
	// bases are the arguments that make each base image known to BuildKit.
	bases map[string][]string
	// server is the address of a web server with files and a git repository.
	server string
	layers layerShelf
}

// TestParity builds each case of testdata/parity with camada and with BuildKit, and compares the image configs field by field
// and the file systems file by file; where both must fail it compares the line that they name. What is meant to
// differ stands in docs/compatibility.md. All cases take some four minutes on two cores; a case alone: go test ./test -run TestParity/copy/chmod-octal
func TestParity(t *testing.T) {
	p := peers.Need(t, "busybox", "buildkitd", "buildctl")
	y := &parity{ours: &ours{t: t, bin: shipped(t), root: p.Path("store")}, peers: p, bases: map[string][]string{}}
	p.StartBuildkit()
	y.makeBases(t)
	y.server = parityServer(t)
	sections, err := os.ReadDir("testdata/parity")
	if err != nil {
		t.Fatal(err)
	}
	cases := 0
	for _, s := range sections {
		files, err := filepath.Glob(filepath.Join("testdata/parity", s.Name(), "*.txtar"))
		if err != nil {
			t.Fatal(err)
		}
		cases += len(files)
		t.Run(s.Name(), func(t *testing.T) {
			for _, f := range files {
				t.Run(strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) {
					t.Parallel()
					y.run(t, readParityCase(t, f, y.server))
				})
			}
		})
	}
	if cases < 650 {
		t.Errorf("%d cases, want at least 650", cases)
	}
}

// makeBases builds the images that cases start from, and hands them to BuildKit.
func (y *parity) makeBases(t *testing.T) {
	t.Helper()
	dir := system(t, y.peers.Path("base"))
	if err := os.Chmod(filepath.Join(dir, "rootfs/tmp"), os.ModeSticky|0o777); err != nil {
		t.Fatal(err)
	}
	for name, text := range parityBases() {
		write(t, dir, name+".df", text)
		y.ours.run("build", "-q", "-t", name, "-f", filepath.Join(dir, name+".df"), dir)
		layout := y.peers.Path(name + "-layout")
		y.ours.run("save", "--format", "oci-dir", "-o", layout, name)
		digest := y.ours.run("images", "--format", "{{.Digest}}", name)
		y.bases[name] = append(y.bases[name], "--oci-layout", name+"="+layout, "--opt", "context:"+name+"=oci-layout://"+name+"@"+digest)
	}
}

// parityBases are the Dockerfiles of the base images.
func parityBases() map[string]string {
	const base = "FROM scratch\nCOPY rootfs /\nENV PATH=/bin\n"
	return map[string]string{
		"base":    base,
		"trigger": base + "ONBUILD COPY a.txt /triggered/\nONBUILD RUN echo triggered > /triggered/run\nONBUILD ENV TRIGGERED=yes\n",
		// An image that says all that can be said of it.
		"full": base + "ENV GREETING=hello EMPTY=\nWORKDIR /srv\nUSER app\nENTRYPOINT [\"/bin/echo\"]\nCMD [\"from\", \"base\"]\n" +
			"EXPOSE 80\nVOLUME /data\nLABEL base=full kept=yes\nSTOPSIGNAL SIGINT\nHEALTHCHECK --interval=9s CMD true\nMAINTAINER The Base\n",
		"shelled": base + "SHELL [\"/bin/sh\", \"-ec\"]\n",
	}
}

// run builds one case with both, and compares.
func (y *parity) run(t *testing.T, pc *parityCase) {
	p, c := y.peers.In(t), y.ours.in(t)
	theirs := y.theirBuild(p, pc)
	ours := y.ourBuild(t, c, pc)
	for _, reason := range []string{pc.lenient, pc.strict, pc.times} {
		if documented := read(t, "../docs/compatibility.md"); !strings.Contains(documented, reason) {
			t.Errorf("docs/compatibility.md does not say %q", reason)
		}
	}
	if pc.lenient+pc.strict != "" {
		if (theirs.err != "") != (pc.lenient != "") || (ours.err != "") != (pc.strict != "") {
			t.Errorf("BuildKit says %q\ncamada says %q", theirs.err, ours.err)
		}
		return
	}
	if (theirs.err == "") != (ours.err == "") {
		t.Fatalf("BuildKit says %q\ncamada says %q", theirs.err, ours.err)
	}
	if (theirs.err != "") != pc.fails {
		t.Fatalf("both say the same, but the case expects failure: %v: %s", pc.fails, ours.err)
	}
	if pc.allChecks {
		y.compareChecks(t, p, c, pc)
	}
	if theirs.err != "" {
		pc.compareErrors(t, theirs.err, ours.err)
		return
	}
	if pc.contains != "" {
		t.Errorf("a case that builds has no message to contain %q", pc.contains)
	}
	if diff := cmp.Diff(theirs.config, ours.config); diff != "" {
		t.Errorf("config, -BuildKit +camada\n%s", diff)
	}
	if diff := cmp.Diff(theirs.warnings, ours.warnings); diff != "" {
		t.Errorf("warnings, -BuildKit +camada\n%s", diff)
	}
	want, got := y.layers.listing(t, theirs.layers), y.layers.listing(t, ours.layers)
	if pc.times != "" {
		want, got = withoutTimes(want), withoutTimes(got)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files, -BuildKit +camada\n%s", diff)
	}
	for _, want := range pc.files {
		if !slices.ContainsFunc(got, func(l string) bool { return strings.HasPrefix(l, want+" ") }) {
			t.Errorf("there is no file %s", want)
		}
	}
}

// withoutTimes leaves the times out of a listing.
func withoutTimes(lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		before, after, _ := strings.Cut(l, " -> ")
		out[i] = before[:strings.LastIndexByte(before, ' ')+1] + "-> " + after
	}
	return out
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// parityLine finds the line of the Dockerfile that a message names.
var parityLine = regexp.MustCompile(`Dockerfile:(\d+)|dockerfile parse error on line (\d+)`)

func lineOf(message string) string {
	m := parityLine.FindStringSubmatch(message)
	if m == nil {
		return ""
	}
	return m[1] + m[2]
}

// compareErrors demands that camada names the line that BuildKit names.
func (pc *parityCase) compareErrors(t *testing.T, theirs, ours string) {
	t.Helper()
	want, got := lineOf(theirs), lineOf(ours)
	if pc.line != "" {
		want = strings.TrimPrefix(pc.line, "none")
	}
	if (want != "" || pc.line != "") && want != got {
		t.Errorf("camada names line %q, want %s\nBuildKit: %s\ncamada: %s", got, want, theirs, ours)
	}
	if !strings.Contains(ours, pc.contains) {
		t.Errorf("camada's message lacks %q: %s", pc.contains, ours)
	}
}

// built is what came of a build: an error, or an image.
type built struct {
	err    string
	config string
	layers []layerBytes
	// warnings are what the build checks say, sorted.
	warnings []string
}

// theirBuild builds with BuildKit, and reads the image from its output.
func (y *parity) theirBuild(p *peers.Peers, pc *parityCase) built {
	args := append([]string{"build", "--output", "type=oci,rewrite-timestamp=true,dest=-"}, pc.buildctl(y.bases)...)
	out, messages, err := p.Talk("buildctl", args...)
	if err != nil {
		return built{err: err.Error() + ": " + withoutNoise(messages)}
	}
	b := pc.readArchive(out)
	b.warnings = theirWarnings(messages)
	return b
}

// withoutNoise leaves out what buildctl logs, and its progress.
func withoutNoise(s string) string {
	var out []string
	for l := range strings.Lines(s) {
		if !strings.Contains(l, "level=warning") && !strings.HasPrefix(l, "{") {
			out = append(out, l)
		}
	}
	return strings.Join(out, "")
}

// ourBuild builds with camada, and reads the image from its store.
func (y *parity) ourBuild(t *testing.T, c *ours, pc *parityCase) built {
	t.Helper()
	meta := filepath.Join(t.TempDir(), "meta.json")
	args := append([]string{"build", "--progress=plain", "--lint=none", "--metadata-file", meta}, pc.camada()...)
	_, message, code := c.talk(args...)
	if code != 0 {
		return built{err: message[strings.LastIndex("\n"+message, "\ncamada: "):]}
	}
	data, err := os.ReadFile(meta)
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Digest string `json:"containerimage.digest"`
	}
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	b := pc.readImage(m.Digest, func(digest string) []byte {
		algorithm, hex, _ := strings.Cut(digest, ":")
		data, err := os.ReadFile(filepath.Join(c.root, "blobs", algorithm, hex))
		if err != nil {
			t.Fatal(err)
		}
		return data
	})
	b.warnings = ourWarnings(message)
	return b
}

// parityConfig is what matters of an image's config, as text.
func parityConfig(data []byte) (string, error) {
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		return "", err
	}
	rootfs, _ := config["rootfs"].(map[string]any)
	ids, _ := rootfs["diff_ids"].([]any)
	config["rootfs"] = fmt.Sprintf("%d layers", len(ids)) // they are compared by their files
	text, err := json.MarshalIndent(config, "", " ")
	return string(text), err
}
