package engine

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/attest"
	"github.com/camada/camada/build"
	"github.com/camada/camada/build/history"
	"github.com/camada/camada/build/op"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/fetch"
	"github.com/camada/camada/platform"
	"github.com/opencontainers/go-digest"
)

// provenance says how an image was built.
func (e *Engine) provenance(opts BuildOptions, b *watchedBuild, from []gitContext, started time.Time) *attest.Provenance {
	p := &attest.Provenance{
		BuildDefinition: attest.BuildDefinition{
			BuildType: attest.BuildType,
			ExternalParameters: attest.External{
				Frontend: "dockerfile", Dockerfile: b.plan.File.Name, Target: opts.Target, Platform: b.platform,
				Labels: opts.Labels, NoCache: opts.NoCache,
			},
			InternalParameters:   attest.Internal{SourceDateEpoch: b.plan.Epoch.Unix(), BuilderPlatform: platform.Format(platform.Host())},
			ResolvedDependencies: dependencies(b, from),
		},
		RunDetails: attest.RunDetails{Builder: attest.Builder{ID: attest.BuilderID, Version: map[string]string{"camada": e.version}}},
	}
	ext := &p.BuildDefinition.ExternalParameters
	ext.Args, ext.HiddenArgs = shownArgs(opts.BuildArgs)
	if opts.ContextDir != "" && opts.ContextDir != "-" {
		ext.Source = remoteName(opts.ContextDir)
	}
	for name, value := range opts.Contexts {
		if ext.NamedContexts == nil {
			ext.NamedContexts = make(map[string]string)
		}
		ext.NamedContexts[name] = orElse(remoteName(value), "local")
	}
	if opts.Provenance == ProvenanceMax {
		for _, s := range opts.Run.Secrets {
			ext.Secrets = append(ext.Secrets, s.ID)
		}
		for _, a := range opts.Run.Agents {
			ext.SSH = append(ext.SSH, a.ID)
		}
		in := &p.BuildDefinition.InternalParameters
		in.DockerfileText = string(b.plan.Source)
		in.Steps = stepsOf(b, hiddenValues(opts.BuildArgs))
		in.DockerfileText = hide(in.DockerfileText, hiddenValues(opts.BuildArgs))
	}
	if opts.SourceDateEpoch == "" && opts.BuildArgs["SOURCE_DATE_EPOCH"] == "" {
		start, end := started.UTC().Truncate(time.Millisecond), time.Now().UTC().Truncate(time.Millisecond)
		p.RunDetails.Metadata = &attest.Metadata{InvocationID: newInvocation(), StartedOn: &start, FinishedOn: &end}
	}
	for _, g := range from {
		if g.name == "" && (g.commit != "" || g.remote != "") {
			if p.RunDetails.Metadata == nil {
				p.RunDetails.Metadata = &attest.Metadata{}
			}
			p.RunDetails.Metadata.BuildKit = &attest.BuildKitMetadata{VCS: &attest.VCS{Source: g.remote, Revision: g.commit}}
		}
	}
	return p
}

// remoteName is the address of a context without what can be a credential; "" for a directory of this machine.
func remoteName(context string) string {
	if kind, _, err := kindOf(context); strings.Contains(context, "://") || err == nil && kind != kindDir {
		return attest.Scrub(context)
	}
	return ""
}

// isHidden reports whether the value of an argument may be a secret.
func isHidden(name string) bool { return history.IsSecretName(name) || dockerfile.IsProxyArg(name) }

func shownArgs(args map[string]string) (shown map[string]string, hidden []string) {
	for k, v := range args {
		if isHidden(k) {
			hidden = append(hidden, k)
			continue
		}
		if shown == nil {
			shown = make(map[string]string)
		}
		shown[k] = v
	}
	slices.Sort(hidden)
	return shown, hidden
}

// hiddenValues are the values that no statement may have, the longest first.
func hiddenValues(args map[string]string) []string {
	var out []string
	for k, v := range args {
		if isHidden(k) && v != "" {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return len(b) - len(a) })
	return out
}

func hide(s string, values []string) string {
	for _, v := range values {
		s = strings.ReplaceAll(s, v, "(hidden)")
		if quoted, err := json.Marshal(v); err == nil {
			s = strings.ReplaceAll(s, string(quoted[1:len(quoted)-1]), "(hidden)")
		}
	}
	return s
}

// dependencies are what the build read, sorted by address, each once.
func dependencies(b *watchedBuild, from []gitContext) []attest.Resource {
	out := []attest.Resource{}
	add := func(r attest.Resource) {
		if !slices.ContainsFunc(out, func(o attest.Resource) bool { return o.URI == r.URI && o.Name == r.Name && sameDigests(o, r) }) {
			out = append(out, r)
		}
	}
	for _, g := range from {
		if !g.workTree { // of that, the files may be others than those of the commit
			add(gitResource(g.remote, g.ref, g.commit))
		}
	}
	var copied []string
	for _, v := range b.plan.Graph.Vertices {
		s := b.steps[v.ID]
		if v.Base != nil {
			plat := platform.Format(v.Base.Image.Platform)
			add(attest.Resource{URI: attest.ImagePURL(v.Base.Name, v.Base.Manifest.Digest, plat), Digest: attest.Digests(v.Base.Manifest.Digest)})
			continue
		}
		if s.Context != nil {
			copied = append(copied, s.Context.Digest.String())
		}
		if c, ok := v.Op.(*op.Copy); ok {
			for _, r := range fetchedBy(c, s) {
				add(r)
			}
		}
	}
	if len(copied) > 0 {
		sum := digest.FromString(strings.Join(copied, "\n"))
		add(attest.Resource{Name: "context", Digest: attest.DigestSet{"camadaContext": sum.Encoded()}})
	}
	add(attest.Resource{Name: b.plan.File.Name, Digest: attest.Digests(digest.FromBytes(b.plan.Source))})
	slices.SortStableFunc(out, func(a, b attest.Resource) int { return strings.Compare(a.URI+" "+a.Name, b.URI+" "+b.Name) })
	return out
}

func sameDigests(a, b attest.Resource) bool {
	for k, v := range a.Digest {
		if b.Digest[k] != v {
			return false
		}
	}
	return len(a.Digest) == len(b.Digest)
}

// fetchedBy are the remote sources of an ADD, in its order, which is that of the step's inputs.
func fetchedBy(c *op.Copy, s build.Step) []attest.Resource {
	var ids []string
	for _, in := range s.Inputs {
		if strings.HasPrefix(in, "url=") || strings.HasPrefix(in, "git=") {
			id, _, _ := strings.Cut(in[len("url="):], " ")
			ids = append(ids, id)
		}
	}
	var out []attest.Resource
	for i, r := range c.Remotes {
		if i >= len(ids) {
			break
		}
		switch {
		case r.Git != nil:
			ref := r.Git.Ref
			if fetch.IsCommit(ref) {
				ref = ""
			}
			out = append(out, gitResource(publicRemote(r.Git.Remote), ref, ids[i]))
		case r.URL != nil:
			d := digest.Digest(ids[i])
			if d.Validate() == nil {
				out = append(out, attest.Resource{URI: attest.Scrub(r.URL.URL), Digest: attest.Digests(d)})
			}
		}
	}
	return out
}

// gitResource is a commit as SLSA names it. The address may be "": then it is called by what it is.
func gitResource(remote, ref, commit string) attest.Resource {
	r := attest.Resource{URI: attest.GitURI(remote, ref), Digest: attest.DigestSet{"gitCommit": commit}}
	if r.URI == "" {
		r.Name = "git repository"
	}
	if len(commit) == 40 { // as BuildKit has it
		r.Digest["sha1"] = commit
	}
	return r
}

// stepsOf describes all steps.
func stepsOf(b *watchedBuild, hidden []string) []attest.Step {
	var out []attest.Step
	for _, v := range b.plan.Graph.Vertices {
		s := b.steps[v.ID]
		st := attest.Step{Name: hide(v.Name, hidden), DiffID: s.Layer.DiffID, Definition: hide(s.Definition, hidden)}
		st.Line, st.EndLine = linesOf(v.Location)
		for _, in := range inputsOf(v) {
			st.Inputs = append(st.Inputs, in.ID)
		}
		out = append(out, st)
	}
	return out
}

// sameProvenance compares what was built of what, and not when.
func sameProvenance(a, b *attest.Statement) bool {
	var x, y struct {
		BuildDefinition json.RawMessage `json:"buildDefinition"`
		RunDetails      struct {
			Builder  json.RawMessage `json:"builder"`
			Metadata struct {
				BuildKit json.RawMessage `json:"buildkit_metadata"`
			} `json:"metadata"`
		} `json:"runDetails"`
	}
	if json.Unmarshal(a.Predicate, &x) != nil || json.Unmarshal(b.Predicate, &y) != nil {
		return false
	}
	return bytes.Equal(x.BuildDefinition, y.BuildDefinition) && bytes.Equal(x.RunDetails.Builder, y.RunDetails.Builder) &&
		bytes.Equal(x.RunDetails.Metadata.BuildKit, y.RunDetails.Metadata.BuildKit)
}

// sameSBOM compares all that is said, and not when. The namespace alone, which has a sum of what is listed, can be copied by whoever sends a list along
// with an image.
func sameSBOM(a attached, b *attest.Statement) bool {
	x, y := timeless(a.Predicate), timeless(b.Predicate)
	return x != nil && reflect.DeepEqual(x, y)
}

// timeless reads an SPDX document without the time of its making; nil when it cannot be read.
func timeless(predicate []byte) map[string]any {
	var doc map[string]any
	if json.Unmarshal(predicate, &doc) != nil {
		return nil
	}
	if made, ok := doc["creationInfo"].(map[string]any); ok {
		delete(made, "created")
	}
	return doc
}
