package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

func scenes() []scene {
	return []scene{
		{name: "start-none", title: "run --rm --network none IMAGE true", contenders: startContenders("none")},
		{name: "start-host", title: "run --rm --network host IMAGE true", contenders: startContenders("host")},
		{name: "runtime", title: "the process alone: camada run against the OCI runtimes with a ready bundle", contenders: bundleContenders},
		{name: "build-cached", title: "build, fully cached, 5,000 files", contenders: buildContenders(cached)},
		{name: "build-changed", title: "build, one file of 5,000 changed", contenders: buildContenders(changed)},
		{name: "build-cold", title: "build, cold: COPY of 200 MB in 5,000 files, ten RUN", contenders: buildContenders(cold), rounds: 5},
		{name: "build-stages", title: "build, cold: four independent stages that wait one second each", contenders: buildContenders(stages), rounds: 3},
		{name: "build-small", title: "build, fully cached, one file", contenders: buildContenders(small)},
		{name: "build-many", title: "build, one file of 100,000 changed", contenders: buildContenders(many), rounds: 1},
		{name: "build-layers", title: "build, cold: sixty small steps", contenders: buildContenders(layers), rounds: 1},
		{name: "build-ten-stages", title: "build, cold: ten independent stages that wait one second each", contenders: buildContenders(tenStages), rounds: 3},
		{name: "build-cache", title: "build on an empty machine, with the cache of the cold build in a registry", contenders: cacheContenders, rounds: 3},
		{name: "save", title: "save the image of the cold build", contenders: archiveContenders(true), rounds: 5},
		{name: "load", title: "load the image of the cold build", contenders: archiveContenders(false), rounds: 5},
		{name: "store", title: "disk that each further version of an image takes, one file of 5,000 changed", contenders: storeContenders, rounds: 1},
	}
}

func sceneNames() []string {
	var names []string
	for _, s := range scenes() {
		names = append(names, s.name)
	}
	return names
}

func (b *bench) path(parts ...string) string {
	return filepath.Join(append([]string{b.dir}, parts...)...)
}

func (b *bench) ours(store string) []string { return []string{"--root", b.path("camada", store)} }

// prepare makes the image that is started and the context that is built.
func (b *bench) prepare(ctx context.Context) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("%w: install busybox-static", err)
	}
	rootfs := b.path("image", "rootfs", "bin")
	if err := os.MkdirAll(rootfs, 0o755); err != nil {
		return err
	}
	if err := copyFile(filepath.Join(rootfs, "busybox"), busybox, 0o755); err != nil {
		return err
	}
	for _, applet := range []string{"sh", "true", "cat", "echo", "sleep", "ls", "mkdir"} {
		if err := os.Symlink("busybox", filepath.Join(rootfs, applet)); err != nil {
			return err
		}
	}
	if err := os.WriteFile(b.path("image", "Dockerfile"), []byte("FROM scratch\nCOPY rootfs /\nCMD [\"/bin/true\"]\n"), 0o644); err != nil {
		return err
	}
	args := append(b.ours("run"), "build", "-q", "-t", "bench", b.path("image"))
	if err := b.command(ctx, nil, b.camada, args...); err != nil {
		return err
	}
	args = append(b.ours("run"), "save", "-o", b.path("image.tar"), "bench")
	if err := b.command(ctx, nil, b.camada, args...); err != nil {
		return err
	}
	return b.makeContext()
}

// makeContext writes 5,000 files of 200 MB in all, half of them compressible.
func (b *bench) makeContext() error {
	dir := b.path("context")
	rnd := rand.NewChaCha8([32]byte{1})
	words := []byte("the quick brown fox jumps over the lazy dog 0123456789\n")
	for i := range 5000 {
		sub := filepath.Join(dir, "data", fmt.Sprintf("d%02d", i%50))
		if i < 50 {
			if err := os.MkdirAll(sub, 0o755); err != nil {
				return err
			}
		}
		buf := make([]byte, 40_000)
		if i%2 == 0 {
			_, _ = rnd.Read(buf)
		} else {
			for n := 0; n < len(buf); n += copy(buf[n:], words) {
				words[n%len(words)] = 'a' + byte((i+n)%26)
			}
		}
		if err := os.WriteFile(filepath.Join(sub, "f"+strconv.Itoa(i)), buf, 0o644); err != nil {
			return err
		}
	}
	if err := os.Rename(b.path("image", "rootfs"), filepath.Join(dir, "rootfs")); err != nil {
		return err
	}
	text := "FROM scratch\nCOPY rootfs /\nCOPY data /data\n"
	for i := range 10 {
		text += fmt.Sprintf("RUN echo step %d > /step%d && ls /data | cat > /list%d\n", i, i, i)
	}
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(text), 0o644); err != nil {
		return err
	}
	return b.makeStages()
}

// makeStages writes a build of four stages that do nothing but wait.
func (b *bench) makeStages() error {
	dir := b.path("stages")
	if err := os.CopyFS(filepath.Join(dir, "rootfs"), os.DirFS(b.path("context", "rootfs"))); err != nil {
		return err
	}
	text, last := "FROM scratch AS base\nCOPY rootfs /\n", "FROM base\n"
	for i := range 4 {
		text += fmt.Sprintf("FROM base AS stage%d\nRUN sleep 1 && echo %d > /out%d\n", i, i, i)
		last += fmt.Sprintf("COPY --from=stage%d /out%d /\n", i, i)
	}
	return os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(text+last), 0o644)
}

func startContenders(network string) func(*bench) []contender {
	return func(b *bench) []contender {
		cs := []contender{{name: "camada", do: func(ctx context.Context, _ int) error {
			return b.command(ctx, nil, b.camada, append(b.ours("run"), "run", "--rm", "--network", network, "bench", "/bin/true")...)
		}}}
		for _, runtime := range []string{"runc", "crun"} {
			if !b.has("podman ("+runtime+")", "podman", runtime) {
				continue
			}
			env := b.podmanEnv()
			podman := func(ctx context.Context, args ...string) error {
				all := append(append(outOfHybrid(runtime), "podman", "--runtime", runtime), b.podmanArgs("podman-"+runtime)...)
				all = append(all, args...)
				return b.command(ctx, env, all[0], all[1:]...)
			}
			cs = append(cs, contender{name: "podman (" + runtime + ")", before: once(func(ctx context.Context) error {
				return podman(ctx, "load", "-i", b.path("image.tar"))
			}), do: func(ctx context.Context, _ int) error {
				return podman(ctx, "run", "--rm", "--network", network, "docker.io/library/bench:latest", "/bin/true")
			}})
		}
		if b.up(context.Background(), "docker") != nil {
			cs = append(cs, contender{name: "docker", daemon: "docker", before: once(func(ctx context.Context) error {
				return b.command(ctx, nil, dockerClient(), b.docker("load", "-i", b.path("image.tar"))...)
			}), do: func(ctx context.Context, _ int) error {
				return b.command(ctx, nil, dockerClient(), b.docker("run", "--rm", "--network", network, "bench", "/bin/true")...)
			}})
		}
		return cs
	}
}

// bundleContenders start a ready bundle with the OCI runtimes: what camada run does in all, image, store and record
// included, against what they do with everything prepared.
func bundleContenders(b *bench) []contender {
	cs := startContenders("none")(b)[:1]
	for _, rt := range []string{"runc", "crun"} {
		if !b.has(rt, rt) {
			continue
		}
		bundle := b.path("bundle-" + rt)
		cs = append(cs, contender{name: rt + " run (bundle)", before: once(func(ctx context.Context) error { return b.bundle(ctx, rt, bundle) }),
			do: func(ctx context.Context, round int) error {
				args := append(outOfHybrid(rt), rt, "run", "--bundle", bundle, fmt.Sprintf("bench-%d-%d", os.Getpid(), round))
				return b.command(ctx, nil, args[0], args[1:]...)
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

func (b *bench) bundle(ctx context.Context, runtime, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := b.command(ctx, nil, runtime, "spec", "--bundle", dir); err != nil {
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
	var conf map[string]any
	if err := json.Unmarshal(text, &conf); err != nil {
		return err
	}
	process := conf["process"].(map[string]any)
	process["args"], process["terminal"] = []string{"/bin/true"}, false
	delete(process, "rlimits")
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

func copyFile(dst, src string, mode os.FileMode) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}
