package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/remotetest"
	"github.com/camada/camada/transfer"
)

// pushVersions puts images of their own under tags, each created a day after the one before.
func pushVersions(t *testing.T, reg *remotetest.Registry, repository string, tags ...string) {
	t.Helper()
	c := remote.New(remote.Options{})
	defer c.Close()
	for i, tag := range tags {
		cfg, src := imagetest.Config(), &imagetest.Memory{}
		created := time.Unix(int64(i)*86400, 0)
		cfg.Created = &created
		desc := imagetest.Write(t, src, cfg, imagetest.Layer("version", tag), imagetest.Layer("base", "of all"))
		if err := transfer.Push(t.Context(), src, c.Repository(reg.Ref(repository)).Target(tag, desc), desc, transfer.Options{}); err != nil {
			t.Fatal(err)
		}
	}
}

// synchronise returns what was done with which tag, "copied 1.0".
func synchronise(t *testing.T, e *Engine, o SyncOptions) ([]string, error) {
	t.Helper()
	var done []string
	err := e.Sync(t.Context(), o, nil, func(r SyncRow) {
		done = append(done, r.Action+" "+r.Destination[strings.LastIndexAny(r.Destination, ":/")+1:])
	})
	slices.Sort(done)
	return done, err
}

func tagsOf(t *testing.T, e *Engine, reg *remotetest.Registry, repository string) string {
	t.Helper()
	tags, err := e.registries().Repository(reg.Ref(repository)).Tags(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(tags, " ")
}

func TestSyncFilters(t *testing.T) {
	reg := remotetest.Start(t)
	pushVersions(t, reg, "team/app", "1.0", "1.10", "1.9", "2.0-rc1", "latest", "2.0")
	for name, tc := range map[string]struct {
		filter SyncFilter
		want   string
	}{
		"all":             {SyncFilter{}, "1.0 1.10 1.9 2.0 2.0-rc1 latest"},
		"pattern":         {SyncFilter{Tags: []string{"1.*"}}, "1.0 1.10 1.9"},
		"exclude":         {SyncFilter{Exclude: []string{"1.*", "*rc*"}}, "2.0 latest"},
		"regexp":          {SyncFilter{Regexp: `^1\..$`}, "1.0 1.9"},
		"range":           {SyncFilter{Range: ">=1.9"}, "1.10 1.9 2.0"},
		"newest versions": {SyncFilter{Range: "1.x", Newest: 2}, "1.10 1.9"},
		"newest created":  {SyncFilter{Newest: 2}, "2.0 latest"},
	} {
		t.Run(name, func(t *testing.T) {
			second, e := remotetest.Start(t), machine(t)
			o := SyncOptions{Source: "docker://" + reg.Address + "/team/app", Destination: "docker://" + second.Address + "/mirror", SyncFilter: tc.filter}
			o.DryRun = true
			done, err := synchronise(t, e, o)
			if err != nil || len(second.Calls("PUT"))+len(second.Calls("POST")) > 0 {
				t.Fatalf("dry run: %v, %v", second.Calls(""), err)
			}
			o.DryRun = false
			copied, err := synchronise(t, e, o)
			if err != nil || len(copied) != len(done) {
				t.Fatalf("%v after %v: %v", copied, done, err)
			}
			if got := tagsOf(t, e, second, "mirror"); got != tc.want {
				t.Errorf("tags: %s; want %s", got, tc.want)
			}
			second.Forget()
			again, err := synchronise(t, e, o)
			if err != nil || slices.ContainsFunc(again, func(s string) bool { return !strings.HasPrefix(s, SyncPresent) }) || len(second.Calls("PUT")) > 0 {
				t.Errorf("again: %v, %v", again, err)
			}
		})
	}
	e := machine(t)
	for _, f := range []SyncFilter{{Tags: []string{"["}}, {Regexp: "("}, {Range: "x.1"}, {Newest: -1}} {
		if _, err := synchronise(t, e, SyncOptions{Source: "docker://" + reg.Address + "/team/app", Destination: "oci:x", SyncFilter: f}); !errdefs.IsInvalid(err) {
			t.Errorf("%+v: %v", f, err)
		}
	}
}

// TestSyncDeletes: a registry that removes no tags is given digests, and never one that is needed.
func TestSyncDeletes(t *testing.T) {
	for name, noTags := range map[string]bool{"tags": false, "digests": true} {
		t.Run(name, func(t *testing.T) {
			reg, second := remotetest.Start(t), remotetest.Start(t)
			second.NoTagDelete = noTags
			pushVersions(t, reg, "app", "1.0", "2.0")
			pushVersions(t, second, "app", "0.9", "1.0", "other")
			e := machine(t)
			// 0.8 is what 1.0 is.
			mustCopy(t, e, CopyImageOptions{Source: "docker://" + reg.Address + "/app:1.0", Destination: "docker://" + second.Address + "/app:0.8"})
			o := SyncOptions{Source: "docker://" + reg.Address + "/app", Destination: "docker://" + second.Address + "/app", Delete: true, SyncFilter: SyncFilter{Range: ">=0"}}
			o.DryRun = true
			if done, err := synchronise(t, e, o); err != nil || !slices.Contains(done, SyncWouldDelete+" 0.9") {
				t.Errorf("dry run: %v, %v", done, err)
			}
			if got := tagsOf(t, e, second, "app"); got != "0.8 0.9 1.0 other" {
				t.Fatalf("tags after a dry run: %s", got)
			}
			o.DryRun = false
			done, err := synchronise(t, e, o)
			want := "1.0 2.0 other"
			if noTags {
				want = "0.8 1.0 2.0 other"
			}
			if (err != nil) != noTags || slices.Contains(done, SyncFailed+" 0.8") != noTags || tagsOf(t, e, second, "app") != want {
				t.Errorf("%v, %v; tags %s, want %s", done, err, tagsOf(t, e, second, "app"), want)
			}
			// A source without what is wanted deletes nothing.
			o.Range = ">=7"
			if _, err := synchronise(t, e, o); err == nil || tagsOf(t, e, second, "app") != want {
				t.Errorf("an empty source: %v, tags %s", err, tagsOf(t, e, second, "app"))
			}
			o.Source, o.Range = "docker://"+reg.Address+"/none", ""
			if _, err := synchronise(t, e, o); err == nil || tagsOf(t, e, second, "app") != want {
				t.Errorf("no source: %v, tags %s", err, tagsOf(t, e, second, "app"))
			}
			o.Source = "docker://" + reg.Address + "/app:1.0"
			if _, err := synchronise(t, e, o); !errdefs.IsInvalid(err) {
				t.Errorf("deletions for one tag: %v", err)
			}
		})
	}
}

// TestSyncDirectory goes to a layout and back, and removes there.
func TestSyncDirectory(t *testing.T) {
	reg, second := remotetest.Start(t), remotetest.Start(t)
	pushVersions(t, reg, "app", "1", "2", "3")
	e, dir := machine(t), t.TempDir()
	o := SyncOptions{Source: "docker://" + reg.Address + "/app", Destination: "oci:" + dir + "/app", SyncFilter: SyncFilter{Range: ">=0"}}
	if _, err := synchronise(t, e, o); err != nil {
		t.Fatal(err)
	}
	before, _ := filepath.Glob(dir + "/app/blobs/sha256/*")
	o.Delete, o.Newest = true, 2
	if done, err := synchronise(t, e, o); err != nil || !slices.Contains(done, SyncDeleted+" 1") {
		t.Fatalf("%v, %v", done, err)
	}
	if after, _ := filepath.Glob(dir + "/app/blobs/sha256/*"); len(after) != len(before)-3 { // a manifest, a config, a layer
		t.Errorf("%d blobs of %d are left", len(after), len(before))
	}
	if _, err := synchronise(t, e, SyncOptions{Source: "oci:" + dir + "/app", Destination: "docker://" + second.Address + "/back"}); err != nil {
		t.Fatal(err)
	}
	if got := tagsOf(t, e, second, "back"); got != "2 3" {
		t.Errorf("tags: %s", got)
	}
}

// TestSyncMany takes all of a registry, and a list as skopeo has it; what fails does not end the rest.
func TestSyncMany(t *testing.T) {
	reg := remotetest.Start(t)
	pushVersions(t, reg, "team/app", "1", "2")
	pushVersions(t, reg, "base", "3.1", "3.2", "4.0")
	file := filepath.Join(t.TempDir(), "list.yaml")
	text := fmt.Sprintf(`%q:
  tls-verify: false
  credentials: {username: u, password: p}
  images:
    team/app: ["2", "none"]
  images-by-semver:
    base: "~3"
`, reg.Address)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		source, apps, bases string
		scoped, fails       bool
	}{
		{"docker://" + reg.Address, "1 2", "3.1 3.2 4.0", false, false},
		{"yaml:" + file, "2", "3.1 3.2", true, true},
	} {
		second, e := remotetest.Start(t), machine(t)
		done, err := synchronise(t, e, SyncOptions{Source: tc.source, Destination: "docker://" + second.Address + "/m", Scoped: tc.scoped})
		if (err != nil) != tc.fails {
			t.Fatalf("%s: %v, %v", tc.source, done, err)
		}
		below := "m/"
		if tc.scoped {
			below += strings.ReplaceAll(reg.Address, ":", "-") + "/"
		}
		if apps, bases := tagsOf(t, e, second, below+"team/app"), tagsOf(t, e, second, below+"base"); apps != tc.apps || bases != tc.bases {
			t.Errorf("%s: %s, %s", tc.source, apps, bases)
		}
	}
}

func TestSyncFileMistakes(t *testing.T) {
	e := machine(t)
	for _, text := range []string{"", "[]", "a: 1", "h.x: {images: [1]}", "h.x: {images: {app: [1.0]}}", "h.x: {images: {app: x}}", "h.x: {images-by-semver: {app: '~'}}", "h.x: {images: {UP: []}}",
		"h.x: {other: 1}", "h.x: {images: {app: []}, tls-verify: perhaps}", "h.x: {images: {app: []}, credentials: me}", "h.x: {images-by-tag-regex: {app: '('}}"} {
		file := filepath.Join(t.TempDir(), "list")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := synchronise(t, e, SyncOptions{Source: "yaml:" + file, Destination: "oci:x"}); !errdefs.IsInvalid(err) && !errdefs.IsUnsupported(err) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
