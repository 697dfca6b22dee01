package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/camada/camada/attest"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/fetch/git"
	"github.com/camada/camada/image"
	"github.com/camada/camada/internal/citag"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ErrReleased is the class of errors of a release that exists already and is something else.
const ErrReleased errdefs.Class = "released"

// CITag is a tag that an image gets by the state of git.
type CITag struct {
	// Name is the whole name, Tag its tag; Kind is release, alias, branch, snapshot or commit.
	Name, Tag, Kind string
	// Before is what it points to in the store before it is moved; "" for nothing.
	Before string `json:",omitempty"`
	// Digest is what it points to afterwards; "" in a plan.
	Digest string `json:",omitempty"`
}

// CIReport is what git says, and what follows from it.
type CIReport struct {
	// Version is that of the image; "" when none can be told.
	Version string
	Tags    []CITag
	// Annotations are those that a build writes.
	Annotations map[string]string
	// Warnings are for people.
	Warnings []string `json:",omitempty"`
}

// ciBuild is what a build does with the state of git.
type ciBuild struct {
	annotations map[string]string
	// released are the names that never move.
	released []reference.Reference
	note     string
}

// gitFacts asks git about the work tree that dir is in, and the CI system about what git does not know.
func (e *Engine) gitFacts(ctx context.Context, dir string) (citag.Facts, []string, error) {
	getenv := e.getenv
	if getenv == nil {
		getenv = func(string) string { return "" }
	}
	s, err := git.New(git.Options{Getenv: getenv}).State(ctx, dir, citag.Highest)
	if errdefs.IsNotFound(err) {
		return citag.Facts{}, nil, fmt.Errorf("tags of the state of git: %w; build in a clone that has .git", err)
	}
	if err != nil {
		return citag.Facts{}, nil, fmt.Errorf("tags of the state of git: %w", err)
	}
	f := citag.Facts{
		Commit: s.Commit, Time: s.Time, Branch: strings.TrimPrefix(s.Ref, "refs/heads/"), Tags: s.Tags, All: s.All, Last: s.Last, Distance: s.Distance, Dirty: s.Dirty, Shallow: s.Shallow,
		Source: webSource(s.Remote),
	}
	if !strings.HasPrefix(s.Ref, "refs/heads/") {
		f.Branch = ""
	}
	var warnings []string
	if w := f.Complete(citag.FromEnvironment(getenv)); w != "" {
		warnings = append(warnings, w)
	}
	return f, warnings, nil
}

// webSource is the address of a repository for people: without credentials, and of one over ssh the web's; "" for one of this machine.
func webSource(remote string) string {
	u, err := url.Parse(strings.TrimPrefix(attest.GitURI(publicRemote(remote), ""), "git+"))
	if err != nil || u.Host == "" {
		return ""
	}
	if u.Scheme == "ssh" {
		u.Scheme, u.Host = "https", u.Hostname()
	}
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, ".git"), ""
	return u.String()
}

// planTags makes the tags of one repository. With push its registry is asked which tags there are.
func (e *Engine) planTags(ctx context.Context, f citag.Facts, repository reference.Reference, push bool) (citag.Scheme, []reference.Reference, error) {
	tags, err := e.refs.List(ctx)
	if err != nil {
		return citag.Scheme{}, nil, err
	}
	var known []string
	for _, t := range tags {
		if t.Reference.Name() == repository.Name() {
			known = append(known, t.Reference.Tag)
		}
	}
	if push {
		there, err := e.registries().Repository(repository).Tags(ctx, 0)
		if err != nil && !errdefs.IsNotFound(err) {
			return citag.Scheme{}, nil, fmt.Errorf("ask which versions of %s there are: %w", repository.FamiliarName(), err)
		}
		known = append(known, there...)
	}
	s := citag.Plan(f, known)
	refs := make([]reference.Reference, len(s.Tags))
	for i, t := range s.Tags {
		refs[i] = repository.WithTag(t.Name)
	}
	return s, refs, nil
}

// PrepareCI replaces the names of a build that have no tag by those that follow from the state of git where the context is, and makes the build annotate the image with it. It is called before Build or Verify.
func (e *Engine) PrepareCI(ctx context.Context, opts *BuildOptions) (CIReport, error) {
	if kind, _, err := kindOf(opts.ContextDir); err != nil || kind != kindDir {
		return CIReport{}, errdefs.Invalid("--tag-ci: the state of git is that of a directory on this machine, and the context %s is none", opts.ContextDir)
	}
	f, warnings, err := e.gitFacts(ctx, opts.ContextDir)
	if err != nil {
		return CIReport{}, err
	}
	push := slices.ContainsFunc(opts.Outputs, func(o BuildOutput) bool { return o.Push })
	r := CIReport{Warnings: warnings}
	ci := &ciBuild{note: "of commit " + f.Commit}
	var names []string
	bare := 0
	for _, name := range opts.Tags {
		repository, err := tagOnly(name)
		if err != nil {
			return r, err
		}
		if strings.HasSuffix(name, ":"+repository.Tag) {
			names = append(names, name)
			continue
		}
		bare++
		s, refs, err := e.planTags(ctx, f, repository, push)
		if err != nil {
			return r, err
		}
		r.Version, r.Annotations = s.Version, s.Annotations
		for i, ref := range refs {
			names = append(names, ref.Familiar())
			r.Tags = append(r.Tags, CITag{Name: ref.Familiar(), Tag: ref.Tag, Kind: s.Tags[i].Kind})
			if s.Tags[i].Kind == citag.Release {
				ci.released = append(ci.released, ref)
			}
		}
		if bare == 1 {
			r.Warnings = append(r.Warnings, s.Warnings...)
		}
	}
	if bare == 0 {
		return r, errdefs.Invalid("--tag-ci needs the name of an image without a tag: -t NAME")
	}
	ci.annotations = r.Annotations
	opts.Tags, opts.ci = names, ci
	return r, nil
}

// notes are the annotations of a manifest, and of the index when there is one.
func (c *ciBuild) notes(index bool) annotations {
	if c == nil {
		return nil
	}
	var out annotations
	for _, key := range slices.Sorted(maps.Keys(c.annotations)) {
		out = append(out, annotation{place: inManifest, key: key, value: c.annotations[key]})
		if index {
			out = append(out, annotation{place: inIndex, key: key, value: c.annotations[key]})
		}
	}
	return out
}

// guard refuses to deliver what would move a release, here or in a registry that it is pushed to.
func (e *Engine) guard(ctx context.Context, outputs []BuildOutput, res *built) error {
	if res.ci == nil {
		return nil
	}
	push := slices.ContainsFunc(outputs, func(o BuildOutput) bool { return o.Push })
	for _, ref := range res.ci.released {
		tag, err := e.refs.Get(ctx, ref)
		if err != nil && !errdefs.IsNotFound(err) {
			return err
		}
		if err := released(ref, tag.Descriptor.Digest, res.descriptor.Digest, ""); err != nil {
			return err
		}
		if !push {
			continue
		}
		there, err := e.registries().Repository(ref).Resolve(ctx, ref.Tag)
		if err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("ask whether %s is released: %w", ref.Familiar(), err)
		}
		if err := released(ref, there.Digest, res.descriptor.Digest, " in its registry"); err != nil {
			return err
		}
	}
	return nil
}

// released is an error when a release is something else already.
func released(ref reference.Reference, is, wanted digest.Digest, where string) error {
	if is == "" || is == wanted {
		return nil
	}
	return errdefs.With(ErrReleased, errdefs.Conflict("%s is released%s: it is %s and would become %s; give the commit a new version", ref.Familiar(), where, is, wanted))
}

// TagCI gives an image of the store the tags that follow from the state of git where dir is. repository is a name without a tag, "" is that of the source. With dryRun nothing is moved, and the
// source need not be there.
func (e *Engine) TagCI(ctx context.Context, source, repository, dir string, dryRun bool) (CIReport, error) {
	src, srcErr := e.resolve(ctx, source)
	if srcErr != nil && !dryRun {
		return CIReport{}, srcErr
	}
	target, err := ciRepository(source, repository, src)
	if err != nil {
		return CIReport{}, err
	}
	f, warnings, err := e.gitFacts(ctx, dir)
	if err != nil {
		return CIReport{}, err
	}
	s, refs, err := e.planTags(ctx, f, target, false)
	if err != nil {
		return CIReport{}, err
	}
	r := CIReport{Version: s.Version, Annotations: s.Annotations, Warnings: append(warnings, s.Warnings...)}
	var releases []reference.Reference
	for i, ref := range refs {
		t := CITag{Name: ref.Familiar(), Tag: ref.Tag, Kind: s.Tags[i].Kind}
		tag, err := e.refs.Get(ctx, ref)
		if err != nil && !errdefs.IsNotFound(err) {
			return r, err
		}
		t.Before = tag.Descriptor.Digest.String()
		r.Tags = append(r.Tags, t)
		if t.Kind == citag.Release {
			releases = append(releases, ref)
		}
		if t.Kind == citag.Release && srcErr == nil {
			if err := released(ref, tag.Descriptor.Digest, src.descriptor.Digest, ""); err != nil {
				return r, err
			}
		}
	}
	if srcErr == nil {
		w, err := e.otherRevision(ctx, src.descriptor, s.Annotations[ocispec.AnnotationRevision])
		if err != nil {
			return r, err
		}
		if w != "" {
			r.Warnings = append(r.Warnings, source+" "+w)
		}
	}
	if dryRun {
		return r, nil
	}
	if _, err := e.moveTogether(ctx, refs, releases, src.descriptor, "tag", "of commit "+f.Commit); err != nil {
		return r, err
	}
	for i := range r.Tags {
		r.Tags[i].Digest = src.descriptor.Digest.String()
	}
	return r, nil
}

// ciRepository is where the tags go.
func ciRepository(source, repository string, src found) (reference.Reference, error) {
	if repository == "" {
		if src.ref.Repository != "" {
			return src.ref, nil
		}
		ref, err := reference.Parse(source)
		if err != nil || image.IsID(source) {
			return ref, errdefs.Invalid("%s has no name: say which image the tags are of, camada tag --ci %s NAME", source, source)
		}
		return ref, nil
	}
	ref, err := tagOnly(repository)
	if err == nil && strings.HasSuffix(repository, ":"+ref.Tag) {
		err = errdefs.Invalid("%s: the tags follow from the state of git; write %s", repository, ref.FamiliarName())
	}
	return ref, err
}

// otherRevision says that an image tells of another commit; "" when it does not, or tells of none.
func (e *Engine) otherRevision(ctx context.Context, desc ocispec.Descriptor, commit string) (string, error) {
	img, err := image.OpenAny(ctx, e.content, desc)
	if errdefs.IsNotFound(err) || errdefs.IsUnsupported(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	was := img.Manifest.Annotations[ocispec.AnnotationRevision]
	if was == "" {
		was = img.Config.Config.Labels[ocispec.AnnotationRevision]
	}
	if was == "" || was == commit {
		return "", nil
	}
	return fmt.Sprintf("says that it was built from %.50q, and %s is checked out", was, commit), nil
}

// moveTogether points names to one image: all of them, or none. When one cannot be moved, those that were are taken back; others see them moved for that moment.
// Those of refs that are among releases are not moved when they are something else, also when another process made them that meanwhile.
func (e *Engine) moveTogether(ctx context.Context, refs, releases []reference.Reference, desc ocispec.Descriptor, verb, note string) ([]string, error) {
	refs = distinct(refs)
	before := make([]image.Tag, len(refs))
	names := make([]string, len(refs))
	for i, ref := range refs {
		tag, err := e.refs.Get(ctx, ref)
		if err != nil && !errdefs.IsNotFound(err) {
			return nil, err
		}
		if tag.Immutable && tag.Descriptor.Digest != desc.Digest {
			return nil, errdefs.Conflict("%s cannot be moved: it is immutable; no tag was moved", ref.Familiar())
		}
		if slices.Contains(releases, ref) {
			if err := released(ref, tag.Descriptor.Digest, desc.Digest, ""); err != nil {
				return nil, err
			}
		}
		before[i], names[i] = tag, ref.Familiar()
	}
	for i, ref := range refs {
		was := before[i].Descriptor.Digest
		err := e.refs.Set(ctx, ref, desc, image.SetOptions{Verb: verb, Note: note, Expect: &was})
		if err == nil {
			continue
		}
		if now, getErr := e.refs.Get(ctx, ref); getErr == nil && errdefs.IsConflict(err) {
			if now.Descriptor.Digest == desc.Digest { // another process was faster, with the same image
				before[i] = now
				continue
			}
			if slices.Contains(releases, ref) {
				err = errdefs.With(ErrReleased, err)
			}
		}
		err = fmt.Errorf("tag %s: %w", ref.Familiar(), err)
		for j := range i {
			err = errors.Join(err, e.takeBack(ctx, refs[j], before[j], desc, verb))
		}
		return nil, err
	}
	for _, n := range names {
		e.noteImage(ctx, "tag", desc.Digest.String(), n)
	}
	return names, nil
}

// distinct are the names without those that come again: two of a build may mean the same.
func distinct(refs []reference.Reference) []reference.Reference {
	var out []reference.Reference
	for _, ref := range refs {
		if !slices.Contains(out, ref) {
			out = append(out, ref)
		}
	}
	return out
}

// takeBack gives a name what it had.
func (e *Engine) takeBack(ctx context.Context, ref reference.Reference, before image.Tag, desc ocispec.Descriptor, verb string) error {
	o := image.SetOptions{Verb: verb, Note: "taken back, as another tag could not be moved", Expect: &desc.Digest}
	var err error
	switch before.Descriptor.Digest {
	case desc.Digest:
	case "":
		err = e.refs.Delete(context.WithoutCancel(ctx), ref, o)
	default:
		err = e.refs.Set(context.WithoutCancel(ctx), ref, before.Descriptor, o)
	}
	if err != nil {
		return fmt.Errorf("take back %s: %w", ref.Familiar(), err)
	}
	return nil
}
