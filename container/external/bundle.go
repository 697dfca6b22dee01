package external

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"

	"github.com/camada/camada/container"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/mount"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// bundleVersion is the version of the specification that bundles name. What is newer in them is found by its own name, and some runtimes refuse each version
// that was not there when they were written.
const bundleVersion = "1.0.2"

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
	if err := writeJSON(filepath.Join(r.Bundle, "config.json"), r.bundled(cfg.Spec, places)); err != nil {
		return nil, err
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

// writeJSON writes a file for the runtime.
func writeJSON(name string, v any) error {
	text, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(name, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	return nil
}

// bundled is the spec for the bundle: mounts that the caller holds become binds of places in the bundle.
func (r Runtime) bundled(in *specs.Spec, places map[string]string) *specs.Spec {
	dir := filepath.Join(r.Bundle, "mounts")
	s, linux := *in, *in.Linux
	s.Version, s.Linux = bundleVersion, &linux
	linux.CgroupsPath = r.Cgroup
	if linux.Resources != nil {
		res := *linux.Resources
		res.Devices = plainRules(res.Devices)
		linux.Resources = &res
	}
	s.Annotations = r.annotations(in.Annotations)
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

// annotations are those of the container, and what gVisor needs to be told, which others pass over: that files are written where they are read, in our
// snapshot, and not to a file of its own that ends with the container.
func (r Runtime) annotations(given map[string]string) map[string]string {
	all := map[string]string{
		"dev.gvisor.spec.rootfs.source": filepath.Join(r.Bundle, "rootfs"), "dev.gvisor.spec.rootfs.type": "bind", "dev.gvisor.spec.rootfs.overlay": "",
	}
	maps.Copy(all, given)
	return all
}

// plainRules are rules for devices in which no number stands for all of them, as the specification has it, and not -1, which only some runtimes know.
func plainRules(rules []specs.LinuxDeviceCgroup) []specs.LinuxDeviceCgroup {
	plain := append([]specs.LinuxDeviceCgroup(nil), rules...)
	for i := range plain {
		for _, n := range []**int64{&plain[i].Major, &plain[i].Minor} {
			if *n != nil && **n < 0 {
				*n = nil
			}
		}
	}
	return plain
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
