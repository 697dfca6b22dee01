package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/camada/camada/base"
	"github.com/camada/camada/build/op"
	"github.com/camada/camada/container"
	"github.com/camada/camada/container/record"
	"github.com/camada/camada/container/spec"
	"github.com/camada/camada/internal/hostile"
	"github.com/camada/camada/mount"
	"github.com/camada/camada/network"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/userns"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// executor runs the RUN steps of builds, and the steps of bases, in containers that leave nothing behind.
type executor struct {
	e *Engine
	// secrets, agents, limits and devices are what the user of a build gives its steps.
	secrets secrets
	agents  agents
	limits  BuildRun
	devices deviceGrants
	// carried are what cache mounts that are new here can begin with.
	carried *carriedMounts
	// cacheDir has the cache mounts; "" is the store's.
	cacheDir string
	// onHost says that the default network of steps is the host's: an ordinary user's where no other can be made.
	onHost atomic.Bool
}

// unconnected is the error of a step that was not begun, as no network could be made for it.
type unconnected struct{ error }

func (u unconnected) Unwrap() error { return u.error }

// Run implements op.Executor.
func (x *executor) Run(ctx context.Context, req op.RunRequest) error {
	if req.Network == "" {
		req.Network = op.NetworkDefault
	}
	if req.Network == op.NetworkDefault && x.onHost.Load() {
		req.Network = op.NetworkHost
	}
	err := x.run(ctx, req)
	var u unconnected
	if !errors.As(err, &u) {
		return err
	}
	if x.onHost.CompareAndSwap(false, true) {
		x.e.notice(fmt.Sprintf("RUN steps have the host's network: %v", u))
	}
	req.Network = op.NetworkHost
	return x.run(ctx, req)
}

func (x *executor) run(ctx context.Context, req op.RunRequest) error {
	id := record.NewID()
	if err := x.e.lease.Pin(ctx, cgroupResource(id)); err != nil {
		return err
	}
	files, remove, err := x.e.tempDir(ctx)
	if err != nil {
		return err
	}
	defer remove()
	// What a step writes is durable when its layer is; until then nothing need wait for the disk.
	if req.Root.Kind == mount.Overlay && req.Root.Upper != "" {
		req.Root.Volatile = true
		// A mark that the kernel leaves after a volatile mount forbids the next one: the machine may have stopped in between. It has not.
		if err := os.RemoveAll(filepath.Join(req.Root.Work, "work", "incompat")); err != nil {
			return fmt.Errorf("prepare the step's root file system: %w", err)
		}
	}
	mounts, err := x.stepMounts(ctx, req)
	if err != nil {
		return err
	}
	defer mounts.Close()
	s, err := x.spec(id, req, files, mounts)
	if err != nil {
		return err
	}
	if req.Settings.CgroupParent != "" {
		if err := noteGroup(files, id, s.Linux.CgroupsPath); err != nil {
			return err
		}
	}
	stubs := &stubs{root: req.Root}
	connect, disconnect, err := x.network(id, req, files)
	if err != nil {
		return err
	}
	defer disconnect()
	out, errs, finish, err := outputs(req.Stdout, req.Stderr)
	if err != nil {
		return err
	}
	proc, err := container.Start(ctx, container.Config{
		ID: id, Spec: s, Rootfs: req.Root, Stdout: out, Stderr: errs, Network: connect, DieWithParent: true,
		Detached: mounts.detached, MountPoint: stubs.add,
	})
	out.Close()
	errs.Close()
	if err != nil {
		finish()
		stubs.remove()
		var start *container.StartError
		if errors.As(err, &start) {
			if errors.Is(err, unix.ENOEXEC) {
				if cannot := emulated(req.Platform); cannot != nil {
					return cannot
				}
			}
			// The step's container has a name that says nothing to anybody.
			return fmt.Errorf("%w: %w", &op.ExitError{Code: start.Code}, start)
		}
		return err
	}
	status, err := proc.Wait(ctx)
	if ctx.Err() != nil {
		_ = proc.Kill(context.WithoutCancel(ctx))
		_, _ = proc.Wait(context.WithoutCancel(ctx))
		finish()
		return ctx.Err()
	}
	finish()
	stubs.remove()
	if err == nil && status.Code != 0 {
		err = &op.ExitError{Code: status.Code, OOMKilled: status.OOMKilled}
	}
	return err
}

func (x *executor) spec(id string, req op.RunRequest, files string, step *stepMounts) (*specs.Spec, error) {
	user, err := stepUser(req)
	if err != nil {
		return nil, err
	}
	env := withEnv(req.Env, step.env)
	if !hasEnv(env, "HOME") {
		env = append(env, "HOME="+orElse(user.Home, "/"))
	}
	mounts, err := x.stepFiles(req, files)
	if err != nil {
		return nil, err
	}
	// The host name is the kernel's only, as in BuildKit: what a package notes of it would get into the image.
	mounts = slices.DeleteFunc(mounts, func(m specs.Mount) bool { return m.Destination == "/etc/hostname" })
	for _, m := range req.Mounts {
		options := []string{"rbind", "rprivate"}
		if m.ReadOnly {
			options = append(options, "rro")
		}
		mounts = append(mounts, specs.Mount{Destination: m.Target, Type: "bind", Source: m.Source, Options: options})
	}
	if n := req.Settings.ShmSize; n > 0 {
		mounts = append(mounts, specs.Mount{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=" + strconv.FormatInt(n, 10)}})
	}
	mounts = append(visible(mounts, step.mounts), step.mounts...)
	s, err := spec.New(spec.Options{
		Args: req.Args, Env: env, Cwd: req.Cwd, User: user, Hostname: req.Hostname, Mounts: mounts,
		HostNetwork: req.Network == op.NetworkHost,
		CgroupsPath: x.e.cgroupsPathIn(req.Settings.CgroupParent, id), UserNamespace: inUserNamespace(), Privileged: req.Insecure,
	})
	if err != nil {
		return nil, err
	}
	for _, u := range req.Settings.Ulimits {
		s.Process.Rlimits = append(s.Process.Rlimits, specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(u.Name), Soft: uint64(u.Soft), Hard: uint64(u.Hard)})
	}
	x.limits.limits(s.Linux.Resources)
	return s, x.addDevices(s, req.Devices)
}

// stepUser resolves the user in the step's root file system.
func stepUser(req op.RunRequest) (spec.User, error) {
	u, err := spec.ResolveUser(layerFS{req.Root}, req.User)
	if errors.Is(err, errMount) {
		u, err = mountedUser(req)
	}
	if u.UID == 0 && u.Home == "/" { // of an image without /etc/passwd
		u.Home = "/root"
	}
	return u, err
}

// mountedUser resolves the user in the mounted root file system.
func mountedUser(req op.RunRequest) (spec.User, error) {
	dir, err := mount.Detached(req.Root)
	if err != nil {
		return spec.User{}, err
	}
	defer dir.Close()
	return spec.ResolveUser(hostile.FS(dir), req.User)
}

// network connects the step when it is to be; disconnect is never nil. Those of an ordinary user have each a network of their own.
func (x *executor) network(id string, req op.RunRequest, files string) (connect func(context.Context, int) error, disconnect func(), err error) {
	if req.Network != op.NetworkDefault {
		return nil, func() {}, nil
	}
	n := &bridged{stateDir: x.e.networkDir(), id: id, files: files, hostname: req.Hostname, hosts: req.Settings.Hosts, notice: x.e.notice}
	if !userns.Rootless() {
		return n.connect, n.disconnect, nil
	}
	n.stateDir, n.driver = filepath.Join(files, "network"), network.Embedded
	return func(ctx context.Context, pid int) error {
		err := n.connect(ctx, pid)
		if err != nil && ctx.Err() == nil {
			err = unconnected{err}
		}
		return err
	}, n.disconnect, nil
}

// outputs makes pipes whose other ends are copied to the writers; finish waits for the copies' end.
func outputs(stdout, stderr io.Writer) (out, errs *os.File, finish func(), err error) {
	var wg sync.WaitGroup
	pipe := func(w io.Writer) (*os.File, error) {
		if w == nil {
			w = io.Discard
		}
		r, f, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("make a pipe: %w", err)
		}
		wg.Go(func() {
			_, _ = io.Copy(w, r)
			r.Close()
		})
		return f, nil
	}
	if out, err = pipe(stdout); err != nil {
		return nil, nil, nil, err
	}
	if errs, err = pipe(stderr); err != nil {
		out.Close()
		return nil, nil, nil, err
	}
	return out, errs, wg.Wait, nil
}

// stepRunner runs the steps of a base in one root file system. Their output is shown only when one fails.
type stepRunner struct {
	exec *executor
	root mount.Mount
	sink progress.Sink
}

// maxStepLog is how much of a failed step's output is shown, in bytes.
const maxStepLog = 64 << 10

// Run implements base.Runner.
func (r *stepRunner) Run(ctx context.Context, step base.Step) error {
	var mu sync.Mutex
	var log []byte
	keep := writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		log = append(log, p...)
		if n := len(log) - maxStepLog; n > 0 {
			log = append([]byte(nil), log[n:]...)
		}
		return len(p), nil
	})
	err := r.exec.Run(ctx, op.RunRequest{Root: r.root, Args: step.Args, Env: step.Env, Cwd: "/", Network: op.NetworkNone, Hostname: "localhost",
		Stdout: keep, Stderr: keep})
	if err != nil {
		r.sink.Emit(progress.Event{ID: configureStep, Log: log, Stderr: true})
	}
	return err
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func hasEnv(env []string, name string) bool {
	for _, kv := range env {
		if strings.HasPrefix(kv, name+"=") {
			return true
		}
	}
	return false
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
