// Package external starts containers with another program that speaks the command line of an OCI runtime: runc, crun, runsc.
//
//	r := external.Runtime{Path: "/usr/bin/crun", State: "/run/camada/external", Bundle: dir}
//	p, err := r.Start(ctx, container.Config{ID: id, Spec: spec, Rootfs: m})
//	status, err := p.Wait(ctx)
//	err = r.Delete(ctx, id)
//
// The root file system is mounted in a mount namespace of a thread, from which the program makes its own, so that nothing is left on the
// host here either. What dies with its starter in package container goes on here when the starter is killed: Delete ends it.
package external

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/camada/camada/container"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/mount"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Runtime is a program and where it keeps what it knows.
type Runtime struct {
	// Path of the program.
	Path string
	// State is its --root, Bundle a directory for the bundle of this container alone, which Start makes and Delete removes. Its path is
	// short: a socket lies in it.
	State, Bundle string
}

// maxLog is how much of what the program says is kept for an error, in bytes.
const maxLog = 16 << 10

// Start creates and starts a container, and returns when its program has been executed. Init, ExtraFiles, MountPoint and DieWithParent of the Config are not for
// other runtimes. The process becomes a child of the caller. On an error nothing is left.
func (r Runtime) Start(ctx context.Context, cfg container.Config) (*container.Process, error) {
	if cfg.Init {
		return nil, errdefs.Unsupported("--init: another runtime cannot be given the small init")
	}
	// What the runtime leaves behind shall be a child of this process, which waits for it.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become the reaper of the container: %w", err)
	}
	p, err := r.start(ctx, cfg)
	if err != nil {
		err = fmt.Errorf("start container %s with %s: %w", cfg.ID, filepath.Base(r.Path), err)
		return nil, errors.Join(err, r.Delete(context.WithoutCancel(ctx), cfg.ID))
	}
	return p, nil
}

func (r Runtime) start(ctx context.Context, cfg container.Config) (*container.Process, error) {
	console, err := r.create(ctx, cfg)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*container.Process, error) {
		if console != nil {
			console.Close()
		}
		return nil, err
	}
	pid, err := r.pid()
	if err != nil {
		return fail(err)
	}
	if cfg.Network != nil {
		if err := cfg.Network(ctx, pid); err != nil {
			return fail(err)
		}
	}
	if cfg.Created != nil {
		if err := cfg.Created(ctx, pid); err != nil {
			return fail(err)
		}
	}
	if err := r.run(ctx, nil, "start", cfg.ID); err != nil {
		return fail(err)
	}
	return container.Adopt(pid, console, func(ctx context.Context) error { return r.Delete(ctx, cfg.ID) }), nil
}

// create writes the bundle and has the runtime make the container, up to the execution of its program.
func (r Runtime) create(ctx context.Context, cfg container.Config) (console *os.File, err error) {
	root := filepath.Join(r.Bundle, "rootfs")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("make the bundle: %w", err)
	}
	args := []string{"create", "--bundle", r.Bundle, "--pid-file", filepath.Join(r.Bundle, "pid")}
	var terminal *consoleSocket
	if cfg.Spec.Process.Terminal {
		if terminal, err = listen(filepath.Join(r.Bundle, "console")); err != nil {
			return nil, err
		}
		defer terminal.close()
		args = append(args, "--console-socket", terminal.path)
	}
	places := map[string]string{}
	s := bundled(cfg.Spec, filepath.Join(r.Bundle, "mounts"), places)
	text, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(filepath.Join(r.Bundle, "config.json"), text, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("write the bundle: %w", err)
	}
	err = inNamespace(func() error {
		if err := mount.At(cfg.Rootfs, root); err != nil {
			return err
		}
		for name, place := range places {
			if err := attach(cfg.Detached[name], name, place); err != nil {
				return err
			}
		}
		return r.run(ctx, []*os.File{cfg.Stdin, cfg.Stdout, cfg.Stderr}, append(args, cfg.ID)...)
	})
	if err != nil || terminal == nil {
		return nil, err
	}
	return terminal.receive()
}

// bundled is the spec for the bundle: mounts that the caller holds become binds of places below dir.
func bundled(in *specs.Spec, dir string, places map[string]string) *specs.Spec {
	s := *in
	readonly := in.Root != nil && in.Root.Readonly
	s.Root = &specs.Root{Path: "rootfs", Readonly: readonly}
	s.Mounts = append([]specs.Mount(nil), in.Mounts...)
	for i, m := range s.Mounts {
		if m.Type == container.TypeDetached {
			places[m.Source] = filepath.Join(dir, m.Source)
			m.Type, m.Source = "bind", places[m.Source]
			m.Options = append([]string{"rbind"}, m.Options...)
			s.Mounts[i] = m
		}
	}
	return &s
}

// attach puts a mount that is attached nowhere on a place that is made for it.
func attach(f *os.File, name, place string) error {
	if f == nil {
		return errdefs.Invalid("there is no detached mount %q", name)
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(place), 0o700); err != nil {
		return err
	}
	if st.IsDir() {
		err = os.MkdirAll(place, 0o700)
	} else {
		err = os.WriteFile(place, nil, 0o600)
	}
	if err != nil {
		return err
	}
	return mount.Attach(f, place)
}

// inNamespace runs fn, with the programs that it starts, in a mount namespace that ends with it.
func inNamespace(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: that ends the thread, and with it the namespace
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			done <- fmt.Errorf("make a mount namespace: %w", err)
			return
		}
		if err := mount.Propagation("/", mount.Slave|mount.Recursive); err != nil {
			done <- err
			return
		}
		done <- fn()
	}()
	return <-done
}

// pid is the process that the runtime made.
func (r Runtime) pid() (int, error) {
	b, err := os.ReadFile(filepath.Join(r.Bundle, "pid"))
	if err != nil {
		return 0, fmt.Errorf("read the runtime's pid file: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return 0, errdefs.Corrupt("the runtime's pid file has %.20q", b)
	}
	return pid, nil
}

// run runs the program. stdio are the container's streams; nil is none.
func (r Runtime) run(ctx context.Context, stdio []*os.File, args ...string) error {
	log := filepath.Join(r.Bundle, "log")
	cmd := exec.CommandContext(ctx, r.Path, append([]string{"--root", r.State, "--log", log}, args...)...)
	var said bytes.Buffer
	if stdio == nil {
		cmd.Stderr = &said
	} else {
		if stdio[0] != nil {
			cmd.Stdin = stdio[0]
		}
		if stdio[1] != nil {
			cmd.Stdout = stdio[1]
		}
		if stdio[2] != nil {
			cmd.Stderr = stdio[2]
		}
	}
	err := cmd.Run()
	if err == nil {
		return nil
	}
	text := said.Bytes()
	if b, rerr := os.ReadFile(log); rerr == nil {
		text = append(text, b...)
	}
	if len(text) > maxLog {
		text = text[len(text)-maxLog:]
	}
	return startError(args[0], err, strings.TrimSpace(string(text)))
}

// startError tells what the program said; a command that is not there has its exit code.
func startError(verb string, err error, said string) error {
	if said != "" {
		err = fmt.Errorf("%s: %w: %s", verb, err, said)
	} else {
		err = fmt.Errorf("%s: %w", verb, err)
	}
	for _, known := range []struct {
		text string
		code int
	}{{"executable file not found", 127}, {"no such file or directory", 127}, {"permission denied", 126}} {
		if strings.Contains(strings.ToLower(said), known.text) && strings.Contains(said, "exec") {
			return &container.StartError{Code: known.code, Err: err}
		}
	}
	return err
}

// Delete ends a container and takes away what the runtime knows of it. One that it does not know is no error.
func (r Runtime) Delete(ctx context.Context, id string) error {
	if _, err := os.Stat(filepath.Join(r.State, id)); err == nil {
		if err := os.MkdirAll(r.Bundle, 0o700); err != nil { // the log is there
			return fmt.Errorf("make the bundle: %w", err)
		}
		if err := r.run(ctx, nil, "delete", "--force", id); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(r.Bundle); err != nil {
		return fmt.Errorf("remove the bundle: %w", err)
	}
	return nil
}
