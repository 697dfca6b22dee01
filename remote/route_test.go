package remote_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/remotetest"
	"github.com/camada/camada/transfer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// sites are those of every name.
type sites func(repo string) ([]remote.Site, error)

func (s sites) Sites(_, repo string) ([]remote.Site, error) { return s(repo) }

// mirrored has mirrors below the path cache/, and the origin.
func mirrored(origin *remotetest.Registry, mirrors ...string) remote.Options {
	return remote.Options{Sites: sites(func(repo string) ([]remote.Site, error) {
		var all []remote.Site
		for _, m := range mirrors {
			all = append(all, remote.Site{Name: m, Repository: "cache/" + repo, Resolve: true, Pull: true})
		}
		return append(all, remote.Site{Name: origin.Address, Repository: repo, Resolve: true, Pull: true, Push: true}), nil
	})}
}

func push(t *testing.T, o remote.Options, reg *remotetest.Registry, name string, src *imagetest.Memory, desc ocispec.Descriptor) {
	t.Helper()
	ref := reg.Ref(name)
	if err := transfer.Push(context.Background(), src, client(t, o).Repository(ref).Target(ref.Tag, desc), desc, transfer.Options{}); err != nil {
		t.Fatal(err)
	}
}

func TestMirrors(t *testing.T) {
	ctx := context.Background()
	origin, first, second := remotetest.Start(t), remotetest.Start(t), remotetest.Start(t)
	src := &imagetest.Memory{}
	desc := sample(t, src, 1000)
	push(t, remote.Options{}, second, "cache/app:1", src, desc)
	const gone = "127.0.0.1:1"
	o := mirrored(origin, gone, first.Address, second.Address)
	pull := func(name string) error {
		ref := origin.Ref(name)
		repo := client(t, o).Repository(ref)
		got, err := repo.Resolve(ctx, ref.Tag)
		if err != nil {
			return err
		}
		return transfer.Copy(ctx, repo, &imagetest.Memory{}, got, transfer.Options{})
	}
	if err := pull("app:1"); err != nil {
		t.Fatal(err)
	}
	if n := len(origin.Calls("")); n > 0 {
		t.Errorf("the origin was asked %d times", n)
	}
	if len(first.Calls("")) == 0 {
		t.Error("the first mirror was left out")
	}
	// What no mirror has is the origin's.
	push(t, remote.Options{}, origin, "app:2", src, desc)
	if err := pull("app:2"); err != nil {
		t.Error(err)
	}
	err := pull("app:3")
	if !errdefs.IsNotFound(err) {
		t.Errorf("nobody has it: %v", err)
	}
	for _, name := range []string{gone, first.Address, second.Address, origin.Address} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("the error does not name %s: %v", name, err)
		}
	}
	// A mirror that is down is not asked for each blob.
	first.Forget()
	down := 0
	first.Before = func(w http.ResponseWriter, _ *http.Request) bool {
		down++
		w.WriteHeader(http.StatusForbidden)
		return true
	}
	if err := pull("app:1"); err != nil || down != 1 {
		t.Errorf("a mirror that refuses was asked %d times: %v", down, err)
	}
}

// TestMirrorsAreNotWritten even when they have what is pushed, nor do they say what is there.
func TestMirrorsAreNotWritten(t *testing.T) {
	ctx := context.Background()
	origin, mirror := remotetest.Start(t), remotetest.Start(t)
	src := &imagetest.Memory{}
	desc := sample(t, src, 1000)
	push(t, remote.Options{}, mirror, "cache/app:1", src, desc)
	mirror.Forget()
	o := mirrored(origin, mirror.Address)
	push(t, o, origin, "app:1", src, desc)
	if calls := mirror.Calls(""); len(calls) > 0 {
		t.Errorf("the mirror was asked %q", calls)
	}
	if _, err := client(t, remote.Options{}).Repository(origin.Ref("app")).Resolve(ctx, "1"); err != nil {
		t.Error(err)
	}
	readOnly := remote.Options{Sites: sites(func(repo string) ([]remote.Site, error) {
		return []remote.Site{{Name: origin.Address, Repository: repo, Resolve: true, Pull: true}}, nil
	})}
	ref := origin.Ref("app:2")
	if err := transfer.Push(ctx, src, client(t, readOnly).Repository(ref).Target(ref.Tag, desc), desc, transfer.Options{}); !errdefs.IsPermission(err) {
		t.Errorf("where nothing may be written: %v", err)
	}
}

// TestLyingMirror gives other bytes for a digest: the next one is asked.
func TestLyingMirror(t *testing.T) {
	ctx := context.Background()
	origin, mirror := remotetest.Start(t), remotetest.Start(t)
	src := &imagetest.Memory{}
	desc := sample(t, src, 100)
	push(t, remote.Options{}, origin, "app:1", src, desc)
	mirror.Before = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		w.Header().Set("Docker-Content-Digest", desc.Digest.String())
		_, _ = w.Write([]byte(`{"lie": true}`))
		return true
	}
	got, data, err := client(t, mirrored(origin, mirror.Address)).Repository(origin.Ref("app")).Manifest(ctx, desc.Digest.String())
	if err != nil || got.Digest != desc.Digest || digest.FromBytes(data) != desc.Digest {
		t.Errorf("%v, %s, %v", got, data, err)
	}
}

// TestMirrorForDigests is never asked what a tag stands for.
func TestMirrorForDigests(t *testing.T) {
	ctx := context.Background()
	origin, mirror := remotetest.Start(t), remotetest.Start(t)
	src := &imagetest.Memory{}
	desc := sample(t, src, 100)
	push(t, remote.Options{}, origin, "app:1", src, desc)
	push(t, remote.Options{}, mirror, "app:1", src, sample(t, src, 2000))
	push(t, remote.Options{}, mirror, "app:other", src, desc)
	mirror.Forget()
	o := remote.Options{Sites: sites(func(repo string) ([]remote.Site, error) {
		return []remote.Site{{Name: mirror.Address, Repository: repo, Pull: true}, {Name: origin.Address, Repository: repo, Resolve: true, Pull: true, Push: true}}, nil
	})}
	repo := client(t, o).Repository(origin.Ref("app"))
	got, err := repo.Resolve(ctx, "1")
	if err != nil || got.Digest != desc.Digest {
		t.Fatal(got, err)
	}
	origin.Forget()
	if err := transfer.Copy(ctx, repo, &imagetest.Memory{}, got, transfer.Options{}); err != nil {
		t.Error(err)
	}
	if _, err := repo.Tags(ctx, 0); err != nil {
		t.Error(err)
	}
	if calls := origin.Calls(""); len(calls) != 1 || calls[0] != "GET tags/list" {
		t.Errorf("the origin was asked %q", calls)
	}
}

// TestSite talks to another address, below another path, with fields that a redirect does not carry elsewhere.
func TestSite(t *testing.T) {
	ctx := context.Background()
	reg := remotetest.New()
	src := &imagetest.Memory{}
	desc := sample(t, src, 100)
	var leaked atomic.Bool // blobs come side by side
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != "" {
			leaked.Store(true)
		}
		r.URL.Path = "/v2/" + strings.TrimPrefix(r.URL.Path, "/")
		reg.ServeHTTP(w, r)
	}))
	defer elsewhere.Close()
	redirect := false
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, ok := strings.CutPrefix(r.URL.Path, "/deep/api/")
		if !ok || r.Header.Get("X-Key") != "secret" || r.URL.Query().Get("ns") != "app.lan" && r.Method == http.MethodGet {
			t.Errorf("%s %s with %q", r.Method, r.URL, r.Header["X-Key"])
		}
		if redirect {
			http.Redirect(w, r, elsewhere.URL+"/"+path, http.StatusTemporaryRedirect)
			return
		}
		r.URL.Path = "/v2/" + path
		reg.ServeHTTP(&relocated{w}, r)
	}))
	defer front.Close()
	base := "/deep/api"
	o := remote.Options{Sites: sites(func(repo string) ([]remote.Site, error) {
		return []remote.Site{{Name: "app.lan", Address: strings.TrimPrefix(front.URL, "http://"), Scheme: "http", Base: &base, Repository: repo, Namespace: "app.lan",
			Header: http.Header{"X-Key": {"secret"}}, Resolve: true, Pull: true, Push: true}}, nil
	})}
	reg.Address = "app.lan"
	push(t, o, reg, "app:1", src, desc)
	redirect = true
	repo := client(t, o).Repository(reg.Ref("app"))
	if err := transfer.Copy(ctx, repo, &imagetest.Memory{}, desc, transfer.Options{}); err != nil {
		t.Error(err)
	}
	if leaked.Load() {
		t.Error("a field went where a redirect led")
	}
}

// relocated moves where uploads go on below the path of the front.
type relocated struct{ http.ResponseWriter }

func (r *relocated) WriteHeader(code int) {
	if l := r.Header().Get("Location"); l != "" {
		r.Header().Set("Location", strings.Replace(l, "/v2/", "/deep/api/", 1))
	}
	r.ResponseWriter.WriteHeader(code)
}

// TestMirrorTokens asks for tokens for the names that a mirror has.
func TestMirrorTokens(t *testing.T) {
	ctx := context.Background()
	s := &tokens{t: t}
	mirror := guarded(t, s)
	origin := remotetest.Start(t)
	o := mirrored(origin, mirror.Address)
	o.Credentials = given{Username: "me", Password: "secret"}
	if _, err := client(t, o).Repository(origin.Ref("app")).Resolve(ctx, "1"); !errdefs.IsNotFound(err) {
		t.Error(err)
	}
	if len(s.asked) != 1 || s.asked[0] != "GET repository:cache/app:pull" {
		t.Errorf("asked for %q", s.asked)
	}
}

// TestMirroredReferrers lists what refers to an image by what the origin has, not by what a mirror has of it.
func TestMirroredReferrers(t *testing.T) {
	ctx := context.Background()
	origin, mirror := remotetest.Start(t), remotetest.Start(t)
	src := &imagetest.Memory{}
	desc := sample(t, src, 100)
	o := mirrored(origin, mirror.Address)
	push(t, o, origin, "app:1", src, desc)
	for _, note := range []string{"a", "b"} {
		layer, err := content.WriteReader(ctx, src, strings.NewReader(note), ocispec.Descriptor{MediaType: "text/plain", Size: -1})
		if err != nil {
			t.Fatal(err)
		}
		got, err := image.WriteArtifact(ctx, src, image.Artifact{Type: "x/y", Subject: &desc, Layers: []ocispec.Descriptor{layer}})
		if err != nil {
			t.Fatal(err)
		}
		if err := transfer.Push(ctx, src, client(t, o).Repository(origin.Ref("app")).Target("", got), got, transfer.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := client(t, remote.Options{}).Repository(origin.Ref("app")).Referrers(ctx, desc.Digest, "x/y")
	if err != nil || len(list) != 2 {
		t.Errorf("%d referrers: %v", len(list), err)
	}
}
