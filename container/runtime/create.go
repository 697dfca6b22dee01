package runtime

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/camada/camada/container"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Create makes a container whose first process waits for Start, with all else done: it outlives the caller. Errors are
// container.Start's; ErrAlreadyExists when the id is taken. On an error nothing is left.
func (r *Runtime) Create(ctx context.Context, o CreateOptions) error {
	_, err := r.create(ctx, o, true)
	return err
}

// Run makes a container and executes its program at once. The process is the caller's child: Delete, with force,
// after its end removes the rest. With a terminal and no ConsoleSocket its Console is the caller's.
func (r *Runtime) Run(ctx context.Context, o CreateOptions) (*container.Process, error) {
	p, err := r.create(ctx, o, false)
	if err != nil {
		return nil, err
	}
	e, err := r.locked(ctx, o.ID)
	if err != nil {
		return nil, err
	}
	defer e.release()
	if err := e.poststart(ctx, o.Spec); err != nil {
		if p.Console != nil {
			p.Console.Close()
		}
		return nil, err
	}
	return p, nil
}

func (r *Runtime) create(ctx context.Context, o CreateOptions, hold bool) (_ *container.Process, err error) {
	if err := o.check(hold); err != nil {
		return nil, err
	}
	e, err := r.make(ctx, saved{
		Version: o.Spec.Version, ID: o.ID, Bundle: o.Bundle, Rootfs: o.Spec.Root.Path, Created: time.Now().UTC(),
		CgroupsPath: o.Spec.Linux.CgroupsPath, Annotations: o.Spec.Annotations,
	})
	if err != nil {
		return nil, err
	}
	defer e.release()
	var p *container.Process
	defer func() {
		if err != nil {
			if p != nil {
				_ = e.end(context.WithoutCancel(ctx))
			}
			_ = e.poststop(context.WithoutCancel(ctx), o.Spec)
			_ = e.remove()
		}
	}()
	if err := writeJSON(filepath.Join(e.dir, configFile), o.Spec); err != nil {
		return nil, fmt.Errorf("container %s: %w", o.ID, err)
	}
	if err := e.write(); err != nil {
		return nil, fmt.Errorf("container %s: %w", o.ID, err)
	}
	if p, err = container.Start(ctx, e.config(o, hold)); err != nil {
		return nil, err
	}
	if err := e.hand(p, o); err != nil {
		return nil, fmt.Errorf("container %s: %w", o.ID, err)
	}
	return p, nil
}

func (o *CreateOptions) check(hold bool) error {
	switch {
	case o.Spec.Process.Terminal && hold && o.ConsoleSocket == "":
		return errdefs.Invalid("cannot allocate tty if the runtime will detach without setting console socket")
	case !o.Spec.Process.Terminal && o.ConsoleSocket != "":
		return errdefs.Invalid("cannot use console socket if the runtime will not detach or allocate tty")
	}
	return nil
}

// config is what package container is told.
func (e *entry) config(o CreateOptions, hold bool) container.Config {
	spec := withDeviceRules(*o.Spec)
	spec.Mounts = withoutParameters(spec.Mounts)
	process := withDefaults(*o.Spec.Process, nil)
	setHome(&process, homeInSpec(spec, process.User.UID))
	spec.Process = &process
	cfg := container.Config{
		ID: o.ID, Bundle: o.Bundle, Spec: spec, Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, ExtraFiles: o.ExtraFiles, NoNewKeyring: o.NoNewKeyring,
		SystemdCgroup: o.SystemdCgroup, InOrder: true, AllCgroups: true, Leave: hold || o.Detach,
		// The process waits until its id is noted: were the caller killed before, the process would end.
		Created: func(ctx context.Context, pid int) error {
			e.note(pid)
			if err := e.write(); err != nil {
				return err
			}
			if hold {
				return nil
			}
			return e.startContainer(ctx, spec)
		},
	}
	if hold {
		cfg.Hold = e.dir
	}
	if h := spec.Hooks; h != nil && len(h.Prestart)+len(h.CreateRuntime)+len(h.CreateContainer) > 0 { //nolint:staticcheck // engines still set it
		cfg.Mounted = func(ctx context.Context, pid int) error {
			e.note(pid)
			return e.createHooks(ctx, spec)
		}
	}
	return cfg
}

// withoutParameters takes the options of file systems from binds, where the kernel ignores them: those who write a config.json know that.
func withoutParameters(mounts []specs.Mount) []specs.Mount {
	known := container.MountOptions()
	list := slices.Clone(mounts)
	for i, m := range list {
		if m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind") {
			list[i].Options = slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return !slices.Contains(known, o) })
		}
	}
	return list
}

func (e *entry) note(pid int) {
	e.saved.Pid = pid
	e.saved.Tick, _ = startTick(pid)
}

// hand gives the terminal and the id of the process to who asked for them.
func (e *entry) hand(p *container.Process, o CreateOptions) error {
	if err := giveConsole(p, o.Spec.Process, o.ConsoleSocket); err != nil {
		return err
	}
	return writePid(o.PidFile, p.Pid())
}

// giveConsole sets the size of the process's terminal and sends it to a socket, "" for none.
func giveConsole(p *container.Process, process *specs.Process, socket string) error {
	if p.Console == nil {
		return nil
	}
	if s := process.ConsoleSize; s != nil && s.Width > 0 && s.Height > 0 {
		if err := p.Resize(int(s.Width), int(s.Height)); err != nil {
			return err
		}
	}
	if socket == "" {
		return nil
	}
	defer p.Console.Close()
	return sendFile(socket, p.Console)
}

// sendFile sends a descriptor to a unix socket (unix(7), SCM_RIGHTS), with its name as the text.
func sendFile(socket string, f *os.File) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return fmt.Errorf("connect to the console socket %s: %w", socket, err)
	}
	if err := unix.Sendmsg(fd, []byte("/dev/ptmx"), unix.UnixRights(int(f.Fd())), nil, 0); err != nil {
		return fmt.Errorf("send the terminal to %s: %w", socket, err)
	}
	return nil
}

func writePid(name string, pid int) error {
	if name == "" {
		return nil
	}
	if err := writeFile(name, []byte(strconv.Itoa(pid)), 0o644); err != nil {
		return fmt.Errorf("write the pid file: %w", err)
	}
	return nil
}
