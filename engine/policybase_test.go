package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/policy"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/remote/remotetest"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// withPolicy is a machine with a policy.
func withPolicy(t *testing.T, text string) *Engine {
	t.Helper()
	e := machine(t)
	e.policyFile = filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(e.policyFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return e
}

// TestBaseIsProven builds on images that are called like the one that is allowed.
func TestBaseIsProven(t *testing.T) {
	reg := remotetest.Start(t)
	base := pushBase(t, reg) // base:1
	repository := strings.TrimSuffix(base, ":1")
	rule := func(pattern string) string {
		return "rules: [{name: based, on: build, base-allowed: [\"" + pattern + "\"]}, {name: said, on: run, cel: 'base.name.startsWith(\"" + repository + "\")'}]"
	}
	from := func(name string) BuildOptions {
		return BuildOptions{ContextDir: t.TempDir(), Dockerfile: []byte("FROM " + name + "\nENV A=1\n"), Tags: []string{"app"}, SourceDateEpoch: "0"}
	}
	other := func(t *testing.T, e *Engine, name string) string {
		t.Helper()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "evil"), []byte("evil"), 0o600); err != nil {
			t.Fatal(err)
		}
		// What another policy would have let in.
		free, err := Open(t.Context(), Config{Root: e.root, Driver: DriverNative})
		if err != nil {
			t.Fatal(err)
		}
		defer free.Close() //nolint:errcheck // a lease
		res, _ := mustBuild(t, free, BuildOptions{ContextDir: dir, Dockerfile: []byte("FROM scratch\nCOPY evil /\n"), Tags: []string{name}, SourceDateEpoch: "0"})
		return res.Descriptor.Digest.String()
	}
	refused := func(t *testing.T, e *Engine, o BuildOptions, why string) {
		t.Helper()
		_, err := e.Build(t.Context(), o, nil)
		if policy.Refused(err) == nil || !strings.Contains(err.Error(), "rule based") || !strings.Contains(err.Error(), why) {
			t.Errorf("%v, want it refused with %q", err, why)
		}
	}
	t.Run("of its registry", func(t *testing.T) {
		e := withPolicy(t, rule(repository))
		mustBuild(t, e, from(base))
		if d, err := e.CheckPolicy(t.Context(), "app", PolicyOptions{Action: policy.Run}, nil); err != nil || !d.Allowed {
			t.Errorf("%+v, %v", d, err)
		}
		reg.Forget()
		mustBuild(t, e, from(base)) // it is here now
		if calls := reg.Calls(""); len(calls) > 0 {
			t.Errorf("what was pulled is asked for again: %v", calls)
		}
		refused(t, withPolicy(t, rule("example.com/**")), from(base), "which is none of")
	})
	t.Run("a name that was given here", func(t *testing.T) {
		e := withPolicy(t, rule(repository))
		dgst := other(t, e, base)
		refused(t, e, from(base), "its registry has no ")
		mustBuild(t, withSame(t, e, rule(dgst)), from(base))
	})
	t.Run("a tag of another image of the repository", func(t *testing.T) {
		e := withPolicy(t, rule(repository+":stable"))
		if _, err := e.Pull(t.Context(), PullOptions{Image: base}, nil); err != nil {
			t.Fatal(err)
		}
		if err := e.Tag(t.Context(), base, repository+":stable", false); err != nil {
			t.Fatal(err)
		}
		refused(t, e, from(repository+":stable"), "which is none of")
		mustBuild(t, withSame(t, e, rule(repository)), from(repository+":stable"))
	})
	t.Run("an archive that brings the name", func(t *testing.T) {
		e := withPolicy(t, rule(repository))
		there := machine(t)
		other(t, there, base)
		file := "oci-archive:" + filepath.Join(t.TempDir(), "a.tar")
		mustCopy(t, there, CopyImageOptions{Source: base, Destination: file + ":" + base})
		if _, err := e.Pull(t.Context(), PullOptions{Image: file}, nil); err != nil {
			t.Fatal(err)
		}
		refused(t, e, from(base), "its registry has no ")
	})
	t.Run("a named context", func(t *testing.T) {
		e := withPolicy(t, rule(repository))
		other(t, e, "evil")
		o := from(base)
		o.Contexts = map[string]string{base: "docker-image://evil"}
		refused(t, e, o, "which is none of")
	})
	t.Run("what an image says of itself", func(t *testing.T) { baseOfAnnotations(t, base, rule(repository+`", "scratch`)) })
}

// withSame is another policy for the same store.
func withSame(t *testing.T, e *Engine, text string) *Engine {
	t.Helper()
	same := withPolicy(t, text)
	o, err := Open(t.Context(), Config{Root: e.root, Driver: DriverNative, Policy: same.policyFile})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

func baseOfAnnotations(t *testing.T, base, rule string) {
	there := machine(t)
	good, _ := mustBuild(t, there, BuildOptions{ContextDir: t.TempDir(), Dockerfile: []byte("FROM " + base + "\nENV A=1\n"), Tags: []string{"good"}, SourceDateEpoch: "0"})
	f, err := there.resolve(t.Context(), base)
	if err != nil {
		t.Fatal(err)
	}
	bad, _ := mustBuild(t, there, BuildOptions{ContextDir: t.TempDir(), Dockerfile: []byte("FROM scratch\nENV A=1\n"), Tags: []string{"bad"}, SourceDateEpoch: "0"})
	for _, tc := range []struct {
		of           ocispec.Descriptor
		name, digest string
		verdict, why string
	}{
		{good.Descriptor, base, f.descriptor.Digest.String(), policy.Pass, ""},
		{bad.Descriptor, base, f.descriptor.Digest.String(), policy.Unknown, "does not have the layers of"},
		{good.Descriptor, base, "", policy.Unknown, "by the digest"},
		{good.Descriptor, base, good.Descriptor.Digest.String(), policy.Unknown, "its registry has no"},
		{good.Descriptor, "scratch", "", policy.Unknown, "only said by the image itself"},
	} {
		img, err := image.OpenAny(t.Context(), there.content, tc.of)
		if err != nil {
			t.Fatal(err)
		}
		m := img.Manifest
		m.Annotations = map[string]string{ocispec.AnnotationBaseImageName: tc.name, ocispec.AnnotationBaseImageDigest: tc.digest}
		e := withPolicy(t, rule)
		for _, d := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
			if err := copyBlob(t.Context(), there.content, e.content, d); err != nil {
				t.Fatal(err)
			}
		}
		desc := putDoc(t, e.content, ocispec.MediaTypeImageManifest, m)
		claims, err := reference.Parse(strings.TrimSuffix(base, "base:1") + "claims:1")
		if err != nil {
			t.Fatal(err)
		}
		elsewhere, err := reference.Parse("claims:1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.setTags(t.Context(), []reference.Reference{claims, elsewhere}, desc, "load", ""); err != nil {
			t.Fatal(err)
		}
		for _, a := range []policy.Action{policy.Build, policy.Run} {
			d, err := e.CheckPolicy(t.Context(), claims.String(), PolicyOptions{Action: a}, nil)
			if err != nil || len(d.Results) != 1 || d.Results[0].Verdict != tc.verdict || !strings.Contains(d.Results[0].Message, tc.why) {
				t.Errorf("%s %s: %s: %+v, %v; want %s: %s", tc.name, tc.digest, a, d, err, tc.verdict, tc.why)
			}
		}
		// An expression is about any registry, and another one than the image's own is not asked.
		d, err := e.CheckPolicy(t.Context(), "claims:1", PolicyOptions{Action: policy.Run}, nil)
		if err != nil || d.Allowed || tc.name == base && !strings.Contains(d.Results[0].Message, "is not asked for the base image") {
			t.Errorf("%s of another place: %+v, %v", tc.name, d, err)
		}
	}
}

// TestPulledIsRemembered has the store prove what a registry said, also beside a log that is damaged and after an image came otherwise.
func TestPulledIsRemembered(t *testing.T) {
	reg := remotetest.Start(t)
	base := pushBase(t, reg)
	repository := strings.TrimSuffix(base, ":1")
	build := func(t *testing.T, e *Engine, from string) {
		t.Helper()
		mustBuild(t, e, BuildOptions{ContextDir: t.TempDir(), Dockerfile: []byte("FROM " + from + "\nENV A=1\n"), Tags: []string{"app"}, SourceDateEpoch: "0"})
	}
	allowed := func(t *testing.T, e *Engine, what string, asks bool) {
		t.Helper()
		reg.Forget()
		d, err := e.CheckPolicy(t.Context(), "app", PolicyOptions{Action: policy.Build}, nil)
		if calls := reg.Calls(""); err != nil || !d.Allowed || (len(calls) > 0) != asks {
			t.Errorf("%s: %+v, %v, and the registry is asked for %v", what, d, err, calls)
		}
	}
	damage := func(t *testing.T, e *Engine, at string) {
		t.Helper()
		name := filepath.Join(e.root, "reflog", at)
		log, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(name, append([]byte("damaged\n"), log...), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	rule := "rules: [{name: based, on: build, base-allowed: \"" + repository + "\"}]"
	own := repository + "/_tags/1"
	t.Run("a damaged log", func(t *testing.T) {
		e := withPolicy(t, rule)
		build(t, e, base)
		if err := e.Tag(t.Context(), base, "other:1", false); err != nil {
			t.Fatal(err)
		}
		allowed(t, e, "whole", false)
		damage(t, e, "docker.io/library/other/_tags/1")
		allowed(t, e, "another log", false)
		damage(t, e, own)
		allowed(t, e, "the log", true)
	})
	t.Run("a damaged log beside a digest", func(t *testing.T) {
		e := withPolicy(t, rule)
		if err := os.MkdirAll(filepath.Join(e.root, "reflog/docker.io/library/other/_tags"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(e.root, "reflog/docker.io/library/other/_tags/1"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		damage(t, e, "docker.io/library/other/_tags/1")
		here := machine(t)
		pulled, err := here.Pull(t.Context(), PullOptions{Image: base}, nil)
		if err != nil {
			t.Fatal(err)
		}
		build(t, e, repository+"@"+pulled.Digest.String())
		allowed(t, e, "by digest", false)
	})
	t.Run("an image that came otherwise", func(t *testing.T) {
		there := machine(t)
		if _, err := there.Pull(t.Context(), PullOptions{Image: base}, nil); err != nil {
			t.Fatal(err)
		}
		file := "oci-archive:" + filepath.Join(t.TempDir(), "a.tar")
		mustCopy(t, there, CopyImageOptions{Source: base, Destination: file + ":" + base})
		e := withPolicy(t, rule)
		if _, err := e.Pull(t.Context(), PullOptions{Image: file}, nil); err != nil {
			t.Fatal(err)
		}
		build(t, e, base)
		allowed(t, e, "of an archive", true)
		lines := 0
		for _, what := range []string{"confirmed", "confirmed again"} {
			if got, err := e.Pull(t.Context(), PullOptions{Image: base}, nil); err != nil || got.New {
				t.Errorf("%s: %+v, %v", what, got, err)
			}
			allowed(t, e, what, false)
			rows, err := e.Log(t.Context(), base)
			if err != nil || lines != 0 && len(rows) != lines {
				t.Errorf("%s: %d lines, %v", what, len(rows), err)
			}
			lines = len(rows)
		}
	})
}

// TestConfirmIsQuick has a registry that never answers asked for a base image.
func TestConfirmIsQuick(t *testing.T) {
	hosts, _ := tarpits(t, 1)
	f := &policyFacts{e: machine(t)}
	b := &policy.Base{Name: hosts[0] + "/base:1", Digest: digest.FromString("base").String()}
	if _, err := f.confirmWithin(t.Context(), b, 50*time.Millisecond); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "it did not confirm the base image in 50ms") {
		t.Errorf("%v", err)
	}
}
