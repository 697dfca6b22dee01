package build_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/camada/camada/build"
	"github.com/camada/camada/build/op"
	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/mount"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/snapshot"
	"github.com/camada/camada/snapshot/native"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// chrootExecutor runs steps in a chroot: enough to see real processes write real files.
type chrootExecutor struct {
	mu   sync.Mutex
	runs [][]string
}

func (c *chrootExecutor) Run(ctx context.Context, req op.RunRequest) error {
	c.mu.Lock()
	c.runs = append(c.runs, req.Args)
	c.mu.Unlock()
	if req.Root.Kind != mount.Bind {
		return errdefs.Unsupported("a root of kind %s", req.Root.Kind)
	}
	for _, m := range req.Mounts {
		target := filepath.Join(req.Root.Source, m.Target)
		if err := os.CopyFS(target, os.DirFS(m.Source)); err != nil {
			return err
		}
		defer os.RemoveAll(target)
	}
	var err error
	for range 100 { // a child that another step just forks may still have the program open for writing
		cmd := exec.CommandContext(ctx, req.Args[0], req.Args[1:]...)
		cmd.Err = nil
		cmd.Env, cmd.Dir = req.Env, req.Cwd
		cmd.Stdout, cmd.Stderr = req.Stdout, req.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: req.Root.Source, Pdeathsig: syscall.SIGKILL}
		if err = cmd.Run(); !errors.Is(err, syscall.ETXTBSY) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return &op.ExitError{Code: exit.ExitCode()}
	}
	return err
}

// fixture is a store with a builder over it.
type fixture struct {
	t       *testing.T
	root    string
	store   *local.Store
	snaps   *native.Snapshotter
	exec    *chrootExecutor
	images  map[string]build.Base
	builder *build.Builder
	mu      sync.Mutex
	events  []progress.Event
	log     bytes.Buffer
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, root: t.TempDir(), exec: &chrootExecutor{}, images: map[string]build.Base{}}
	f.store = local.Open(f.root, local.Options{})
	f.snaps = native.Open(filepath.Join(f.root, "snapshots"), native.Options{Pins: lease.None{}})
	f.builder = build.New(build.Parts{
		Content: f.store, Snapshots: f.snaps, CacheDir: filepath.Join(f.root, "cache"), Executor: f.exec, Images: f,
	})
	return f
}

// Resolve implements build.Resolver with the images that tests name.
func (f *fixture) Resolve(_ context.Context, name string, _ ocispec.Platform, _ bool) (build.Base, error) {
	b, ok := f.images[name]
	if !ok {
		return b, errdefs.NotFound("image %s is not in the store", name)
	}
	return b, nil
}

// Emit implements progress.Sink.
func (f *fixture) Emit(e progress.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log.Write(e.Log)
	e.Log = nil
	f.events = append(f.events, e)
}

func (f *fixture) build(opts build.Options) *build.Result {
	f.t.Helper()
	res, err := f.builder.Build(f.t.Context(), opts, f)
	if err != nil {
		f.t.Fatalf("build: %v", err)
	}
	return res
}

// name makes a result a base image.
func (f *fixture) name(name string, res *build.Result) {
	f.t.Helper()
	cfg, err := content.ReadAll(f.t.Context(), f.store, res.Config, 1<<20)
	if err != nil {
		f.t.Fatal(err)
	}
	f.images[name] = build.Base{Name: name, Manifest: res.Manifest, Config: cfg, Layers: res.Layers}
}

// withShell names an image "sh" that can run commands; it needs root.
func (f *fixture) withShell() {
	f.t.Helper()
	if os.Geteuid() != 0 {
		f.t.Skip("chroot needs root")
	}
	bin := filepath.Join(f.t.TempDir(), "sh")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", bin, "./testdata/sh")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		f.t.Fatalf("build the shell: %v\n%s", err, out)
	}
	exe, err := os.ReadFile(bin)
	must(f.t, err)
	dir := tree(f.t, map[string]string{"sh": string(exe), "passwd": "root:x:0:0::/root:/bin/sh\nann:x:1000:1001::/home/ann:/bin/sh\n", "group": "root:x:0:\nstaff:x:50:\n"})
	f.name("sh", f.build(build.Options{Context: dir, Source: []byte("FROM scratch\nCOPY --chmod=755 sh /bin/sh\nCOPY passwd group /etc/\nRUN mkdir /tmp\n")}))
}

// tree makes a directory of files; names that end with "/" are directories, contents that
// begin with "-> " are links.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	addFiles(t, dir, files)
	return dir
}

func addFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, data := range files {
		p := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		switch target, isLink := strings.CutPrefix(data, "-> "); {
		case strings.HasSuffix(name, "/"):
			must(t, os.MkdirAll(p, 0o755))
		case isLink:
			must(t, os.Symlink(target, p))
		default:
			must(t, os.WriteFile(p, []byte(data), 0o644))
			must(t, os.Chmod(p, 0o644))
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// listing describes the layers of a result from n on, one line an entry.
func (f *fixture) listing(res *build.Result, n int) string {
	f.t.Helper()
	var b strings.Builder
	for i, desc := range res.Layers[n:] {
		fmt.Fprintf(&b, "layer %d\n", i+n)
		r, err := layer.Open(f.t.Context(), f.store, desc, res.Image.RootFS.DiffIDs[i+n], layer.OpenOptions{})
		must(f.t, err)
		tr := tar.NewReader(r)
		for {
			h, err := tr.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			must(f.t, err)
			data, err := io.ReadAll(tr)
			must(f.t, err)
			fmt.Fprintf(&b, "%c %04o %d:%d %d %q", h.Typeflag, h.Mode, h.Uid, h.Gid, h.ModTime.Unix(), h.Name)
			if h.Linkname != "" {
				fmt.Fprintf(&b, " -> %q", h.Linkname)
			}
			if h.Typeflag == tar.TypeReg && len(data) < 200 {
				fmt.Fprintf(&b, " %q", data)
			}
			var keys []string
			for k := range h.PAXRecords {
				if strings.HasPrefix(k, "SCHILY.xattr.") {
					keys = append(keys, k)
				}
			}
			sort.Strings(keys)
			for _, k := range keys {
				fmt.Fprintf(&b, " %s=%q", k, h.PAXRecords[k])
			}
			b.WriteByte('\n')
		}
		must(f.t, r.Close())
	}
	return b.String()
}

// nothingLeft checks that no snapshot of an unfinished step is left. One without a name may be
// left when a named one lies on it: that happens when another build made the same layer.
func (f *fixture) nothingLeft() {
	f.t.Helper()
	var unnamed []snapshot.Info
	parents := map[string]bool{}
	must(f.t, f.snaps.Walk(f.t.Context(), func(i snapshot.Info) error {
		if i.State == snapshot.Committed {
			parents[i.Parent] = true
		} else {
			unnamed = append(unnamed, i)
		}
		return nil
	}))
	for _, i := range unnamed {
		if i.State != snapshot.Frozen || !parents[i.ID] {
			f.t.Errorf("snapshot %s is left: %s on %q", i.ID, i.State, i.Parent)
		}
	}
}

func config(t *testing.T, res *build.Result) string {
	t.Helper()
	b, err := json.MarshalIndent(res.Image, "", "  ")
	must(t, err)
	return string(b)
}
