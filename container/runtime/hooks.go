package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/camada/camada/container"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// maxOutput bounds what of a hook's output becomes part of an error, in bytes.
const maxOutput = 4 << 10

// A runner executes one hook, which finds the container's state on its standard input, and returns its output.
type runner func(ctx context.Context, h specs.Hook, state []byte) ([]byte, error)

// hooks runs hooks one after the other. The first that fails ends it (config.md, POSIX-platform hooks).
func (e *entry) hooks(ctx context.Context, kind string, status specs.ContainerState, hooks []specs.Hook, run runner) error {
	if len(hooks) == 0 {
		return nil
	}
	oci := e.oci(status)
	if status == specs.StateStopped {
		oci.Pid = 0
	}
	state, err := json.Marshal(oci)
	if err != nil {
		return err
	}
	for _, h := range hooks {
		if err := runHook(ctx, h, state, run); err != nil {
			return fmt.Errorf("container %s: %s hook %s: %w", e.saved.ID, kind, h.Path, err)
		}
	}
	return nil
}

func runHook(ctx context.Context, h specs.Hook, state []byte, run runner) error {
	if len(h.Args) == 0 {
		h.Args = []string{h.Path}
	}
	limited, cancel := ctx, context.CancelFunc(func() {})
	if h.Timeout != nil {
		limited, cancel = context.WithTimeout(ctx, time.Duration(*h.Timeout)*time.Second)
	}
	defer cancel()
	out, err := run(limited, h, state)
	switch {
	case err == nil:
		return nil
	case ctx.Err() == nil && errors.Is(limited.Err(), context.DeadlineExceeded):
		return errdefs.Limit("it took longer than its %d seconds", *h.Timeout)
	}
	if text := strings.TrimSpace(string(out)); text != "" {
		return fmt.Errorf("%w: %s", err, text)
	}
	return err
}

// onHost executes a hook in the caller's namespaces.
func onHost(ctx context.Context, h specs.Hook, state []byte) ([]byte, error) {
	var out limitedBuffer
	cmd := exec.CommandContext(ctx, h.Path)
	cmd.Args = h.Args
	cmd.Env = append([]string{}, h.Env...) // not nil, which is the caller's
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(state), &out, &out
	cmd.WaitDelay = time.Second // whoever it left behind may hold the output
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return out.Bytes(), err
}

// limitedBuffer keeps the beginning.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if left := maxOutput - b.Len(); left > 0 {
		b.Buffer.Write(p[:min(left, len(p))])
	}
	return len(p), nil
}

// createHooks runs the hooks that come when the container is put together and its root is not "/" yet.
func (e *entry) createHooks(ctx context.Context, spec *specs.Spec) error {
	h := spec.Hooks
	all := container.Capabilities() // the hook is the caller's, not the container's
	rights := &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
	for _, k := range []struct {
		kind  string
		hooks []specs.Hook
		run   runner
	}{
		{"prestart", h.Prestart, onHost}, //nolint:staticcheck // engines still set it
		{"createRuntime", h.CreateRuntime, onHost},
		{"createContainer", h.CreateContainer, e.inside(specs.Process{Cwd: "/", Capabilities: rights}, nil, nil, container.SharesMounts(spec))},
	} {
		if err := e.hooks(ctx, k.kind, specs.StateCreating, k.hooks, k.run); err != nil {
			return err
		}
	}
	return nil
}

// startContainer runs the hooks that come before the program, in the container and with the program's rights.
func (e *entry) startContainer(ctx context.Context, spec *specs.Spec) error {
	if spec.Hooks == nil {
		return nil
	}
	p := withDefaults(*spec.Process, nil)
	p.Cwd, p.Terminal = "/", false
	return e.hooks(ctx, "startContainer", specs.StateCreated, spec.Hooks.StartContainer, e.inside(p, spec.Linux.Seccomp, spec, container.SharesMounts(spec)))
}

// inside executes hooks in the namespaces of the container's process, as p says; of tells whether in its cgroups, too.
func (e *entry) inside(p specs.Process, profile *specs.LinuxSeccomp, of *specs.Spec, shared bool) runner {
	return func(ctx context.Context, h specs.Hook, state []byte) ([]byte, error) {
		in, err := memory("state", state)
		if err != nil {
			return nil, err
		}
		defer in.Close()
		out, err := memory("output", nil)
		if err != nil {
			return nil, err
		}
		defer out.Close()
		p.Args, p.Env = h.Args, h.Env
		cfg := container.ExecConfig{Pid: e.saved.Pid, Process: &p, Path: h.Path, Seccomp: profile, SharedMounts: shared, Stdin: in, Stdout: out, Stderr: out, DieWithParent: true}
		if of != nil {
			cfg.ID, cfg.CgroupsPath = e.saved.ID, e.saved.CgroupsPath
		}
		proc, err := container.Exec(ctx, cfg)
		if err != nil {
			return nil, err
		}
		status, err := proc.Wait(ctx)
		if err != nil {
			_ = proc.Signal(unix.SIGKILL)
			_, _ = proc.Wait(context.WithoutCancel(ctx))
			return nil, err
		}
		if status.Code != 0 {
			err = fmt.Errorf("exit status %d", status.Code)
		}
		text, _ := io.ReadAll(io.NewSectionReader(out, 0, maxOutput))
		return text, err
	}
}

// memory makes a file without a name. A hook in a container gets no descriptor of the host's files.
func memory(name string, text []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err = f.Write(text); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("write a file in memory: %w", err)
	}
	return f, nil
}
