package engine

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/remote/remotetest"
	"github.com/opencontainers/go-digest"
)

// machine is a store of its own.
func machine(t *testing.T) *Engine {
	t.Helper()
	e, err := Open(t.Context(), Config{Root: t.TempDir(), Driver: DriverNative})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// seen gathers what a build told.
type seen struct {
	mu     sync.Mutex
	cached []string
	failed []string
	names  []string
}

func (s *seen) Emit(e progress.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.names, e.Name) {
		s.names = append(s.names, e.Name)
	}
	switch e.State {
	case progress.Cached:
		s.cached = append(s.cached, e.Name)
	case progress.Failed:
		s.failed = append(s.failed, e.Name)
	}
}

// project makes a context of two stages, whose image has nothing of the first one but a file.
func project(t *testing.T, base string) BuildOptions {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"Dockerfile": "FROM " + base + " AS one\nCOPY a /a\nCOPY b /dir/b\nFROM " + base + "\nCOPY --from=one /dir /dir\nWORKDIR /w\n",
		"a":          "file a", "b": "file b",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return BuildOptions{ContextDir: dir, Tags: []string{"app"}, SourceDateEpoch: "0"}
}

func mustBuild(t *testing.T, e *Engine, o BuildOptions) (BuildResult, *seen) {
	t.Helper()
	s := &seen{}
	res, err := e.Build(t.Context(), o, s)
	if err != nil {
		t.Fatal(err)
	}
	return res, s
}

// pushBase puts a base image of one layer into the registry.
func pushBase(t *testing.T, reg *remotetest.Registry) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "base"), []byte("of all"), 0o644); err != nil {
		t.Fatal(err)
	}
	name := reg.Ref("base:1").String()
	_, _ = mustBuild(t, machine(t), BuildOptions{ContextDir: dir, Dockerfile: []byte("FROM scratch\nCOPY base /base\n"), Tags: []string{name},
		SourceDateEpoch: "0", Outputs: []BuildOutput{{Type: OutputImage, Push: true}}})
	return name
}

func TestLazyBase(t *testing.T) {
	reg := remotetest.Start(t)
	base := pushBase(t, reg)
	reg.Forget()
	e := machine(t)
	o := BuildOptions{Dockerfile: []byte("FROM " + base + "\nENV A=1\n"), Tags: []string{"app"}, SourceDateEpoch: "0", Outputs: []BuildOutput{{Type: OutputNone}}}
	mustBuild(t, e, o)
	if got := reg.Calls("GET blobs"); len(got) != 1 {
		t.Errorf("only the config is needed: %v", got)
	}
	if _, err := e.resolve(t.Context(), base); !errdefs.IsNotFound(err) {
		t.Errorf("an image without its layers has a name: %v", err)
	}
	o.Outputs = nil
	mustBuild(t, e, o)
	if f, err := e.resolve(t.Context(), base); err != nil {
		t.Error(err)
	} else if err := e.whole(t.Context(), f.descriptor); err != nil {
		t.Error(err)
	}
	reg.Forget()
	mustBuild(t, e, o)
	if got := reg.Calls(""); len(got) != 0 {
		t.Errorf("what is in the store was looked for: %v", got)
	}
	o.Pull = true
	mustBuild(t, e, o)
	if got := reg.Calls("HEAD manifests/1"); len(got) != 1 {
		t.Errorf("--pull did not ask: %v", reg.Calls(""))
	}
	reg.Damage(mustLayer(t, e, base))
	if _, err := machine(t).Build(t.Context(), o, nil); !errdefs.IsCorrupt(err) {
		t.Errorf("a damaged layer: %v", err)
	}
}

// TestEmptyMachine builds on a machine that has nothing, with the cache of another one.
func TestEmptyMachine(t *testing.T) {
	reg := remotetest.Start(t)
	base := pushBase(t, reg)
	dir := filepath.Join(t.TempDir(), "cache")
	o := project(t, base)
	o.CacheTo = []string{"type=registry,mode=max,ref=" + reg.Ref("cache:max").String(), "type=registry,mode=min,ref=" + reg.Ref("min:1").String(),
		"type=local,mode=max,dest=" + dir}
	first, _ := mustBuild(t, machine(t), o)
	for name, from := range map[string]string{
		"max": "type=registry,ref=" + reg.Ref("cache:max").String(), "short": reg.Ref("cache:max").String(),
		"min": reg.Ref("min:1").String(), "local": "type=local,src=" + dir,
	} {
		t.Run(name, func(t *testing.T) {
			e := machine(t)
			o := o
			o.CacheTo, o.CacheFrom, o.Outputs = nil, []string{from}, []BuildOutput{{Type: OutputNone}}
			reg.Forget()
			second, _ := mustBuild(t, e, o)
			if second.Cached != 4 || second.Descriptor.Digest != first.Descriptor.Digest {
				t.Errorf("%d steps were cached, and the digest is %s; want 4, %s", second.Cached, second.Descriptor.Digest, first.Descriptor.Digest)
			}
			// The configs of the base image and, in a registry, of the cache.
			if got := len(reg.Calls("GET blobs")); got > 2 {
				t.Errorf("layers were fetched: %v", reg.Calls("GET blobs"))
			}
			o.Outputs, o.CacheFrom = nil, []string{from}
			if third, _ := mustBuild(t, e, o); third.Cached != 4 {
				t.Errorf("%d steps were cached", third.Cached)
			}
			f, err := e.resolve(t.Context(), "app")
			if err != nil {
				t.Fatal(err)
			}
			if err := e.whole(t.Context(), f.descriptor); err != nil {
				t.Error(err)
			}
			// What was fetched is in the cache of this machine now.
			o.CacheFrom = nil
			if fourth, _ := mustBuild(t, e, o); fourth.Cached < 2 || fourth.Descriptor.Digest != first.Descriptor.Digest {
				t.Errorf("without the source %d steps were cached, digest %s", fourth.Cached, fourth.Descriptor.Digest)
			}
		})
	}
}

// TestMinimalCache needs the result of a step that is not with the cache, which so far was not needed.
func TestMinimalCache(t *testing.T) {
	reg := remotetest.Start(t)
	o := project(t, pushBase(t, reg))
	o.CacheTo = []string{"type=registry,ref=" + reg.Ref("min:1").String()}
	mustBuild(t, machine(t), o)
	text, err := os.ReadFile(filepath.Join(o.ContextDir, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	o.CacheTo, o.CacheFrom = nil, []string{reg.Ref("min:1").String()}
	o.Dockerfile = []byte(strings.Replace(string(text), "/dir /dir", "/dir /elsewhere", 1))
	want, _ := mustBuild(t, machine(t), BuildOptions{ContextDir: o.ContextDir, Dockerfile: o.Dockerfile, SourceDateEpoch: "0"})
	got, s := mustBuild(t, machine(t), o)
	if got.Descriptor.Digest != want.Descriptor.Digest {
		t.Errorf("digest %s, want %s", got.Descriptor.Digest, want.Descriptor.Digest)
	}
	if slices.ContainsFunc(s.failed, func(n string) bool { return strings.Contains(n, "without the cache") }) {
		t.Errorf("the source was given up: %v", s.failed)
	}
}

// TestCacheByFiles: the stage that is copied from changes in another file, on a machine that has the cache of another one only. That
// cache was written by a build which found everything in the cache of a third one.
func TestCacheByFiles(t *testing.T) {
	reg := remotetest.Start(t)
	o := project(t, pushBase(t, reg))
	o.CacheTo = []string{"type=registry,mode=max,ref=" + reg.Ref("cache:1").String()}
	mustBuild(t, machine(t), o)
	o.CacheFrom, o.CacheTo = []string{reg.Ref("cache:1").String()}, []string{"type=registry,mode=max,ref=" + reg.Ref("cache:2").String()}
	if got, _ := mustBuild(t, machine(t), o); got.Cached != 4 {
		t.Errorf("%d steps cached", got.Cached)
	}
	if err := os.WriteFile(filepath.Join(o.ContextDir, "a"), []byte("another file"), 0o644); err != nil {
		t.Fatal(err)
	}
	o.CacheFrom, o.CacheTo = []string{reg.Ref("cache:2").String()}, nil
	e := machine(t)
	got, s := mustBuild(t, e, o)
	if got.Cached != 2 || !slices.ContainsFunc(s.cached, func(n string) bool { return strings.Contains(n, "COPY --from=one") }) {
		t.Errorf("%d steps cached, want the copy from the stage and the one after it: %v", got.Cached, s.cached)
	}
	o.CacheFrom, o.SourceDateEpoch = nil, "0"
	if again, _ := mustBuild(t, e, o); again.Cached != 4 {
		t.Errorf("%d steps cached", again.Cached)
	}
}

// TestLocalCacheStaysSmall writes a cache into the directory that it was read from: what it does not have any more is gone.
func TestLocalCacheStaysSmall(t *testing.T) {
	reg := remotetest.Start(t)
	o := project(t, pushBase(t, reg))
	dir := filepath.Join(t.TempDir(), "cache")
	o.CacheTo = []string{"type=local,mode=max,dest=" + dir}
	blobs := func() int {
		all, err := filepath.Glob(filepath.Join(dir, "blobs/*/*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	mustBuild(t, machine(t), o)
	first := blobs()
	o.CacheFrom = []string{"type=local,src=" + dir}
	for n := range 3 {
		if err := os.WriteFile(filepath.Join(o.ContextDir, "b"), []byte(strings.Repeat("b", n)), 0o644); err != nil {
			t.Fatal(err)
		}
		mustBuild(t, machine(t), o)
		if got := blobs(); got != first {
			t.Errorf("after change %d the cache has %d blobs, and had %d", n, got, first)
		}
	}
	o.CacheTo = nil
	if got, _ := mustBuild(t, machine(t), o); got.Cached != 4 {
		t.Errorf("%d steps cached", got.Cached)
	}
	// A layout that has something else is left alone.
	o.CacheFrom, o.CacheTo = nil, []string{"type=local,mode=max,dest=" + dir}
	o.Outputs = []BuildOutput{{Type: OutputOCI, Dest: dir}}
	mustBuild(t, machine(t), o)
	extra := filepath.Join(dir, "blobs/sha256", strings.Repeat("0", 64))
	if err := os.WriteFile(extra, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mustBuild(t, machine(t), o)
	if _, err := os.Stat(extra); err != nil {
		t.Errorf("a blob beside an image: %v", err)
	}
}

// TestBadCaches builds all the same.
func TestBadCaches(t *testing.T) {
	reg := remotetest.Start(t)
	o := project(t, pushBase(t, reg))
	ref := reg.Ref("cache:1").String()
	o.CacheTo = []string{"type=registry,mode=max,ref=" + ref}
	first, _ := mustBuild(t, machine(t), o)
	o.CacheTo = nil
	full := machine(t)
	mustBuild(t, full, o)
	o.CacheFrom = []string{"type=local,src=" + t.TempDir(), reg.Ref("none:1").String(), "127.0.0.1:1/gone", reg.Ref("base:1").String(), ref}
	if got, s := mustBuild(t, machine(t), o); got.Cached != 4 || len(s.failed) != 4 {
		t.Errorf("%d steps cached behind four bad sources; failed %v", got.Cached, s.failed)
	}
	// Each layer of the image is damaged where the cache has it.
	img, _, err := full.open(t.Context(), "app", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range img.Layers[1:] {
		reg.Damage(l.Digest)
	}
	got, s := mustBuild(t, machine(t), o)
	if got.Descriptor.Digest != first.Descriptor.Digest {
		t.Errorf("with damaged layers the digest is %s, want %s", got.Descriptor.Digest, first.Descriptor.Digest)
	}
	if !slices.ContainsFunc(s.failed, func(n string) bool { return strings.Contains(n, "without the cache") }) {
		t.Errorf("nobody told of the damage: %v", s.failed)
	}
}

func TestInlineCache(t *testing.T) {
	for name, api := range map[string]bool{"referrers": true, "tag": false} {
		t.Run(name, func(t *testing.T) {
			reg := remotetest.Start(t)
			reg.Referrers = api
			o := project(t, pushBase(t, reg))
			app := reg.Ref("app:1").String()
			plain, _ := mustBuild(t, machine(t), o)
			o.Tags, o.CacheTo, o.Outputs = []string{app}, []string{"type=inline"}, []BuildOutput{{Type: OutputImage, Push: true}}
			first, _ := mustBuild(t, machine(t), o)
			if first.Descriptor.Digest != plain.Descriptor.Digest {
				t.Error("the cache changes the image's digest")
			}
			o.CacheTo, o.CacheFrom, o.Outputs = nil, []string{"type=registry,ref=" + app}, nil
			if got, s := mustBuild(t, machine(t), o); got.Cached != 4 {
				t.Errorf("%d steps cached; failed %v", got.Cached, s.failed)
			}
		})
	}
}

// TestLazyPush pushes an image whose layers are all in the registry, in other repositories.
func TestLazyPush(t *testing.T) {
	for name, lost := range map[string]bool{"mounted": false, "a layer is lost": true} {
		t.Run(name, func(t *testing.T) {
			reg := remotetest.Start(t)
			o := project(t, pushBase(t, reg))
			cacheRef, app := reg.Ref("cache:1").String(), reg.Ref("app:1").String()
			o.CacheTo = []string{"type=registry,mode=max,ref=" + cacheRef}
			here := machine(t)
			first, _ := mustBuild(t, here, o)
			if lost {
				img, _, err := here.open(t.Context(), "app", "")
				if err != nil {
					t.Fatal(err)
				}
				reg.Remove(img.Layers[len(img.Layers)-1].Digest.String())
			}
			reg.Forget()
			o.CacheTo, o.CacheFrom, o.Tags = nil, []string{cacheRef}, []string{app}
			o.Outputs = []BuildOutput{{Type: OutputImage, Push: true, NoStore: true}}
			got, _ := mustBuild(t, machine(t), o)
			if got.Descriptor.Digest != first.Descriptor.Digest {
				t.Errorf("digest %s, want %s", got.Descriptor.Digest, first.Descriptor.Digest)
			}
			// The config of the image is the only blob that is uploaded; those of the base and of the cache are read.
			if up, down := len(reg.Calls("PUT uploads")), len(reg.Calls("GET blobs")); !lost && (up != 1 || down != 2) {
				t.Errorf("%d uploads, %d blobs read: %v", up, down, reg.Calls(""))
			}
			last := machine(t)
			if _, err := last.Pull(t.Context(), PullOptions{Image: app}, nil); err != nil {
				t.Fatal(err)
			}
			f, err := last.resolve(t.Context(), app)
			if err != nil {
				t.Fatal(err)
			}
			if err := last.whole(t.Context(), f.descriptor); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCacheExportFails(t *testing.T) {
	reg := remotetest.Start(t)
	o := project(t, pushBase(t, reg))
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			remotetest.Fail(w, http.StatusForbidden, "DENIED")
		}
		return r.Method == http.MethodPost
	}
	o.CacheTo = []string{"type=registry,ref=" + reg.Ref("cache:1").String()}
	if _, err := machine(t).Build(context.Background(), o, nil); !errdefs.IsPermission(err) {
		t.Errorf("%v", err)
	}
	o.CacheTo[0] += ",ignore-error=true"
	mustBuild(t, machine(t), o)
}

func TestCacheSpecs(t *testing.T) {
	for in, want := range map[string]errdefs.Class{
		"app:1": "", "type=registry,ref=app": "", "type=local,dest=x,mode=max,tag=t": "", "type=inline": "", "type=inline,mode=max,mounts=true": "",
		"type=registry,ref=a,oci-mediatypes=true,image-manifest=true,compression=zstd,ignore-error=true": "",
		"type=gha": errdefs.ErrUnsupported, "type=registry": errdefs.ErrInvalid, "ref=a": errdefs.ErrInvalid, "type=local,src=x": errdefs.ErrInvalid,
		"type=registry,ref=a,mode=mid": errdefs.ErrInvalid, "type=registry,ref=a,nonsense=1": errdefs.ErrInvalid, "a,b": errdefs.ErrInvalid,
		"type=local,dest=x,tag=a/b": errdefs.ErrInvalid, "type=registry,ref=UP": errdefs.ErrInvalid,
	} {
		_, err := parseCacheSpec("--cache-to", in)
		if (err == nil) != (want == "") || err != nil && !errdefs.IsInvalid(err) && !errdefs.IsUnsupported(err) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
	if _, err := parseCacheSpec("--cache-from", "type=inline"); !errdefs.IsInvalid(err) {
		t.Errorf("%v", err)
	}
}

// mustLayer is the digest of the only layer of an image.
func mustLayer(t *testing.T, e *Engine, name string) digest.Digest {
	t.Helper()
	img, _, err := e.open(t.Context(), name, "")
	if err != nil || len(img.Layers) != 1 {
		t.Fatal(img, err)
	}
	return img.Layers[0].Digest
}
