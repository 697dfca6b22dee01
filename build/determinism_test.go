package build_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/build"
	"github.com/camada/camada/build/op"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/snapshot/native"
	"golang.org/x/sys/unix"
)

const manyStages = `FROM sh AS a
COPY . /src
RUN write /src/out one;mkdir /tmp/x;symlink /y /tmp/l
FROM sh AS b
WORKDIR /w
RUN write two 2;link /w/two /w/three
FROM sh AS c
COPY --chown=ann sub /s
RUN rm /etc/group
FROM sh
COPY --from=a /src /a
COPY --from=b /w /b
COPY --from=c /s /c
ENV done=yes
RUN env /epoch SOURCE_DATE_EPOCH
`

// age sets all times below dir, with the fraction of a second that file systems keep.
func age(t *testing.T, dir string, when time.Time) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		ts := []unix.Timespec{unix.NsecToTimespec(when.UnixNano()), unix.NsecToTimespec(when.UnixNano())}
		return unix.UtimesNanoAt(unix.AT_FDCWD, p, ts, unix.AT_SYMLINK_NOFOLLOW)
	}))
}

// TestSameDigest builds the same in other stores, directories, times, orders of files and numbers of
// threads, and wants one manifest digest.
func TestSameDigest(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	var want string
	for i, procs := range []int{1, 2, 8} {
		runtime.GOMAXPROCS(procs)
		f := newFixture(t)
		f.withShell()
		dir := t.TempDir()
		files := goldenContext()
		delete(files, "Dockerfile")
		for n := range 20 * (i + 1) { // directories in another order
			must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(n)), nil, 0o600))
			must(t, os.Remove(filepath.Join(dir, fmt.Sprint(n))))
		}
		addFiles(t, dir, files)
		age(t, dir, time.Date(2000+10*i, 1, 2, 3, 4, 5, 678, time.UTC))
		for _, noCache := range []bool{false, true, false} {
			res := f.build(build.Options{Context: dir, Source: []byte(manyStages), NoCache: noCache, Parallel: procs})
			got := res.Manifest.Digest.String()
			if want == "" {
				want = got
			}
			if got != want {
				t.Errorf("GOMAXPROCS %d, no cache %v: %s, want %s\n%s", procs, noCache, got, want, f.listing(res, 3))
			}
		}
		f.nothingLeft()
	}
}

func TestEpoch(t *testing.T) {
	f := newFixture(t)
	dir := tree(t, map[string]string{"a": "A"})
	src := []byte("FROM scratch\nCOPY a /\n")
	when := time.Date(2020, 5, 6, 7, 8, 9, 0, time.UTC)
	res := f.build(build.Options{Context: dir, Source: src, SourceDateEpoch: &when})
	if !res.Image.Created.Equal(when) || !res.Image.History[0].Created.Equal(when) {
		t.Errorf("created %v, history %v, want %v", res.Image.Created, res.Image.History[0].Created, when)
	}
	if got, want := f.listing(res, 0), fmt.Sprintf("layer 0\n0 0644 0:0 %d \"a\" \"A\"\n", when.Unix()); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	byArg := f.build(build.Options{Context: dir, Source: src, BuildArgs: map[string]string{"SOURCE_DATE_EPOCH": fmt.Sprint(when.Unix())}})
	if byArg.Manifest.Digest != res.Manifest.Digest {
		t.Error("the build argument means something else than the option")
	}
	// The time of the base image is the default.
	f.name("base", res)
	onTop := f.build(build.Options{Context: dir, Source: []byte("FROM base\nCOPY a /b\n")})
	if !onTop.Image.Created.Equal(when) {
		t.Errorf("on top of a base of %v: created %v", when, onTop.Image.Created)
	}
	if _, err := f.builder.Build(t.Context(), build.Options{Source: src, BuildArgs: map[string]string{"SOURCE_DATE_EPOCH": "tomorrow"}}, f); !errdefs.IsInvalid(err) {
		t.Errorf("a bad epoch: %v", err)
	}
}

func TestAddUnpacks(t *testing.T) {
	var plain bytes.Buffer
	tw := tar.NewWriter(&plain)
	old := time.Unix(1000, 0)
	for _, h := range []tar.Header{
		{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o700, Uid: 5, Gid: 6, ModTime: old},
		{Name: "d/f", Typeflag: tar.TypeReg, Mode: 0o640, Uid: 5, Gid: 6, Size: 2, ModTime: old},
		{Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: "f", ModTime: old},
		{Name: "d/h", Typeflag: tar.TypeLink, Linkname: "d/f", ModTime: old},
	} {
		must(t, tw.WriteHeader(&h))
		if h.Size > 0 {
			_, err := tw.Write([]byte("hi"))
			must(t, err)
		}
	}
	must(t, tw.Close())
	var zipped bytes.Buffer
	zw := gzip.NewWriter(&zipped)
	_, err := zw.Write(plain.Bytes())
	must(t, err)
	must(t, zw.Close())
	if os.Geteuid() != 0 {
		t.Skip("owners need root")
	}
	f := newFixture(t)
	dir := tree(t, map[string]string{"a.tar": plain.String(), "a.tgz": zipped.String(), "not.tar": "no archive", "empty.tar": ""})
	when := time.Unix(5000, 0)
	build1 := func(lines string) string {
		t.Helper()
		return f.listing(f.build(build.Options{Context: dir, Source: []byte("FROM scratch\n" + lines), SourceDateEpoch: &when}), 0)
	}
	const unpacked = `5 0755 0:0 5000 "x/"
5 0700 5:6 1000 "x/d/"
0 0640 5:6 1000 "x/d/f" "hi"
1 0640 5:6 1000 "x/d/h" -> "x/d/f"
2 0777 0:0 1000 "x/d/l" -> "f"
`
	for _, name := range []string{"a.tar", "a.tgz"} {
		if got := build1("ADD " + name + " /x\n"); got != "layer 0\n"+unpacked {
			t.Errorf("%s: got\n%s", name, got)
		}
	}
	if got := build1("ADD --chown=7:8 a.tgz /x/\n"); !strings.Contains(got, `0640 7:8 1000 "x/d/f"`) || !strings.Contains(got, `0755 7:8 5000 "x/"`) {
		t.Errorf("--chown: got\n%s", got)
	}
	if got := build1("ADD not.tar empty.tar /x/\n"); strings.Count(got, "\n") != 4 {
		t.Errorf("no archives: got\n%s", got)
	}
	for _, line := range []string{"COPY a.tar /x/\n", "ADD --unpack=false a.tar /x/\n"} {
		if got := build1(line); !strings.Contains(got, `0 0644 0:0 5000 "x/a.tar"`) {
			t.Errorf("%s: got\n%s", line, got)
		}
	}
	f.nothingLeft()
}

// TestFailureLeavesNothing: no ref can exist, no unnamed snapshot does, and what was finished is found again.
func TestFailureLeavesNothing(t *testing.T) {
	f := newFixture(t)
	f.withShell()
	dir := tree(t, map[string]string{"a": "A"})
	src := "FROM sh\nCOPY a /\nRUN write /x y\nRUN fail\nRUN write /z z\n"
	_, err := f.builder.Build(t.Context(), build.Options{Context: dir, Source: []byte(src)}, f)
	var e *dockerfile.Error
	var exit *op.ExitError
	if !errors.As(err, &e) || e.Line != 4 || !errors.As(err, &exit) || exit.Code != 1 {
		t.Fatalf("got %v", err)
	}
	f.nothingLeft()
	runs := len(f.exec.runs)
	res := f.build(build.Options{Context: dir, Source: []byte(strings.Replace(src, "RUN fail", "RUN write /f f", 1))})
	if n := len(f.exec.runs) - runs; n != 2 || res.Cached != 2 {
		t.Errorf("%d commands were run, %d steps cached: the finished steps of the failed build were lost", n, res.Cached)
	}
}

func TestCancel(t *testing.T) {
	f := newFixture(t)
	f.withShell()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			f.mu.Lock()
			for _, e := range f.events {
				if strings.HasSuffix(e.Name, "RUN sleep") {
					cancel()
				}
			}
			f.mu.Unlock()
			if ctx.Err() != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	_, err := f.builder.Build(ctx, build.Options{Source: []byte("FROM sh\nRUN write /x y\nRUN sleep\n")}, f)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	f.nothingLeft()
}

// TestOneFailureEndsOthers: a stage that would run for ever is stopped by another's failure.
func TestOneFailureEndsOthers(t *testing.T) {
	f := newFixture(t)
	f.withShell()
	_, err := f.builder.Build(t.Context(), build.Options{Parallel: 2, Source: []byte("FROM sh AS a\nRUN sleep\nFROM sh AS b\nRUN fail\nFROM sh\nCOPY --from=a /x /x\nCOPY --from=b /x /x\n")}, f)
	var e *dockerfile.Error
	if !errors.As(err, &e) || e.Line != 4 {
		t.Errorf("got %v", err)
	}
	f.nothingLeft()
}

// TestStagesSideBySide: each of two stages waits for the other one.
func TestStagesSideBySide(t *testing.T) {
	f := newFixture(t)
	meet := &meeting{here: make(chan struct{}), both: make(chan struct{})}
	f.builder = build.New(build.Parts{Content: f.store, Snapshots: f.snaps, CacheDir: t.TempDir(), Executor: meet})
	dir := tree(t, map[string]string{"a": "A"})
	f.build(build.Options{Context: dir, Parallel: 2, Source: []byte("FROM scratch AS a\nCOPY a /\nRUN [\"one\"]\nFROM scratch AS b\nCOPY a /\nRUN [\"two\"]\nFROM scratch\nCOPY --from=a /a /1\nCOPY --from=b /a /2\n")})
}

// meeting is an Executor that returns when two of its runs have met.
type meeting struct{ here, both chan struct{} }

func (m *meeting) Run(ctx context.Context, _ op.RunRequest) error {
	select {
	case m.here <- struct{}{}:
		<-m.both
	case <-m.here:
		close(m.both)
	case <-time.After(30 * time.Second):
		return errors.New("nobody came")
	}
	return nil
}

func TestNoExecutor(t *testing.T) {
	root := t.TempDir()
	b := build.New(build.Parts{Content: local.Open(root, local.Options{}), Snapshots: native.Open(root+"/s", native.Options{}), CacheDir: root + "/c"})
	_, err := b.Build(t.Context(), build.Options{Source: []byte("FROM scratch\nRUN x\n")}, nil)
	if !errdefs.IsUnsupported(err) {
		t.Errorf("got %v", err)
	}
}
