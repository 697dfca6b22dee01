package explain_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/build"
	"github.com/camada/camada/build/cache"
	"github.com/camada/camada/build/explain"
	"github.com/camada/camada/build/history"
	"github.com/camada/camada/build/op"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/layer/index"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/snapshot/native"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// writer is an Executor that knows two commands: "write PATH TEXT" and "fail".
type writer struct{ fail bool }

func (w *writer) Run(_ context.Context, req op.RunRequest) error {
	env := map[string]string{}
	for _, e := range req.Env {
		k, v, _ := strings.Cut(e, "=")
		env[k] = v
	}
	last := os.Expand(req.Args[len(req.Args)-1], func(k string) string { return env[k] })
	for line := range strings.Lines(last) {
		words := strings.Fields(line)
		switch {
		case len(words) == 1 && words[0] == "fail" && w.fail:
			return &op.ExitError{Code: 3}
		case len(words) == 3 && words[0] == "write":
			if err := os.WriteFile(filepath.Join(req.Root.Source, words[1]), []byte(words[2]), 0o644); err != nil {
				return err
			}
		case len(words) == 2 && words[0] == "chmod":
			if err := os.Chmod(filepath.Join(req.Root.Source, words[1]), 0o755); err != nil {
				return err
			}
		case len(words) == 3 && words[0] == "symlink":
			if err := os.Symlink(words[1], filepath.Join(req.Root.Source, words[2])); err != nil {
				return err
			}
		}
	}
	return nil
}

type fixture struct {
	t       *testing.T
	root    string
	h       *history.History
	store   *local.Store
	exec    *writer
	images  map[string]build.Base
	builder *build.Builder
	dir     string
	opts    build.Options
	start   history.Start
}

func newFixture(t *testing.T) *fixture {
	root := t.TempDir()
	f := &fixture{
		t: t, root: root, h: history.Open(filepath.Join(root, "history")), store: local.Open(root, local.Options{}),
		exec: &writer{fail: true}, images: map[string]build.Base{}, dir: t.TempDir(),
	}
	f.builder = build.New(build.Parts{
		Content: f.store, CacheDir: filepath.Join(root, "cache"), Executor: f.exec, Images: f,
		Snapshots: native.Open(filepath.Join(root, "snapshots"), native.Options{Pins: lease.None{}}),
	})
	return f
}

// Resolve implements build.Resolver.
func (f *fixture) Resolve(_ context.Context, name string, p ocispec.Platform, _ bool) (build.Base, error) {
	b, ok := f.images[name+" "+platform.Format(p)]
	if !ok {
		b, ok = f.images[name]
	}
	if !ok {
		return b, errdefs.NotFound("image %s", name)
	}
	return b, nil
}

// image makes a base image with one file.
func (f *fixture) image(name, text string) {
	f.t.Helper()
	res, err := f.builder.Build(f.t.Context(), build.Options{Source: []byte("FROM scratch\nCOPY <<f /base\n" + text + "\nf\n")}, nil)
	must(f.t, err)
	config, err := os.ReadFile(filepath.Join(f.root, "blobs/sha256", res.Config.Digest.Encoded()))
	must(f.t, err)
	bare, _, _ := strings.Cut(name, " ")
	f.images[name] = build.Base{Name: "full/" + bare, Manifest: res.Manifest, Config: config, Layers: res.Layers}
}

func (f *fixture) write(name, text string) {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	must(f.t, os.MkdirAll(filepath.Dir(path), 0o755))
	if target, ok := strings.CutPrefix(text, "-> "); ok {
		_ = os.Remove(path)
		must(f.t, os.Symlink(target, path))
		return
	}
	must(f.t, os.WriteFile(path, []byte(text), 0o644))
}

// build builds and returns the ID of the build.
func (f *fixture) build(src string) string {
	f.t.Helper()
	s := f.start
	s.Context, s.Dockerfile, s.Args, s.NoCache, s.Platform = f.dir, "Dockerfile", f.opts.BuildArgs, f.opts.NoCache, "linux/amd64"
	if f.opts.Platform != nil {
		s.Platform = platform.Format(*f.opts.Platform)
	}
	s.EpochGiven, s.Target = f.opts.SourceDateEpoch != nil, f.opts.Target
	rec := f.h.Record(s)
	o := f.opts
	o.Context, o.Source, o.Observer = f.dir, []byte(src), rec
	_, err := f.builder.Build(f.t.Context(), o, nil)
	must(f.t, rec.Finish(history.End{Err: err}))
	time.Sleep(2 * time.Millisecond) // names of builds are in order of milliseconds
	return rec.ID()
}

func (f *fixture) explain(id string) *explain.Report {
	f.t.Helper()
	b, err := f.h.Find(f.t.Context(), id)
	must(f.t, err)
	r, err := explain.Build(f.t.Context(), b, explain.Parts{Before: f.h.Before, Files: f.h.Files, Layer: f.layer})
	must(f.t, err)
	return r
}

// layer lists a layer as the builder's own lists have it.
func (f *fixture) layer(diffID digest.Digest) ([]explain.LayerFile, error) {
	x, err := index.Open(filepath.Join(f.root, "cache/layers")).Get(diffID)
	if err != nil {
		return nil, err
	}
	var out []explain.LayerFile
	for _, e := range x.Entries {
		l := explain.LayerFile{Path: e.Path, Gone: e.Kind == index.Whiteout, Opaque: e.Kind == index.Opaque, Link: e.Link, Mode: 0o100000 | e.Mode}
		if e.HasSum {
			l.Digest = fmt.Sprintf("%x", e.Sum)
		}
		out = append(out, l)
	}
	return out, nil
}

// short is a report in lines: "outcome name: kind text | kind text".
func short(r *explain.Report) string {
	var b strings.Builder
	for _, s := range r.Steps {
		_, name, _ := strings.Cut(s.Name, "] ")
		name, _, _ = strings.Cut(name, "\n")
		fmt.Fprintf(&b, "%s %s:", s.Outcome, name)
		for i, why := range s.Reasons {
			if i > 0 {
				b.WriteString(" |")
			}
			fmt.Fprintf(&b, " %s: %s", why.Kind, why.Text)
			for _, c := range why.Changes {
				fmt.Fprintf(&b, " (%s %s %v %.4s%s%s>%.4s%s%s)", c.Change, c.Path, c.What, c.OldDigest, c.OldLink, c.OldMode, c.NewDigest, c.NewLink, c.NewMode)
			}
			if len(why.Diff) > 0 {
				fmt.Fprintf(&b, " %q", why.Diff)
			}
		}
		if s.Note != "" {
			fmt.Fprintf(&b, " note: %s", s.Note)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// matches compares with a pattern in which "…" stands for anything within a line.
func matches(got, pattern string) bool {
	g, p := strings.Split(strings.TrimSpace(got), "\n"), strings.Split(strings.TrimSpace(pattern), "\n")
	if len(g) != len(p) {
		return false
	}
	for i := range g {
		rest := strings.TrimSpace(g[i])
		parts := strings.Split(strings.TrimSpace(p[i]), "…")
		for k, part := range parts {
			at := strings.Index(rest, part)
			if at < 0 || k == 0 && at > 0 || k == len(parts)-1 && !strings.HasSuffix(rest, part) {
				return false
			}
			rest = rest[at+len(part):]
		}
		if parts[len(parts)-1] != "" && rest != "" {
			return false
		}
	}
	return true
}

// reasonCase builds before, changes something, builds after, and tells what is to be said then.
type reasonCase struct {
	name          string
	before, after string
	change        func(f *fixture)
	want          string
}

const files = "FROM scratch\nCOPY src /src\nRUN write /out x\n"

func reasonCases() []reasonCase {
	arg := func(k, v string) func(*fixture) {
		return func(f *fixture) { f.opts.BuildArgs = map[string]string{k: v} }
	}
	return []reasonCase{
		{"nothing", files, files, nil, "cached COPY src /src:\ncached RUN write /out x:"},
		{"comment", files, "# c\n" + files, nil, "cached COPY src /src:\ncached RUN write /out x:"},
		{"file changed", files, files, func(f *fixture) { f.write("src/a", "other") },
			"executed COPY src /src: files: files of the context: 1 changed (changed src/a [content] ca97100644>d929100644)\n" +
				"executed RUN write /out x: parent: its parent [1/2] COPY src /src was executed again and its result differs"},
		{"file added", files, files, func(f *fixture) { f.write("src/new", "n") },
			"executed COPY src /src: files: files of the context: 1 added (added src/new [] >1b16100644)\nexecuted RUN…: parent:…"},
		{"file removed", files, files, func(f *fixture) { must(f.t, os.Remove(filepath.Join(f.dir, "src/b"))) },
			"executed COPY src /src: files: files of the context: 1 removed (removed src/b [] 3e23100644>)\nexecuted RUN…: parent:…"},
		{"mode", files, files, func(f *fixture) { must(f.t, os.Chmod(filepath.Join(f.dir, "src/a"), 0o755)) },
			"executed COPY src /src: files: files of the context: 1 changed (changed src/a [mode] ca97100644>ca97100755)\nexecuted RUN…: parent:…"},
		{"link", files, files, func(f *fixture) { f.write("src/l", "-> b") },
			"executed COPY src /src: files: files of the context: 1 changed (changed src/l [link] a120777>b120777)\nexecuted RUN…: parent:…"},
		{"type", files, files, func(f *fixture) { must(f.t, os.Remove(filepath.Join(f.dir, "src/l"))); f.write("src/l", "x") },
			"executed COPY src /src: files: files of the context: 1 changed (changed src/l [type link mode] a120777>2d71100644)\nexecuted RUN…: parent:…"},
		{"ignore file", files, files, func(f *fixture) { f.write(".dockerignore", "src/a") },
			"executed COPY src /src: files: files of the context: 1 removed (removed src/a [] ca97100644>)\nexecuted RUN…: parent:…"},
		{"instruction", files, strings.Replace(files, "/out x", "/out y", 1), nil,
			`cached COPY src /src:` + "\n" + `executed RUN write /out y: instruction: the instruction changed from "RUN write /out x" to "RUN write /out y"`},
		{"heredoc", "FROM scratch\nRUN <<E\nwrite /a 1\nwrite /b 1\nwrite /c 1\nE\n", "FROM scratch\nRUN <<E\nwrite /a 1\nwrite /b 2\nwrite /c 1\nE\n", nil,
			`executed RUN <<E (write /a 1...): instruction: the instruction changed [" write /a 1" "-write /b 1" "+write /b 2" " write /c 1"]`},
		{"new instruction", "FROM scratch\nRUN write /a 1\nRUN write /b 1\n", "FROM scratch\nRUN write /a 1\nCOPY src /src\nRUN write /b 1\n", nil,
			"cached RUN write /a 1:\nexecuted COPY src /src: new: the instruction is new\n" +
				`executed RUN write /b 1: order: the step before it is new: "COPY src /src"`},
		{"removed instruction", "FROM scratch\nRUN write /a 1\nCOPY src /src\nRUN write /b 1\n", "FROM scratch\nRUN write /a 1\nRUN write /b 1\n", nil,
			"cached RUN write /a 1:\n" + `executed RUN write /b 1: order: it comes after "RUN write /a 1" now, and came after "COPY src /src" before`},
		{"became first", "FROM scratch\nCOPY src /src\nRUN write /b 1\n", "FROM scratch\nRUN write /b 1\n", nil,
			`executed RUN write /b 1: order: it comes first now, and came after "COPY src /src" before`},
		{"build argument", "FROM scratch\nARG V=1\nRUN write /v $V\n", "FROM scratch\nARG V=1\nRUN write /v $V\n", arg("V", "2"),
			"executed RUN write /v …: argument: build argument V changed from 1 to 2"},
		{"default of an ARG", "FROM scratch\nARG V=1\nRUN write /v $V\n", "FROM scratch\nARG V=2\nRUN write /v $V\n", nil,
			"executed RUN write /v …: argument: ARG V changed from 1 to 2"},
		{"argument of COPY", "FROM scratch\nARG V=a\nCOPY src/$V /x\n", "FROM scratch\nARG V=a\nCOPY src/$V /x\n", arg("V", "b"),
			"executed COPY src/b /x: argument: build argument V is b, and was not set before | option: what it copies, with variables resolved, changed from src/a to src/b | files:…"},
		{"argument without a value", "FROM scratch\nARG V\nRUN write /v 1\n", "FROM scratch\nARG V\nRUN write /v 1\n", arg("V", "1"),
			"executed RUN write /v 1: argument: build argument V is 1, and had no value before"},
		{"argument declared", "FROM scratch\nRUN write /v 1\n", "FROM scratch\nARG V=1\nRUN write /v 1\n", nil,
			"executed RUN write /v 1: argument: ARG V is 1, and was not declared before"},
		{"argument gone", "FROM scratch\nARG V=1\nRUN write /v 1\n", "FROM scratch\nRUN write /v 1\n", nil,
			"executed RUN write /v 1: argument: ARG V was 1, and is not declared any more"},
		{"env", "FROM scratch\nENV E=1\nRUN write /v 1\n", "FROM scratch\nENV E=2\nRUN write /v 1\n", nil,
			"executed RUN write /v 1: env: ENV E changed from 1 to 2"},
		{"order of variables", "FROM scratch\nENV E=1 F=2\nRUN write /v 1\n", "FROM scratch\nENV F=2 E=1\nRUN write /v 1\n", nil,
			"executed RUN write /v 1: env: its variables come in another order"},
		{"shell", "FROM scratch\nSHELL [\"/sh\", \"-c\"]\nRUN write /v 1\n", "FROM scratch\nSHELL [\"/sh\", \"-e\", \"-c\"]\nRUN write /v 1\n", nil,
			`executed RUN write /v 1: option: the SHELL changed from "/sh -c" to "/sh -e -c"`},
		{"user", "FROM scratch\nRUN write /v 1\n", "FROM scratch\nUSER 7\nRUN write /v 1\n", nil,
			"executed RUN write /v 1: option: the USER is 7, and was not set before"},
		{"workdir", "FROM scratch\nWORKDIR /a\nCOPY src x\nRUN write /v 1\n", "FROM scratch\nWORKDIR /b\nCOPY src x\nRUN write /v 1\n", nil,
			`executed WORKDIR /b: instruction: the instruction changed from "WORKDIR /a" to "WORKDIR /b"` + "\n" +
				"executed COPY src x: option: its destination, with variables and WORKDIR resolved, changed from /a/x to /b/x | parent: its parent…\n" +
				"executed RUN write /v 1: option: the WORKDIR changed from /a to /b | parent:…"},
		{"no cache", files, files, func(f *fixture) { f.opts.NoCache = true },
			"executed COPY…: no-cache: --no-cache was given\nexecuted RUN…: no-cache: --no-cache was given"},
		{"no cache filter", "FROM scratch AS a\n" + strings.TrimPrefix(files, "FROM scratch\n"), "FROM scratch AS a\n" + strings.TrimPrefix(files, "FROM scratch\n"), func(f *fixture) { f.opts.NoCacheStages = []string{"a"} },
			"executed COPY…: no-cache: --no-cache-filter names its stage\nexecuted RUN…: no-cache:…"},
		{"epoch", files, files, func(f *fixture) { now := time.Unix(77, 0); f.opts.SourceDateEpoch = &now },
			"executed COPY…: epoch: SOURCE_DATE_EPOCH is 77; before, the build's time was the base image's, 1970-01-01T00:00:00Z\nexecuted RUN…: epoch:…| parent:…"},
		{"compression", files, files, func(f *fixture) { f.opts.Zstd = true },
			"executed COPY…: option: its input compression changed from gzip to zstd\nexecuted RUN…: option:…"},
		{"base moved", "FROM base\nRUN write /v 1\n", "FROM base\nRUN write /v 1\n", func(f *fixture) { f.image("base", "new") },
			"base FROM full/base: base: the base image full/base moved from sha256:… to sha256:…\nexecuted RUN write /v 1: base: the base image full/base moved from sha256:… to sha256:…"},
		{"another base", "ARG B=base\nFROM $B\nRUN write /v 1\n", "ARG B=base\nFROM $B\nRUN write /v 1\n", func(f *fixture) { f.image("other", "o"); arg("B", "other")(f) },
			"base FROM full/other: base: the base image changed from full/base to full/other | argument: build argument B is other, and was not set before\nexecuted RUN write /v 1: base: the base image changed from full/base to full/other"},
		{"platform", "FROM base\nRUN write /v 1\n", "FROM base\nRUN write /v 1\n", func(f *fixture) {
			f.image("base linux/arm64", "arm")
			f.opts.Platform = &ocispec.Platform{OS: "linux", Architecture: "arm64"}
		}, "base FROM full/base…: base: the base image…\nexecuted RUN write /v 1: platform: platform changed from linux/amd64 to linux/arm64 | base:…"},
		{"mounted file", "# syntax=docker/dockerfile:1\nFROM scratch\nRUN --mount=target=/m,source=src write /v 1\n", "# syntax=docker/dockerfile:1\nFROM scratch\nRUN --mount=target=/m,source=src write /v 1\n", func(f *fixture) { f.write("src/a", "other") },
			"executed RUN --mount=target=/m,source=src write /v 1: files: mounted at /m: files of the context: 1 changed (changed src/a [content] ca97100644>d929100644)"},
		{"mounted stage", "FROM scratch AS a\nRUN write /o 1\nFROM scratch\nRUN --mount=from=a,target=/m write /v 1\n", "FROM scratch AS a\nRUN write /o 2\nFROM scratch\nRUN --mount=from=a,target=/m write /v 1\n", nil,
			"executed RUN write /o 2: instruction:…\nexecuted RUN --mount=from=a,target=/m write /v 1: mount: what is mounted at /m changed from sha256:… to sha256:…"},
		{"mount option", "FROM scratch\nRUN --mount=type=tmpfs,target=/m write /v 1\n", "FROM scratch\nRUN --mount=type=tmpfs,target=/n write /v 1\n", nil,
			"executed RUN --mount=type=tmpfs,target=/n write /v 1: instruction:…"},
		{"copied stage", "FROM scratch AS a\nRUN write /o 1\nFROM scratch\nCOPY --from=a /o /p\n", "FROM scratch AS a\nRUN write /o 2\nFROM scratch\nCOPY --from=a /o /p\n", nil,
			"executed RUN write /o 2: instruction:…\nexecuted COPY --from=a /o /p: source: what it reads from, [a 1/1] RUN write /o 2 was executed again and its result differs; of the files that are copied: 1 changed (changed /o [content] 6b86100644>d473100644)"},
		{"copied stage, mode", "FROM scratch AS a\nRUN write /o 1\nFROM scratch\nCOPY --from=a /o /p\n", "FROM scratch AS a\nRUN write /o 1\nRUN chmod /o\nFROM scratch\nCOPY --from=a /o /p\n", nil,
			"cached RUN write /o 1:\nexecuted RUN chmod /o: new:…\nexecuted COPY --from=a /o /p: source: it reads from \"RUN chmod /o\" now, and read from \"RUN write /o 1\" before; of the files that are copied: 1 changed (changed /o [mode] 6b86100644>6b86100755)"},
		{"copied stage, link", "FROM scratch AS a\nRUN symlink x /o1\nFROM scratch\nCOPY --from=a / /p/\n", "FROM scratch AS a\nRUN symlink y /o1\nFROM scratch\nCOPY --from=a / /p/\n", nil,
			"executed RUN symlink y /o1: instruction:…\nexecuted COPY --from=a / /p/: source: …: 1 changed (changed /o1 [link] x100777>y100777)"},
		{"copied stage, other files", "FROM scratch AS a\nRUN write /o 1\nRUN write /q 1\nFROM scratch\nCOPY --from=a /o /p\n", "FROM scratch AS a\nRUN write /o 1\nRUN write /q 2\nFROM scratch\nCOPY --from=a /o /p\n", nil,
			"cached RUN write /o 1:\nexecuted RUN write /q 2: instruction:…\ncached COPY --from=a /o /p:"},
		{"copied stage, without a record of the files", "FROM scratch AS a\nRUN write /o 1\nRUN write /q 1\nFROM scratch\nCOPY --from=a /o /p\n", "FROM scratch AS a\nRUN write /o 1\nRUN write /q 2\nFROM scratch\nCOPY --from=a /o /p\n", func(f *fixture) {
			must(f.t, os.RemoveAll(filepath.Join(f.root, "cache/build")))
		}, "executed RUN write /o 1: record-gone:…\nexecuted RUN write /q 2: instruction:…\nexecuted COPY --from=a /o /p: source: what it reads from, [a 2/2] RUN write /q 2 was executed again and its result differs; the files that are copied are the same"},
		{"copied stage, new file", "FROM scratch AS a\nRUN write /o1 1\nFROM scratch\nCOPY --from=a /o* /p/\n", "FROM scratch AS a\nRUN write /o2 1\nFROM scratch\nCOPY --from=a /o* /p/\n", nil,
			"executed RUN write /o2 1: instruction:…\nexecuted COPY --from=a /o* /p/: source: …: 1 added, 1 removed (removed /o1 [] 6b86100644>) (added /o2 [] >6b86100644)"},
		{"copied image", "FROM scratch\nCOPY --from=base /base /p\n", "FROM scratch\nCOPY --from=base /base /p\n", func(f *fixture) { f.image("base", "new") },
			"base …:…\nexecuted COPY --from=base /base /p: base: the base image full/base moved from sha256:… to sha256:…"},
		{"same result", "FROM scratch\nRUN write /o 1\nRUN write /p 1\n", "FROM scratch\nRUN write  /o 1\nRUN write /p 1\n", nil,
			"executed RUN write  /o 1: instruction:…\ncached RUN write /p 1: note: its parent [1/2] RUN write  /o 1 was executed with the same result"},
		{"stage renamed", "FROM scratch AS a\nRUN write /o 1\n", "FROM scratch AS b\nRUN write /o 2\n", nil,
			`executed RUN write /o 2: instruction: the instruction changed from "RUN write /o 1" to "RUN write /o 2"`},
		{"failed before", "FROM scratch\nRUN fail\nRUN write /a 1\n", "FROM scratch\nRUN fail\nRUN write /a 1\n", func(f *fixture) { f.exec.fail = false },
			"executed RUN fail: failed-before: it failed or was stopped in build …\nexecuted RUN write /a 1: first: build … ended before this step did"},
		{"record gone", files, files, func(f *fixture) { must(f.t, os.RemoveAll(filepath.Join(f.root, "cache/build"))) },
			"executed COPY…: record-gone: build … made the same; its cache record was removed since\nexecuted RUN…: record-gone:…"},
		{"layer gone", files, files, func(f *fixture) {
			must(f.t, cache.Open(filepath.Join(f.root, "cache/build")).Each(f.t.Context(), func(r cache.Record, _ time.Time) error {
				if strings.HasPrefix(r.Definition, "run") {
					return f.store.Delete(f.t.Context(), r.Layer.Descriptor.Digest)
				}
				return nil
			}))
		}, "cached COPY…:\nexecuted RUN…: layer-gone: its layer was removed from the store since it was made"},
		{"list gone", files, files, func(f *fixture) {
			f.write("src/a", "other")
			must(f.t, os.RemoveAll(filepath.Join(f.root, "history/lists")))
		}, "executed COPY…: files: files of the context changed; which ones is not kept any more\nexecuted RUN…"},
	}
}

func TestReasons(t *testing.T) {
	for _, c := range reasonCases() {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			f.image("base", "old")
			f.write("src/a", "a")
			f.write("src/b", "b")
			f.write("src/l", "-> a")
			first := f.explain(f.build(c.before))
			for _, s := range first.Steps {
				if s.Outcome == explain.Executed && s.Reasons[0].Kind != explain.First {
					t.Errorf("the first build: %s: %v", s.Name, s.Reasons)
				}
			}
			if c.change != nil {
				c.change(f)
			}
			r := f.explain(f.build(c.after))
			if got := short(r); !matches(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if _, err := json.Marshal(r); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestStagesOfOtherBuilds: a stage is compared with the last build that had it, not with a build of another target.
func TestStagesOfOtherBuilds(t *testing.T) {
	f := newFixture(t)
	src := "FROM scratch AS a\nRUN write /a 1\nFROM scratch AS b\nRUN write /b 1\n"
	f.opts.Target = "a"
	first := f.build(src)
	f.opts.Target = "b"
	if r := f.explain(f.build(src)); !matches(short(r), "executed RUN write /b 1: first: the stage was not built before") {
		t.Errorf("got %s", short(r))
	}
	f.opts.Target = "a"
	r := f.explain(f.build(strings.Replace(src, "/a 1", "/a 2", 1)))
	if !matches(short(r), `executed RUN write /a 2: instruction: the instruction changed from "RUN write /a 1" to "RUN write /a 2"`) {
		t.Errorf("got %s", short(r))
	}
	if len(r.Before) != 1 || r.Before[0] != first {
		t.Errorf("compared with %v, want %s", r.Before, first)
	}
}

// TestBackToAnOlderState: what an older build made is cached, and what is on top of it is told so.
func TestBackToAnOlderState(t *testing.T) {
	f := newFixture(t)
	one := "FROM scratch\nRUN write /a 1\nRUN write /b 1\n"
	f.build(one)
	f.build(strings.ReplaceAll(one, " 1\n", " 2\n"))
	r := f.explain(f.build("FROM scratch\nRUN write /a 1\nRUN write /b 2\n"))
	if !matches(short(r), "cached RUN write /a 1:\nexecuted RUN write /b 2: parent: its parent [1/2] RUN write /a 1 has another result than in build …, which the cache had from an earlier build") {
		t.Errorf("got %s", short(r))
	}
}

func TestRoot(t *testing.T) {
	f := newFixture(t)
	src := "FROM scratch AS a\nRUN write /a 1\nRUN write /b 1\nFROM scratch\nCOPY --from=a /a /a\nRUN write /c 1\n"
	f.build(src)
	r := f.explain(f.build(strings.Replace(src, "/a 1", "/a 2", 1)))
	for i, s := range r.Steps {
		if want := r.Steps[0].Name; i > 0 && s.Root != want || i == 0 && s.Root != "" {
			t.Errorf("%s began at %q", s.Name, s.Root)
		}
	}
}
