package engine

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/mounts"
	"github.com/camada/camada/container/record"
	"github.com/camada/camada/container/spec"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/mount"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/unpack"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// RunMounts say what a container sees besides its image; the names are those of docker run's flags.
type RunMounts struct {
	// Volumes are -v [SOURCE:]TARGET[:OPTIONS].
	Volumes []string
	// Mounts are --mount type=TYPE,source=SOURCE,target=TARGET,...
	Mounts []string
	// Tmpfs are TARGET[:OPTIONS].
	Tmpfs []string
	// VolumesFrom are CONTAINER[:ro|rw].
	VolumesFrom []string
	// ShmSize is the size of /dev/shm in bytes; 0 is 64 MiB.
	ShmSize int64
}

const mountVolume = mounts.Volume

// plannedMount is a mount as it was understood when the container was made: volumes without a name have one.
type plannedMount struct {
	mounts.Mount
	// Anonymous is a volume that nobody named.
	Anonymous bool `json:"anonymous,omitempty"`
	// Image is the manifest of an image.
	Image *ocispec.Descriptor `json:"image,omitempty"`
}

// asked reads the flags. Nothing is mounted twice on one target.
func (r RunMounts) asked() ([]plannedMount, error) {
	var list []plannedMount
	add := func(flag, text string, m mounts.Mount, err error) error {
		if err != nil {
			return fmt.Errorf("%s %s: %w", flag, text, err)
		}
		if onTarget(list, m.Target) {
			return errdefs.Invalid("%s %s: Duplicate mount point: %s", flag, text, m.Target)
		}
		list = append(list, plannedMount{Mount: m})
		return nil
	}
	for _, kind := range []struct {
		flag  string
		texts []string
		parse func(string) (mounts.Mount, error)
	}{{"-v", r.Volumes, mounts.ParseVolume}, {"--mount", r.Mounts, mounts.ParseMount}, {"--tmpfs", r.Tmpfs, mounts.ParseTmpfs}} {
		for _, text := range kind.texts {
			m, err := kind.parse(text)
			if err := add(kind.flag, text, m, err); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

func onTarget(list []plannedMount, target string) bool {
	return slices.ContainsFunc(list, func(p plannedMount) bool { return p.Target == target })
}

// planMounts decides what the container sees: what was asked for, else what other containers see, else volumes that the image wants.
func (e *Engine) planMounts(ctx context.Context, l *launch) error {
	list, err := l.opts.asked()
	if err != nil {
		return err
	}
	for _, text := range l.opts.VolumesFrom {
		others, err := e.mountsFrom(ctx, text)
		if err != nil {
			return err
		}
		for _, m := range others {
			if !onTarget(list, m.Target) {
				list = append(list, m)
			}
		}
	}
	targets := make([]string, 0, len(l.Image.Volumes))
	for v := range l.Image.Volumes {
		targets = append(targets, v)
	}
	slices.Sort(targets)
	for _, v := range targets {
		m, err := mounts.ParseVolume(v)
		if err != nil || m.Source != "" || onTarget(list, m.Target) {
			continue // a VOLUME that is no path names nothing
		}
		list = append(list, plannedMount{Mount: m})
	}
	for i := range list {
		if err := e.planMount(ctx, &list[i]); err != nil {
			return err
		}
	}
	l.Mounts = list
	return nil
}

// mountsFrom are the volumes and directories that another container sees.
func (e *Engine) mountsFrom(ctx context.Context, text string) ([]plannedMount, error) {
	name, readOnly, err := mounts.ParseVolumesFrom(text)
	if err != nil {
		return nil, err
	}
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("--volumes-from %s: %w", text, err)
	}
	other, err := launchOf(c)
	if err != nil {
		return nil, fmt.Errorf("--volumes-from %s: %w", text, err)
	}
	var list []plannedMount
	for _, m := range other.Mounts {
		if m.Type == mounts.Tmpfs {
			continue
		}
		m.ReadOnly = m.ReadOnly || readOnly
		m.NoCopy = true // the volumes are the other's, and have begun
		list = append(list, m)
	}
	return list, nil
}

// planMount names what has no name yet, and sees to it that the source is there.
func (e *Engine) planMount(ctx context.Context, m *plannedMount) error {
	switch m.Type {
	case mounts.Volume:
		if m.Source == "" {
			m.Source, m.Anonymous = record.NewID(), true
		}
		return nil
	case mounts.Bind:
		return hostPath(m.Source, m.Make)
	case mounts.Image:
		if m.Image != nil {
			return nil
		}
		img, _, err := e.open(ctx, m.Source, "")
		if err != nil {
			return fmt.Errorf("mount on %s: %w", m.Target, err)
		}
		m.Image = &img.Descriptor
	}
	return nil
}

// recorded is what the record says of the mounts.
func (e *Engine) recorded(list []plannedMount) (out []record.Mount) {
	for _, m := range list {
		r := record.Mount{Type: string(m.Type), Destination: m.Target, ReadOnly: m.ReadOnly, Anonymous: m.Anonymous, Image: m.Image}
		switch m.Type {
		case mounts.Volume:
			r.Name, r.Source = m.Source, e.volumes().Path(m.Source)
		case mounts.Bind:
			r.Source, r.Propagation = m.Source, orElse(m.Propagation, "rprivate")
		case mounts.Image:
			r.Name = m.Source
		}
		out = append(out, r)
	}
	return out
}

// mounted makes the mounts of the spec. Files that the runtime has to be given are in l.held.
func (e *Engine) mounted(ctx context.Context, l *launch, user spec.User) ([]specs.Mount, error) {
	var list []specs.Mount
	for _, m := range l.Mounts {
		s, err := e.mountedOne(ctx, l, m, user)
		if err != nil {
			return nil, fmt.Errorf("mount %s on %s: %w", orElse(m.Source, string(m.Type)), m.Target, err)
		}
		list = append(list, s)
	}
	if n := l.opts.ShmSize; n > 0 && !onTarget(l.Mounts, "/dev/shm") {
		list = append(list, specs.Mount{Destination: "/dev/shm", Type: "tmpfs", Source: "shm",
			Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=" + strconv.FormatInt(n, 10)}})
	}
	return list, nil
}

func (e *Engine) mountedOne(ctx context.Context, l *launch, m plannedMount, user spec.User) (specs.Mount, error) {
	i := idsOf(l.c.Config)
	s := specs.Mount{Destination: m.Target, Type: "bind", Source: m.Source, Options: bindOptions(m.Mount)}
	switch m.Type {
	case mounts.Tmpfs:
		s.Type, s.Source, s.Options = "tmpfs", "tmpfs", append([]string{"noexec", "nosuid", "nodev"}, m.Options...)
		if m.ReadOnly {
			s.Options = append(s.Options, "ro")
		}
		return s, nil
	case mounts.Image:
		f, err := e.imagePart(ctx, m, i)
		if err != nil {
			return s, err
		}
		return l.hold(f, s), nil
	case mounts.Volume:
		v, err := e.volumes().Get(m.Source)
		if err != nil {
			return s, err
		}
		if s.Source = v.Dir(); len(v.Options) > 0 {
			return localOptions(s, v.Options, m.ReadOnly)
		}
		m.IDMap = m.IDMap || i.mapped()
	case mounts.Bind:
		if err := hostPath(m.Source, m.Make); err != nil {
			return s, err
		}
		if err := canPropagate(m.Source, m.Propagation); err != nil {
			return s, err
		}
	}
	if m.IDMap {
		s.Options = append(s.Options, "idmap")
	}
	if m.Chown {
		uid, gid := int(user.UID), int(user.GID)
		if !m.IDMap {
			uid, gid = i.outside(uid, gid)
		}
		if err := giveTo(s.Source, uid, gid); err != nil {
			return s, err
		}
	}
	if m.Subpath == "" {
		return s, nil
	}
	f, err := mount.Part(mount.Mount{Kind: mount.Bind, Source: s.Source}, m.Subpath, m.ReadOnly)
	if err != nil {
		return s, err
	}
	return l.hold(f, s), nil
}

// bindOptions are those of the spec for a bind.
func bindOptions(m mounts.Mount) []string {
	o := []string{"rbind", orElse(m.Propagation, "rprivate")}
	if m.Single {
		o[0] = "bind"
	}
	switch {
	case m.ReadOnly && (m.TopOnly || m.Single):
		o = append(o, "ro")
	case m.ReadOnly:
		o = append(o, "rro")
	}
	return o
}

// localOptions are those of the local driver of docker: a file system to mount in place of the volume's directory. Each container
// mounts it for itself.
func localOptions(s specs.Mount, options map[string]string, readOnly bool) (specs.Mount, error) {
	words := strings.FieldsFunc(options["o"], func(r rune) bool { return r == ',' })
	if readOnly {
		words = append(words, "ro")
	}
	if options["device"] == "" && options["type"] != "tmpfs" {
		return s, errdefs.Invalid("the volume has no device to mount: want the option device")
	}
	s.Type, s.Source, s.Options = orElse(options["type"], "none"), orElse(options["device"], "tmpfs"), words
	if slices.Contains(words, "bind") || slices.Contains(words, "rbind") {
		s.Type = "bind"
		return s, hostPath(s.Source, false)
	}
	return s, nil
}

// imagePart mounts an image, or a part of it, nowhere.
func (e *Engine) imagePart(ctx context.Context, m plannedMount, i ids) (*os.File, error) {
	img, err := image.OpenAny(ctx, e.content, *m.Image)
	if err != nil {
		return nil, err
	}
	if host := platform.Host(); !platform.Match(host, img.Config.Platform) && img.Config.Platform.OS != host.OS {
		return nil, errdefs.Unsupported("image %s is for %s", m.Source, platform.Format(img.Config.Platform))
	}
	snaps, err := e.snapshots(ctx)
	if err != nil {
		return nil, err
	}
	top, err := unpack.Image(ctx, e.content, snaps, img.Layers, img.DiffIDs, unpack.Options{})
	if err != nil {
		return nil, err
	}
	if top, err = e.reown(ctx, snaps, top, i); err != nil {
		return nil, err
	}
	tree, err := snaps.Mount(ctx, top.ID)
	if err != nil {
		return nil, err
	}
	if !i.mapped() {
		return mount.Part(tree, m.Subpath, true)
	}
	ns, err := container.UserNamespace(i.Users, i.Groups)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	o := mount.Owners{Namespace: ns}
	o.UID, o.GID = i.outside(0, 0)
	whole, err := mount.DetachedAs(tree, o)
	if err != nil {
		return nil, err
	}
	defer whole.Close()
	return mount.PartAs(whole, m.Subpath, true)
}

// hold keeps a mount that is attached nowhere until the container is started.
func (l *launch) hold(f *os.File, s specs.Mount) specs.Mount {
	if l.held == nil {
		l.held = map[string]*os.File{}
	}
	name := strconv.Itoa(len(l.held))
	l.held[name] = f
	s.Type, s.Source = container.TypeDetached, name
	return s
}

// release closes what the runtime was given.
func (l *launch) release() {
	for _, f := range l.held {
		f.Close()
	}
	l.held = nil
}
