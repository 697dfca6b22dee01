package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/policy"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// machinePolicy is the policy of the machine's administrator. Nothing else makes it count less.
const machinePolicy = "/etc/camada/policy.yaml"

// policySet are policies, read when they are first asked for.
type policySet struct {
	mu    sync.Mutex
	read  bool
	list  []*policy.Policy
	err   error
	marks []fileMark
	// looked is when the files were looked at.
	looked time.Time
}

// get reads the files, once.
func (p *policySet) get(files []policyFile) ([]*policy.Policy, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.read {
		p.list, p.err = readPolicies(files)
		p.read = true
	}
	return p.list, p.err
}

// again reads the files anew when they changed. While they cannot be read, or are none any more, the last ones that could be read count, and fault is told.
func (p *policySet) again(files []policyFile, fault func(error)) ([]*policy.Policy, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.read && time.Since(p.looked) < reloadLook {
		return p.list, p.err
	}
	p.looked = time.Now()
	marks := make([]fileMark, len(files))
	for i, f := range files {
		marks[i] = markOf(f.name)
	}
	if p.read && slices.Equal(marks, p.marks) {
		return p.list, p.err
	}
	list, err := readPolicies(files)
	if err == nil && len(list) == 0 {
		err = errdefs.NotFound("there is no policy: name a file")
	}
	switch {
	case err == nil:
		p.list, p.err = list, nil
	case p.list == nil:
		p.err = err
	default:
		fault(fmt.Errorf("the policy is not taken, and the last one stays: %w", err))
	}
	p.read, p.marks = true, marks
	return p.list, p.err
}

// policies are the machine's policy, and that of --policy or CAMADA_POLICY, or else the user's own. None costs two questions for files that are not there.
func (e *Engine) policies() ([]*policy.Policy, error) {
	return e.policySet.get(e.policyFiles())
}

// policyFile is where a policy may be.
type policyFile struct {
	name string
	must bool // be there
}

func (e *Engine) policyFiles() []policyFile {
	files := []policyFile{{orElse(e.machinePolicy, machinePolicy), false}}
	config, home := e.getenv("XDG_CONFIG_HOME"), e.getenv("HOME")
	switch {
	case e.policyFile != "":
		return append(files, policyFile{e.policyFile, true})
	case config != "":
	case home != "":
		config = filepath.Join(home, ".config")
	default:
		return files
	}
	return append(files, policyFile{filepath.Join(config, "camada/policy.yaml"), false})
}

func readPolicies(files []policyFile) ([]*policy.Policy, error) {
	var out []*policy.Policy
	for _, f := range files {
		p, err := ReadPolicy(f.name)
		switch {
		case errors.Is(err, fs.ErrNotExist) && !f.must && !isThere(f.name): // a link that leads nowhere is a policy that was lost
			continue
		case err != nil:
			return nil, err
		case len(out) > 0 && out[0].Digest == p.Digest: // CAMADA_POLICY may name the machine's
			continue
		}
		out = append(out, p)
	}
	return out, nil
}

// isThere reports whether there is something of that name, also a link that leads nowhere.
func isThere(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// ReadPolicy reads a file with a policy.
func ReadPolicy(name string) (*policy.Policy, error) {
	f, err := os.Open(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = errdefs.With(errdefs.ErrNotFound, err)
		}
		return nil, fmt.Errorf("read the policy: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, policy.MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the policy: %w", err)
	}
	return policy.Read(name, data)
}

// policyNames are the names by which a policy knows what a user named. An ID, and an entry of a log, are the image itself: then the names of the store are
// those that have it now, without their tags.
func policyNames(name string, f found) []reference.Reference {
	if f.ref.Repository != "" {
		ref := f.ref
		if asked, err := reference.Parse(name); err == nil && asked.Name() == ref.Name() {
			ref = asked
		} else {
			ref.Tag, ref.Digest = "", f.descriptor.Digest
		}
		if ref.Digest != "" {
			ref.Tag = ""
		}
		return []reference.Reference{ref}
	}
	var out []reference.Reference
	for _, t := range f.refs {
		ref := t.Reference
		ref.Tag, ref.Digest = "", f.descriptor.Digest
		out = append(out, ref)
	}
	return out
}

// enforce asks the policies, when there are any, whether something may be done with an image. What they refuse is a *policy.RefusedError; what they only warn of is a notice.
func (e *Engine) enforce(ctx context.Context, q policy.Request, at located, sink progress.Sink) error {
	list, err := e.policies()
	if err != nil || len(list) == 0 {
		return err
	}
	return e.judgeBy(ctx, list, q, at, sink)
}

// judgeBy is enforce with these policies.
func (e *Engine) judgeBy(ctx context.Context, list []*policy.Policy, q policy.Request, at located, sink progress.Sink) error {
	d, err := e.decide(ctx, list, q, at, sink)
	if err != nil {
		return err
	}
	for _, w := range d.Warnings() {
		e.notice("policy: " + w.String())
	}
	return d.Err()
}

// decide judges an image, or remembers that it is allowed. An error means that it was interrupted.
func (e *Engine) decide(ctx context.Context, list []*policy.Policy, q policy.Request, at located, sink progress.Sink) (*policy.Decision, error) {
	q.Now = time.Now()
	store, key := e.verdicts(), e.verdictKey(list, q, at)
	if d := store.get(key, q.Now); d != nil {
		return d, nil
	}
	d := policy.Judge(ctx, list, q, &policyFacts{e: e, at: at, names: q.Names, sink: progress.Or(sink)})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	store.put(key, d, q.Now)
	return d, nil
}

// enforceNamed is enforce for an image of the store, by the name that a user gave.
func (e *Engine) enforceNamed(ctx context.Context, q policy.Request, name string, img *image.Image) error {
	list, err := e.policies()
	if err != nil || len(list) == 0 {
		return err
	}
	f, err := e.resolve(ctx, name)
	if err != nil {
		return err
	}
	q.Names = policyNames(name, f)
	root, err := rootOf(ctx, e.content, f.descriptor, img)
	if err != nil {
		return err
	}
	return e.judgeBy(ctx, list, q, located{provider: e.content, image: img, root: root}, nil)
}

// rootOf is root when it leads to the image, and else the image itself: the name may have moved since the image was opened, and who signed what it stands for now did not sign the image.
func rootOf(ctx context.Context, src content.Provider, root ocispec.Descriptor, img *image.Image) (ocispec.Descriptor, error) {
	list, err := manifestsOf(ctx, src, root)
	if err != nil {
		return root, err
	}
	if !slices.ContainsFunc(list, func(d ocispec.Descriptor) bool { return d.Digest == img.Descriptor.Digest }) {
		return img.Descriptor, nil
	}
	return root, nil
}

// enforceGraph is enforce for all images that a manifest or an index leads to. What is no image is none that a rule is about.
func (e *Engine) enforceGraph(ctx context.Context, q policy.Request, src content.Provider, root ocispec.Descriptor, sink progress.Sink) error {
	list, err := e.policies()
	if err != nil || len(list) == 0 {
		return err
	}
	return e.eachImage(ctx, src, root, func(at located) error { return e.judgeBy(ctx, list, q, at, sink) })
}

// enforceBuilt is enforceGraph for the result of a build, which knows what it was built from.
func (e *Engine) enforceBuilt(ctx context.Context, names []reference.Reference, watch *watches, res *built, sink progress.Sink) error {
	list, err := e.policies()
	if err != nil || len(list) == 0 {
		return err
	}
	bases := map[digest.Digest]*policy.Base{}
	for _, w := range watch.sorted() {
		if w.result == nil || w.plan.Graph == nil {
			continue
		}
		b := &policy.Base{Name: "scratch", Built: true}
		if from := w.plan.Graph.Base; from != nil {
			b = &policy.Base{Name: from.Name, Digest: from.Manifest.Digest.String(), Built: true}
		}
		bases[w.result.Manifest.Digest] = b
	}
	return e.eachImage(ctx, res.blobs, res.descriptor, func(at located) error {
		at.base = bases[at.image.Descriptor.Digest]
		return e.judgeBy(ctx, list, policy.Request{Action: policy.Build, Names: names}, at, sink)
	})
}

// eachImage calls judge for each image that root leads to. What can be run is told by what is in it, not by what an index says of it. A manifest or an index on the way that is
// not there is an error: it may come later, and be run without a look.
func (e *Engine) eachImage(ctx context.Context, src content.Provider, root ocispec.Descriptor, judge func(located) error) error {
	src = readOnce{src, map[digest.Digest][]byte{}}
	var manifests []ocispec.Descriptor
	err := image.Walk(ctx, src, root, image.WalkOptions{}, func(d ocispec.Descriptor) error {
		if image.IsManifest(d.MediaType) {
			manifests = append(manifests, d)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, d := range manifests {
		about, err := e.onlyStatements(ctx, src, d)
		if err != nil {
			return fmt.Errorf("judge %s: %w", d.Digest, err)
		}
		if about {
			continue
		}
		img, runs, err := openToJudge(ctx, src, d)
		if err != nil {
			return fmt.Errorf("judge %s: %w", d.Digest, err)
		}
		if !runs {
			continue
		}
		if err := judge(located{provider: src, image: img, root: root}); err != nil {
			return err
		}
	}
	return nil
}

// openToJudge opens what a manifest is of; runs is false for an artifact, which nobody takes for an image.
func openToJudge(ctx context.Context, src content.Provider, d ocispec.Descriptor) (img *image.Image, runs bool, err error) {
	img, err = image.Open(ctx, src, d, ocispec.Platform{})
	if !errdefs.IsUnsupported(err) {
		return img, err == nil, err
	}
	_, m, readErr := image.ReadManifest(ctx, src, d)
	if readErr != nil || image.IsConfig(m.Config.MediaType) {
		return nil, false, err // an image with something that is not known here, such as another kind of root file system; others run it
	}
	switch m.Config.MediaType {
	case "application/octet-stream", "application/json", "text/html": // Docker takes these for images
		return nil, false, errdefs.Permission("cannot know: its config is of the type %s, which may be that of an image", m.Config.MediaType)
	}
	return nil, false, nil //nolint:nilerr // what is no image is judged by no rule
}

// onlyManifests refuses an index with entries that say to be neither manifests nor indexes: not all that run images heed that.
func onlyManifests(ctx context.Context, src content.Provider, root ocispec.Descriptor) error {
	return image.Walk(ctx, src, root, image.WalkOptions{}, func(d ocispec.Descriptor) error {
		if !image.IsIndex(d.MediaType) {
			return fs.SkipDir
		}
		children, err := image.Children(ctx, src, d)
		if err != nil {
			return err
		}
		for _, c := range children {
			if !image.IsIndex(c.MediaType) && !image.IsManifest(c.MediaType) {
				return errdefs.Unsupported("the index %s has an entry of the type %.100q", d.Digest, c.MediaType)
			}
		}
		return nil
	})
}

// PolicyOptions say what is judged.
type PolicyOptions struct {
	Action    policy.Action
	Platform  string
	Namespace string
	User      string
}

// CheckPolicy says what the policies have to say of an image, which lies where OpenAnatomy finds it, with all that they looked at. ErrNotFound means that there is no policy.
func (e *Engine) CheckPolicy(ctx context.Context, name string, o PolicyOptions, sink progress.Sink) (*policy.Decision, error) {
	list, err := e.policies()
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errdefs.NotFound("there is no policy: give one with --policy or CAMADA_POLICY, or write %s or ~/.config/camada/policy.yaml", machinePolicy)
	}
	at, err := e.find(ctx, name, o.Platform, progress.Or(sink))
	if err != nil {
		return nil, err
	}
	q := policy.Request{Action: o.Action, Namespace: o.Namespace, User: o.User, Now: time.Now(), Thorough: true, Names: e.namesToJudge(ctx, name)}
	d := policy.Judge(ctx, list, q, &policyFacts{e: e, at: at, names: q.Names, sink: progress.Or(sink)})
	d.Image = name
	d.Digest = at.image.Descriptor.Digest.String()
	if at.close != nil {
		err = at.close()
	}
	return d, errors.Join(err, ctx.Err())
}

// namesToJudge are the names of an image that find found.
func (e *Engine) namesToJudge(ctx context.Context, name string) []reference.Reference {
	if f, err := e.resolve(ctx, name); err == nil {
		return policyNames(name, f)
	}
	t, err := parseTransport(name)
	if err != nil || t.ref.Repository == "" {
		return nil
	}
	if _, err := os.Stat(name); err == nil { // a file, which has no name
		return nil
	}
	if t.ref.Digest != "" {
		t.ref.Tag = ""
	}
	return []reference.Reference{t.ref}
}
