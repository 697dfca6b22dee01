package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/record"
	"github.com/camada/camada/container/spec"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/internal/hostile"
	"github.com/camada/camada/mount"
	"github.com/camada/camada/network"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/policy"
	"github.com/camada/camada/snapshot"
	"github.com/camada/camada/unpack"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The networks that --network names.
const (
	networkNone   = "none"
	networkHost   = "host"
	networkBridge = "bridge"
)

// StartCode returns the exit code that an error of starting a program stands for: 126 when it cannot be executed, 127 when
// it is not there.
func StartCode(err error) (int, bool) {
	var se *container.StartError
	if errors.As(err, &se) {
		return se.Code, true
	}
	return 0, false
}

// Run makes a container of an image and runs it: to its end, or in the background when detached.
func (e *Engine) Run(ctx context.Context, opts RunOptions) (RunResult, error) {
	l, err := e.create(ctx, opts)
	if err != nil {
		return RunResult{}, err
	}
	res, err := e.launch(ctx, l)
	if err != nil && opts.Detach && opts.Remove {
		err = errors.Join(err, e.discard(context.WithoutCancel(ctx), l.c, true))
	}
	return res, err
}

// Create makes a container of an image, to be started later, and returns its ID.
func (e *Engine) Create(ctx context.Context, opts RunOptions) (string, error) {
	l, err := e.create(ctx, opts)
	if err != nil {
		return "", err
	}
	return l.c.Config.ID, nil
}

// Start starts a container that was made and does not run: to its end when the caller attaches, else in the background. It is no
// error that it runs already.
func (e *Engine) Start(ctx context.Context, name string, opts StartOptions) (RunResult, error) {
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return RunResult{}, err
	}
	res := RunResult{ID: c.Config.ID}
	if paused(c) {
		return res, errdefs.Conflict("container %s is paused: it needs camada unpause, not start", name)
	}
	if c.Running() {
		if opts.Attach {
			return res, errdefs.Conflict("container %s is running already: it cannot be started once more to attach to it", name)
		}
		return res, nil
	}
	if c.State.Status == record.Restarting {
		return res, errdefs.Conflict("container %s is being restarted; wait for it, or stop it first", name)
	}
	if err := c.ClearStop(); err != nil {
		return res, err
	}
	l, err := launchOf(c)
	if err != nil {
		return res, err
	}
	o := &l.opts
	o.DetachKeys, o.NoSigProxy = opts.DetachKeys, opts.NoSigProxy
	o.Detach, o.Stdin, o.Stdout, o.Stderr, o.Signals = !opts.Attach, opts.Stdin, opts.Stdout, opts.Stderr, opts.Signals
	o.Interactive = o.Interactive && (opts.Interactive || !opts.Attach)
	if err := e.lease.Pin(ctx, cgroupResource(c.Config.ID)); err != nil { // so that gc sees its maker live
		return res, err
	}
	res, err = e.launch(ctx, l)
	if errdefs.IsConflict(err) && !opts.Attach && c.Refresh() == nil && c.Running() {
		return res, nil // somebody else was a moment earlier
	}
	return res, err
}

func (e *Engine) create(ctx context.Context, opts RunOptions) (*launch, error) {
	l, err := e.prepare(ctx, opts)
	if err != nil {
		return nil, err
	}
	if opts.CidFile != "" {
		if err := writeNew(opts.CidFile, l.c.Config.ID); err != nil {
			return nil, errors.Join(err, e.discard(context.WithoutCancel(ctx), l.c, true))
		}
	}
	return l, nil
}

// launch starts a container that is ready.
func (e *Engine) launch(ctx context.Context, l *launch) (RunResult, error) {
	res := RunResult{ID: l.c.Config.ID}
	if err := e.fetchSecrets(l); err != nil {
		return res, err
	}
	if l.opts.Detach {
		return res, e.detach(l, nil, nil)
	}
	if l.opts.TTY || l.outlives() {
		code, err := e.attached(ctx, l)
		res.ExitCode = code
		return res, err
	}
	status, err := e.supervise(ctx, l, nil, nil)
	res.ExitCode = status.Code
	return res, err
}

// launch is a container that is ready to be started.
type launch struct {
	c *record.Container
	definition
	// opts are the definition's, with what this start alone has.
	opts RunOptions
	// secrets are those of this start, by their IDs.
	secrets map[string][]byte
	// held are mounts of this start that are attached nowhere.
	held map[string]*os.File
	// joined are the containers whose namespaces this start joins.
	joined []*record.Container
}

// definition is what a container was made with: all that a start needs besides its record.
type definition struct {
	Options RunOptions            `json:"options"`
	Image   image.ExecConfig      `json:"image"`
	Ports   []network.PortMapping `json:"ports,omitempty"`
	// Requests are the networks, the first one is that of RunOptions.Network.
	Requests []network.Request `json:"requests,omitempty"`
	Mounts   []plannedMount    `json:"mounts,omitempty"`
}

// launchOf makes a container that was made before ready to be started.
func launchOf(c *record.Container) (*launch, error) {
	l := &launch{c: c}
	if len(c.Config.Start) == 0 {
		return nil, errdefs.Unsupported("container %s was made by a version that kept too little of it to start it again", c.Config.Name)
	}
	if err := json.Unmarshal(c.Config.Start, &l.definition); err != nil {
		return nil, errdefs.Corrupt("the definition of container %s: %w", c.Config.Name, err)
	}
	l.opts = l.Options
	return l, nil
}

// prepare finds the image, unpacks it where that was not done yet, and makes snapshot and record.
func (e *Engine) prepare(ctx context.Context, opts RunOptions) (*launch, error) {
	opts.weigh()
	l := &launch{opts: opts}
	if opts.Workdir != "" && !path.IsAbs(opts.Workdir) {
		return nil, errdefs.Invalid("-w %s: want an absolute path", opts.Workdir)
	}
	if err := errors.Join(l.opts.RunLimits.check(), l.checkNetwork()); err != nil {
		return nil, err
	}
	if err := e.findNetworks(ctx, l); err != nil {
		return nil, err
	}
	if err := errors.Join(opts.LifeOptions.check(opts.Remove), planRuntime(&l.opts), e.planIsolation(ctx, &l.opts), checkSecrets(opts.Secrets)); err != nil {
		return nil, err
	}
	opts.Timings.Mark("flags")
	img, err := e.openToRun(ctx, opts)
	if err != nil {
		return nil, err
	}
	opts.Timings.Mark("image")
	if host := platform.Host(); !platform.Match(host, img.Config.Platform) {
		return nil, errdefs.Unsupported("image %s is for %s, this machine is %s", opts.Image, platform.Format(img.Config.Platform), platform.Format(host))
	}
	if err := e.enforceNamed(ctx, policy.Request{Action: policy.Run, RunAs: opts.User}, opts.Image, img); err != nil {
		return nil, err
	}
	l.Image = img.Config.Config
	if err := errors.Join(l.publishAll(), e.planMounts(ctx, l)); err != nil {
		return nil, err
	}
	snaps, err := e.snapshots(ctx)
	if err != nil {
		return nil, err
	}
	top, err := unpack.Image(ctx, e.content, snaps, img.Layers, img.DiffIDs, unpack.Options{})
	if err != nil {
		return nil, err
	}
	opts.Timings.Mark("layers")
	id := record.NewID()
	if err := e.lease.Pin(ctx, cgroupResource(id)); err != nil { // so that gc sees its maker live
		return nil, err
	}
	l.keepCaller()
	cfg := record.Config{
		ID: id, Name: opts.Name, Image: img.Descriptor, ImageName: opts.Image, ImageID: img.ID().String(),
		Command: l.command(), Labels: merged(l.Image.Labels, opts.Labels), Network: l.opts.Network, Volumes: opts.Volumes, Mounts: e.recorded(l.Mounts), TTY: opts.TTY, Remove: opts.Remove,
		User: orElse(l.opts.User, l.Image.User), Workdir: path.Clean(orElse(orElse(opts.Workdir, l.Image.WorkingDir), "/")),
		StopSignal: orElse(orElse(opts.StopSignal, l.Image.StopSignal), "SIGTERM"), Privileged: opts.Privileged,
		CapAdd: opts.CapAdd, CapDrop: opts.CapDrop,
		Memory: opts.Memory, NanoCPUs: opts.NanoCPUs, PidsLimit: opts.PidsLimit,
		Restart: opts.Restart, LogDriver: opts.LogDriver,
	}
	for _, p := range l.Ports {
		cfg.Ports = append(cfg.Ports, p.String())
	}
	cfg.Hostname = e.hostname(ctx, l, cfg.ID)
	cfg.Env = l.env(cfg)
	cfg.CgroupsPath = e.cgroupsPathIn(opts.CgroupParent, cfg.ID)
	l.Options = l.opts
	if cfg.Start, err = json.Marshal(l.definition); err != nil {
		return nil, fmt.Errorf("keep the definition of a container: %w", err)
	}
	if err := e.makeRecord(ctx, l, snaps, top, cfg); err != nil {
		return nil, err
	}
	root, err := snaps.Mount(ctx, l.c.Config.Snapshot)
	if err == nil {
		err = e.makeVolumes(ctx, l, root, true)
	}
	if err != nil {
		return nil, errors.Join(err, e.discard(context.WithoutCancel(ctx), l.c, true))
	}
	e.noteContainer(ctx, l.c, "create", nil)
	opts.Timings.Mark("record, volumes")
	return l, nil
}

// makeRecord makes the snapshot and the record of a container, on the root file system top.
func (e *Engine) makeRecord(ctx context.Context, l *launch, snaps snapshots, top snapshot.Info, cfg record.Config) error {
	var root mount.Mount
	if top.ID != "" {
		var err error
		if root, err = snaps.Mount(ctx, top.ID); err != nil {
			return err
		}
	}
	for {
		i, unique, err := e.userIDs(ctx, l, root)
		if err != nil {
			return err
		}
		base, err := e.reown(ctx, snaps, top, i)
		if err != nil {
			return err
		}
		active, err := snaps.Prepare(ctx, base.ID)
		if err != nil {
			return err
		}
		l.opts.Timings.Mark("snapshot")
		cfg.Snapshot, cfg.UserIDs, cfg.GroupIDs = active.ID, i.Users, i.Groups
		free, err := e.recordWith(ctx, l, cfg, unique)
		if err == nil && free {
			return nil
		}
		if err = errors.Join(err, snaps.Remove(context.WithoutCancel(ctx), active.ID)); err != nil {
			return err
		}
	}
}

// recordWith makes a record, unless another container has got ids that this one must not share.
func (e *Engine) recordWith(ctx context.Context, l *launch, cfg record.Config, unique bool) (free bool, err error) {
	if unique {
		unlock, free, err := e.claimIDs(ctx, idsOf(cfg))
		if err != nil || !free {
			return false, err
		}
		defer unlock()
	}
	l.c, err = e.createRecord(ctx, cfg)
	return true, err
}

// command joins entry point and arguments as Docker does: an entry point of the user's own drops the image's arguments too.
func (l *launch) command() []string {
	entry, args := l.Image.Entrypoint, l.opts.Args
	if l.opts.Entrypoint != nil {
		entry = nil
		if *l.opts.Entrypoint != "" {
			entry = []string{*l.opts.Entrypoint}
		}
	} else if len(args) == 0 {
		args = l.Image.Cmd
	}
	return append(append([]string{}, entry...), args...)
}

// env is the container's environment: Docker's defaults, the image's, the user's; the last one of a name wins.
func (l *launch) env(cfg record.Config) []string {
	all := []string{"PATH=" + defaultPath, "HOSTNAME=" + cfg.Hostname}
	if l.opts.TTY {
		all = append(all, "TERM=xterm")
	}
	all = append(append(all, l.Image.Env...), l.opts.Env...)
	last := map[string]int{}
	for i, kv := range all {
		name, _, _ := strings.Cut(kv, "=")
		last[name] = i
	}
	env := make([]string, 0, len(all))
	for i, kv := range all {
		if name, _, _ := strings.Cut(kv, "="); last[name] == i {
			env = append(env, kv)
		}
	}
	return env
}

// spec makes the runtime spec for the root file system root. Its network files lie in the directory of the record.
func (e *Engine) spec(ctx context.Context, l *launch, snaps snapshot.Mounter, root mount.Mount) (*specs.Spec, error) {
	cfg := l.c.Config
	l.joined = nil
	user, mine, err := l.user(layerFS{root})
	if errors.Is(err, errMount) {
		user, mine, err = e.mountedUser(ctx, snaps, l)
	}
	if err != nil {
		return nil, err
	}
	env := cfg.Env
	if !hasEnv(env, "HOME") {
		env = append(append([]string{}, env...), "HOME="+orElse(user.Home, "/"))
	}
	mounts, netns, err := e.networkMounts(ctx, l)
	if err != nil {
		return nil, err
	}
	mounts = append(mounts, mine...)
	if l.opts.ReadOnly {
		for i := range mounts {
			mounts[i].Options = append(mounts[i].Options, "ro")
		}
	}
	if err := e.makeVolumes(ctx, l, root, false); err != nil {
		return nil, err
	}
	volumes, err := e.mounted(ctx, l, user)
	if err != nil {
		return nil, err
	}
	o := spec.Options{
		Args: cfg.Command, Env: env, Cwd: path.Clean("/" + cfg.Workdir), User: user, Terminal: cfg.TTY, Hostname: cfg.Hostname,
		ReadOnly: l.opts.ReadOnly, HostNetwork: cfg.Network == networkHost, Privileged: cfg.Privileged, Confinement: l.opts.Confinement,
		CapAdd: cfg.CapAdd, CapDrop: cfg.CapDrop, Mounts: append(mounts, volumes...), CgroupsPath: cfg.CgroupsPath,
		Memory: cfg.Memory, NanoCPUs: cfg.NanoCPUs, PidsLimit: cfg.PidsLimit, UserNamespace: inUserNamespace(),
		UserIDs: cfg.UserIDs, GroupIDs: cfg.GroupIDs, SharedNetwork: netns != "",
	}
	if o.Users, err = e.usersPath(ctx, l); err != nil {
		return nil, err
	}
	secrets, secretEnv, err := l.secretMounts()
	if err != nil {
		return nil, err
	}
	o.Mounts, o.Env = append(o.Mounts, secrets...), withEnv(o.Env, secretEnv)
	if err := e.namespaces(ctx, l, &o); err != nil {
		return nil, err
	}
	s, err := spec.New(o)
	if err != nil {
		return nil, err
	}
	switch {
	case netns != "":
		joinNetwork(s, netns)
	case cfg.Network != networkHost:
		s.Linux.Sysctl = networkParameters(idsOf(cfg))
	}
	if err := l.opts.RunLimits.apply(s); err != nil {
		return nil, err
	}
	return s, l.opts.RunIsolation.apply(s)
}

// networkParameters are Docker's for a network namespace of the container's own: any user may listen on low ports, and ping.
func networkParameters(i ids) map[string]string {
	p := map[string]string{"net.ipv4.ip_unprivileged_port_start": "0"}
	if !inUserNamespace() && i.same() { // there, not all groups exist
		p["net.ipv4.ping_group_range"] = "0 2147483647"
	}
	return p
}

// user resolves the container's user in its root file system, with the mounts that let it know the caller.
func (l *launch) user(files fs.FS) (spec.User, []specs.Mount, error) {
	mine, err := l.callerFiles(files)
	if err != nil {
		return spec.User{}, nil, err
	}
	if len(mine) > 0 {
		files = replaced{files, mine}
	}
	user, err := resolveUser(files, l.c.Config.User, l.opts.GroupAdd)
	return user, mine, err
}

// mountedUser is user for the mounted root file system.
func (e *Engine) mountedUser(ctx context.Context, snaps snapshot.Mounter, l *launch) (spec.User, []specs.Mount, error) {
	view, err := snaps.View(ctx, l.c.Config.Snapshot)
	if err != nil {
		return spec.User{}, nil, err
	}
	defer view.Close()
	root, err := os.Open(view.Dir())
	if err != nil {
		return spec.User{}, nil, fmt.Errorf("open the container's root file system: %w", err)
	}
	defer root.Close()
	return l.user(hostile.FS(root))
}

// resolveUser finds out who a user is, and which further groups.
func resolveUser(files fs.FS, who string, groups []string) (spec.User, error) {
	user, err := spec.ResolveUser(files, who)
	if err != nil {
		return user, err
	}
	more, err := spec.ResolveGroups(files, groups)
	for _, g := range more {
		if !slices.Contains(user.Groups, g) {
			user.Groups = append(user.Groups, g)
		}
	}
	return user, err
}

// config makes what the runtime is given, but for the standard streams.
func (e *Engine) config(ctx context.Context, l *launch) (container.Config, *bridged, error) {
	snaps, err := e.snapshots(ctx)
	if err != nil {
		return container.Config{}, nil, err
	}
	root, err := snaps.Mount(ctx, l.c.Config.Snapshot)
	if err != nil {
		return container.Config{}, nil, err
	}
	s, err := e.spec(ctx, l, snaps, root)
	if err != nil {
		return container.Config{}, nil, err
	}
	cfg := container.Config{ID: l.c.Config.ID, Spec: s, Rootfs: root, DieWithParent: true, Init: l.opts.Init, Detached: l.held, Verify: allRun(l.joined), MapOwners: idsOf(l.c.Config).mapped()}
	if l.opts.Timings != nil {
		cfg.Stage = l.opts.Timings.Mark
	}
	if l.opts.trace != nil {
		if err := l.opts.trace.Start(&cfg); err != nil {
			return container.Config{}, nil, err
		}
	}
	net := &bridged{stateDir: e.networkDir(), id: l.c.Config.ID, files: l.c.Dir(), hostname: l.c.Config.Hostname, ports: l.Ports, options: l.opts.Net, notice: e.notice}
	if net.endpoints, err = e.endpoints(l); err != nil {
		return container.Config{}, nil, err
	}
	if len(net.endpoints) > 0 {
		cfg.Network = net.connect
	}
	return cfg, net, nil
}

// writeNew writes a file that must not be there yet.
func writeNew(name, text string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("write --cidfile: %w", err)
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
