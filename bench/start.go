package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// runner runs containers of the bench's image, with docker's command line.
type runner struct {
	name, daemon, image string
	// load makes the image known; nil when it is.
	load func(ctx context.Context) error
	do   func(ctx context.Context, args ...string) error
}

// runners are camada first, then the peers that are there.
func (b *bench) runners() []runner {
	rs := []runner{{name: "camada", image: "bench", load: func(context.Context) error { return nil }, do: func(ctx context.Context, args ...string) error {
		return b.command(ctx, nil, b.camada, append(b.ours("run"), args...)...)
	}}}
	for _, runtime := range []string{"runc", "crun"} {
		name := "podman (" + runtime + ")"
		if !b.has(name, "podman", runtime) {
			continue
		}
		env := b.podmanEnv()
		podman := func(ctx context.Context, args ...string) error {
			all := append(append(outOfHybrid(runtime), "podman", "--runtime", runtime), b.podmanArgs("podman-"+runtime)...)
			all = append(all, args...)
			return b.command(ctx, env, all[0], all[1:]...)
		}
		rs = append(rs, runner{name: name, image: "docker.io/library/bench:latest", do: podman, load: func(ctx context.Context) error { return podman(ctx, "load", "-i", b.path("image.tar")) }})
	}
	if b.up(context.Background(), "docker") != nil {
		docker := func(ctx context.Context, args ...string) error {
			return b.command(ctx, nil, dockerClient(), b.docker(args...)...)
		}
		rs = append(rs, runner{name: "docker", daemon: "docker", image: "bench", do: docker, load: func(ctx context.Context) error { return docker(ctx, "load", "-i", b.path("image.tar")) }})
	}
	return rs
}

// startContenders start a container that ends at once. containerd by itself makes no network but none.
func startContenders(flags ...string) func(*bench) []contender {
	return func(b *bench) []contender {
		var cs []contender
		for _, r := range b.runners() {
			args := append(append([]string{"run", "--rm"}, flags...), r.image, "/bin/true")
			cs = append(cs, contender{name: r.name, daemon: r.daemon, before: once(r.load), do: func(ctx context.Context, _ int) error { return r.do(ctx, args...) }})
		}
		if flags[1] != "none" || b.up(context.Background(), "containerd") == nil {
			return cs
		}
		return append(cs, contender{name: "containerd (ctr)", daemon: "containerd", before: once(b.ctrLoad), do: func(ctx context.Context, round int) error {
			return b.ctr(ctx, "run", "--rm", ctrImage, fmt.Sprint("start", round), "/bin/true")
		}})
	}
}

const ctrImage = "docker.io/library/bench:latest"

// ctr is containerd's own client.
func (b *bench) ctr(ctx context.Context, args ...string) error {
	return b.command(ctx, nil, "ctr", append([]string{"-a", b.daemons["containerd"].socket}, args...)...)
}

func (b *bench) ctrLoad(ctx context.Context) error {
	return b.ctr(ctx, "image", "import", b.path("image.tar"))
}

// manyContenders compare starts side by side with as many in a row: what they cost each other.
func manyContenders(b *bench) []contender {
	const n = 16
	us := b.runners()[0]
	start := func(ctx context.Context) error {
		return us.do(ctx, "run", "--rm", "--network", "none", us.image, "/bin/true")
	}
	return []contender{
		{name: "camada, side by side", do: func(ctx context.Context, _ int) error {
			errs := make([]error, n)
			var all sync.WaitGroup
			for i := range n {
				all.Go(func() { errs[i] = start(ctx) })
			}
			all.Wait()
			return errors.Join(errs...)
		}},
		{name: "camada, in a row", do: func(ctx context.Context, _ int) error {
			for range n {
				if err := start(ctx); err != nil {
					return err
				}
			}
			return nil
		}},
	}
}

// bundleContenders start a ready bundle with the OCI runtimes, under docker's seccomp profile.
func bundleContenders(b *bench) []contender {
	var cs []contender
	for _, rt := range []string{"camada", "runc", "crun"} {
		command := append(outOfHybrid(rt), rt)
		if rt == "camada" {
			command = []string{b.camada, "runtime"}
		} else if !b.has(rt, rt) {
			continue
		}
		bundle := b.path("bundle-" + rt)
		cs = append(cs, contender{name: rt + " run", before: once(func(ctx context.Context) error { return b.bundle(ctx, command, bundle) }),
			do: func(ctx context.Context, round int) error {
				args := append(command[1:len(command):len(command)], "run", "--bundle", bundle, fmt.Sprintf("bench-%d-%d", os.Getpid(), round))
				return b.command(ctx, nil, command[0], args...)
			}})
	}
	return cs
}

// outOfHybrid is what comes before a command of crun on a machine with both cgroup versions, which it refuses: it runs
// where the second is not mounted.
func outOfHybrid(runtime string) []string {
	if _, err := os.Stat("/sys/fs/cgroup/unified"); err != nil || runtime != "crun" {
		return nil
	}
	return []string{"unshare", "-m", "sh", "-c", `umount /sys/fs/cgroup/unified && exec "$@"`, "sh"}
}

func (b *bench) bundle(ctx context.Context, runtime []string, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := b.command(ctx, nil, runtime[0], append(runtime[1:len(runtime):len(runtime)], "spec", "--bundle", dir)...); err != nil {
		return err
	}
	if err := b.command(ctx, nil, "cp", "-a", b.path("context", "rootfs"), filepath.Join(dir, "rootfs")); err != nil {
		return err
	}
	name := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var conf specs.Spec
	if err := json.Unmarshal(text, &conf); err != nil {
		return err
	}
	conf.Process.Args, conf.Process.Terminal, conf.Process.Rlimits = []string{"/bin/true"}, false, nil
	// Without a profile there would be nothing to compile and load.
	if conf.Linux.Seccomp, err = seccomp.GetDefaultProfile(&conf); err != nil {
		return err
	}
	if text, err = json.Marshal(conf); err != nil {
		return err
	}
	return os.WriteFile(name, text, 0o644)
}

// once runs f in the first round only.
func once(f func(context.Context) error) func(context.Context, int) error {
	return func(ctx context.Context, round int) error {
		if round > 0 {
			return nil
		}
		return f(ctx)
	}
}
