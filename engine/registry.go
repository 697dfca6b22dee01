package engine

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/policy"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/hosts"
	"github.com/camada/camada/remote/ssh"
	"github.com/camada/camada/transfer"
	"github.com/camada/camada/userns"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// transfers is how many blobs are copied from or to a registry at once, as docker has it.
const transfers = 3

// registries returns the client of registries, made on first use.
func (e *Engine) registries() *remote.Client {
	e.remoteMu.Lock()
	defer e.remoteMu.Unlock()
	if e.remote == nil {
		e.remote = remote.New(e.remoteOptions())
	}
	return e.remote
}

// remoteOptions are those of the user's environment.
func (e *Engine) remoteOptions() remote.Options {
	insecure := append([]string{}, e.insecure...)
	insecure = append(insecure, strings.FieldsFunc(e.getenv("CAMADA_INSECURE_REGISTRIES"), func(r rune) bool { return r == ',' || r == ' ' })...)
	return remote.Options{Credentials: e.credentials(), Insecure: insecure, CertDirs: e.certDirs(), Sites: e.sites(), Pipes: e.pipes(),
		Warn: e.notice, Uploads: e.uploads(), Progress: &e.waits}
}

// pipes are by way of ssh. CAMADA_SSH is the program with arguments, as GIT_SSH_COMMAND is git's.
func (e *Engine) pipes() remote.Pipes {
	d := ssh.Dialer{Command: strings.Fields(e.getenv("CAMADA_SSH"))}
	if userns.Rootless() {
		uid, gid := userns.OuterID()
		d.Owner = &ssh.Owner{UID: uid, GID: gid}
	}
	return d
}

// certDirs are where docker, podman and their like look for the certificates of registries.
func (e *Engine) certDirs() []string {
	dirs := []string{"/etc/docker/certs.d", "/etc/containers/certs.d"}
	config := e.getenv("XDG_CONFIG_HOME")
	if home := e.getenv("HOME"); config == "" && home != "" {
		config = filepath.Join(home, ".config")
	}
	if config != "" {
		dirs = append(dirs, filepath.Join(config, "docker/certs.d"), filepath.Join(config, "containers/certs.d"))
	}
	return dirs
}

// sites are what podman and containerd are told of registries. What the user says goes before what the machine does.
func (e *Engine) sites() remote.Sites {
	dirs := e.certDirs()
	dirs = append(slices.Clone(dirs[2:]), "/etc/containerd/certs.d", dirs[0], dirs[1])
	return hosts.Open(hosts.Options{Getenv: e.getenv, Dirs: dirs})
}

func (e *Engine) closeRegistries() {
	e.remoteMu.Lock()
	defer e.remoteMu.Unlock()
	if e.remote != nil {
		e.remote.Close()
	}
}

// documents reads manifests and configs of a registry, and keeps them in memory: the store gets them with the layers, so that
// what it has of an image is whole.
type documents struct {
	store content.Provider
	src   transfer.Source
	kept  map[digest.Digest][]byte
	order []digest.Digest
}

// Open implements content.Provider.
func (d *documents) Open(ctx context.Context, desc ocispec.Descriptor) (content.Reader, error) {
	if r, err := d.store.Open(ctx, desc); !errdefs.IsNotFound(err) {
		return r, err
	}
	data, ok := d.kept[desc.Digest]
	if !ok {
		var err error
		if data, err = content.ReadAll(ctx, d.src, desc, content.MaxManifest); err != nil {
			return nil, err
		}
		d.kept[desc.Digest] = data
		d.order = append(d.order, desc.Digest)
	}
	return inMemory{bytes.NewReader(data)}, nil
}

// keep writes them into the store, what was read last first: children before their parents.
func (d *documents) keep(ctx context.Context, store content.Ingester) error {
	for i := len(d.order) - 1; i >= 0; i-- {
		data := d.kept[d.order[i]]
		if _, err := content.WriteReader(ctx, store, bytes.NewReader(data), ocispec.Descriptor{Digest: d.order[i], Size: int64(len(data))}); err != nil {
			return err
		}
	}
	return nil
}

// inMemory is a content.Reader of bytes.
type inMemory struct{ *bytes.Reader }

// Close implements io.Closer.
func (inMemory) Close() error { return nil }

// pulled is an image of a registry of which manifest and config are known.
type pulled struct {
	ref  reference.Reference
	repo *remote.Repository
	docs *documents
	// here is what it is called in the store.
	here reference.Reference
	// top is what the tag stands for: an index, or the manifest.
	top   ocispec.Descriptor
	image *image.Image
	// layers are those of the store; nil before they are looked up.
	layers map[digest.Digest]localLayer
}

// lookUp asks the image's registry for it, and reads manifest and config for a platform. Nothing is stored.
func (e *Engine) lookUp(ctx context.Context, ref reference.Reference, p ocispec.Platform) (*pulled, error) {
	here, err := ref.Here()
	if err != nil {
		return nil, err
	}
	repo := e.registries().Repository(ref)
	at := ref.Tag
	if ref.Digest != "" {
		at = ref.Digest.String()
	}
	top, err := repo.Resolve(ctx, at)
	if err != nil {
		return nil, pullError(ref, err)
	}
	docs := &documents{store: e.content, src: repo, kept: make(map[digest.Digest][]byte)}
	img, err := image.Open(ctx, docs, top, p)
	if err != nil {
		return nil, pullError(ref, err)
	}
	return &pulled{ref: ref, here: here, repo: repo, docs: docs, top: top, image: img}, nil
}

// pullError says what docker says when a registry does not give an image: many do not tell apart what is not there and what is not allowed.
func pullError(ref reference.Reference, err error) error {
	if errdefs.IsPermission(err) {
		return errdefs.Permission("pull access denied for %s: the repository does not exist, or it needs credentials: %w", ref.FamiliarName(), err)
	}
	return err
}

// Pull fetches an image from its registry, or a file or directory as copy has them, and names it. It returns the name and what it points to.
func (e *Engine) Pull(ctx context.Context, opts PullOptions, sink progress.Sink) (PullResult, error) {
	if t, ok, err := placeOf(opts.Image); ok || err != nil {
		if err != nil {
			return PullResult{}, err
		}
		return e.pullAt(ctx, t, opts, sink)
	}
	defer e.waits.show(sink)()
	ref, err := reference.ParseRemote(opts.Image)
	if err != nil {
		return PullResult{}, err
	}
	p, err := onePlatform(opts.Platform)
	if err != nil {
		return PullResult{}, err
	}
	found, err := e.lookUp(ctx, ref, p)
	if err != nil {
		return PullResult{}, err
	}
	fresh := !e.isWhole(ctx, found.image)
	if !opts.NoDelta {
		if err := e.remakeLayers(ctx, found, progress.Or(sink)); err != nil {
			return PullResult{}, err
		}
		if err := e.fetchDeltas(ctx, found, progress.Or(sink)); err != nil {
			return PullResult{}, err
		}
	}
	if err := e.fetchImage(ctx, found, opts.Packed, progress.Or(sink)); err != nil {
		return PullResult{}, pullError(ref, err)
	}
	if err := e.enforce(ctx, found.request(policy.Pull), located{provider: e.content, image: found.image, root: found.top}, sink); err != nil {
		return PullResult{}, err
	}
	moved, err := e.namePulled(ctx, found)
	if err == nil {
		e.noteImage(ctx, "pull", found.here.Familiar(), found.here.Familiar())
	}
	return PullResult{Name: found.here.Familiar(), FullName: found.here.String(), Digest: found.top.Digest, New: fresh || moved}, err
}

// request is what a policy is asked about the image.
func (p *pulled) request(action policy.Action) policy.Request {
	ref := p.here
	if ref.Digest != "" {
		ref.Tag = ""
	}
	return policy.Request{Action: action, Names: []reference.Reference{ref}}
}

// isWhole reports whether all layers of an image are in the store.
func (e *Engine) isWhole(ctx context.Context, img *image.Image) bool {
	for _, l := range img.Layers {
		if len(l.URLs) > 0 {
			continue
		}
		if _, err := e.content.Stat(ctx, l.Digest); err != nil {
			return false
		}
	}
	return true
}

// namePulled makes an image durable all of whose layers are in the store, and points its name to it. It reports whether
// the name moved. An image that was asked for by its digest gets a tag that is made of it: what has no
// tag is collected.
func (e *Engine) namePulled(ctx context.Context, found *pulled) (moved bool, err error) {
	if err := found.docs.keep(ctx, e.content); err != nil {
		return false, err
	}
	img := found.image
	blobs := []digest.Digest{found.top.Digest, img.Descriptor.Digest, img.ID()}
	for _, l := range img.Layers {
		if _, err := e.content.Stat(ctx, l.Digest); err == nil || len(l.URLs) == 0 {
			blobs = append(blobs, l.Digest)
		}
	}
	if err := e.content.Sync(ctx, blobs...); err != nil {
		return false, fmt.Errorf("make %s durable: %w", found.here.Familiar(), err)
	}
	ref := found.here
	if ref.Digest != "" {
		ref = ref.WithTag(string(ref.Digest.Algorithm()) + "-" + ref.Digest.Encoded()[:12])
	}
	note := ""
	if !found.ref.OverSSH() {
		note = notePulled
	}
	if tag, err := e.refs.Get(ctx, ref); err == nil && tag.Descriptor.Digest == found.top.Digest {
		return false, e.noteConfirmed(ctx, ref, found.top, note)
	}
	_, err = e.setTags(ctx, []reference.Reference{ref}, found.top, "pull", note)
	return err == nil, err
}

// Push sends the image that a name points to, and what refers to it, to its registry, or to a file or directory as copy has them.
func (e *Engine) Push(ctx context.Context, name string, o PushOptions, sink progress.Sink) (PushResult, error) {
	if t, ok, err := placeOf(name); ok || err != nil {
		if err != nil {
			return PushResult{}, err
		}
		return e.pushAt(ctx, t, o, sink)
	}
	defer e.waits.show(sink)()
	ref, tag, err := e.toPush(ctx, name)
	if err != nil {
		return PushResult{}, err
	}
	return PushResult{Name: ref.Familiar(), Digest: tag.Descriptor.Digest, Size: tag.Descriptor.Size},
		e.pushStored(ctx, ref, tag.Descriptor, o, sink)
}

// toPush finds where an image goes that is called so in a registry, and what it is here.
func (e *Engine) toPush(ctx context.Context, name string) (ref reference.Reference, tag image.Tag, err error) {
	if ref, err = reference.ParseRemote(name); err != nil {
		return ref, tag, err
	}
	if ref.Digest != "" {
		return ref, tag, errdefs.Invalid("%s: a digest cannot be tagged; write NAME:TAG", name)
	}
	here, err := ref.Here()
	if err != nil {
		return ref, tag, err
	}
	if tag, err = e.refs.Get(ctx, here); errdefs.IsNotFound(err) {
		err = errdefs.NotFound("no such image: %s", here.Familiar())
	}
	return ref, tag, err
}

// pushStored sends an image of the store to the registry of a name.
func (e *Engine) pushStored(ctx context.Context, ref reference.Reference, desc ocispec.Descriptor, o PushOptions, sink progress.Sink) error {
	g, err := e.newGuard(o.Secrets)
	if err != nil {
		return err
	}
	err = e.push(ctx, e.content, []reference.Reference{ref}, desc, g, sink)
	g.notices()
	return err
}

// push sends an image from src, and what is known to refer to it, to the registries of its names, when the guard, which may be nil, has nothing against it.
func (e *Engine) push(ctx context.Context, src content.Provider, refs []reference.Reference, desc ocispec.Descriptor, g *secretGuard, sink progress.Sink) error {
	sink = progress.Or(sink)
	if err := g.pushed(ctx, src, refs, desc, sink); err != nil {
		return err
	}
	about, err := e.about(ctx, desc)
	if err != nil {
		return err
	}
	if err := e.enforceGraph(ctx, policy.Request{Action: policy.Push, Names: refs}, src, desc, sink); err != nil {
		return err
	}
	for _, ref := range refs {
		ev := progress.Event{ID: "push-" + ref.String(), Name: "pushing manifest for " + ref.String() + "@" + desc.Digest.String()}
		sink.Emit(ev)
		err := e.pushOne(ctx, src, ref, desc, about, renamed{sink, "push-" + ref.Name() + "-", "push"})
		ev.State = progress.Done
		if err != nil {
			ev.State, ev.Err = progress.Failed, err
		}
		sink.Emit(ev)
		if err != nil {
			return fmt.Errorf("push %s: %w", ref.Familiar(), err)
		}
		if here, err := ref.Here(); err == nil {
			e.noteImage(ctx, "push", here.Familiar(), here.Familiar())
		}
	}
	return nil
}

func (e *Engine) pushOne(ctx context.Context, src content.Provider, ref reference.Reference, desc ocispec.Descriptor, about []ocispec.Descriptor, sink progress.Sink) error {
	repo := e.registries().Repository(ref)
	o := transfer.Options{Concurrency: transfers, Partial: true, Progress: sink}
	target := repo.Target(ref.Tag, desc)
	target.MountFrom = e.mountable(ctx, ref)
	if s, ok := src.(mounter); ok {
		named := target.MountFrom
		target.MountFrom = func(d digest.Digest) []string {
			if known := s.repositories(d, repo.Host()); len(known) > 0 {
				return known
			}
			return named(d)
		}
	}
	if err := transfer.Push(ctx, src, target, desc, o); err != nil {
		return err
	}
	for _, d := range about {
		if err := transfer.Push(ctx, src, repo.Target("", d), d, o); err != nil {
			return fmt.Errorf("what refers to it, %s: %w", d.Digest, err)
		}
	}
	return nil
}

// mounter knows in which repositories of a registry blobs lie.
type mounter interface {
	repositories(d digest.Digest, host string) []string
}

// renamed gives the events of a copy IDs of their own, and says what is being done.
type renamed struct {
	progress.Sink
	id, what string
}

// Emit implements progress.Sink.
func (r renamed) Emit(e progress.Event) {
	if _, rest, ok := strings.Cut(e.Name, " "); ok {
		e.Name = r.what + " " + rest
	}
	e.ID = r.id + e.ID
	r.Sink.Emit(e)
}

// onePlatform parses a platform; "" is the host's.
func onePlatform(name string) (ocispec.Platform, error) {
	if name == "" {
		return platform.Host(), nil
	}
	return platform.Parse(name)
}
