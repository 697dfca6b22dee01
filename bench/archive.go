package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// bigArchive makes the archive that is loaded, once.
func (b *bench) bigArchive(ctx context.Context) (string, error) {
	name := b.path("big.tar")
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	store := b.ours("archive")
	if err := command(ctx, nil, b.camada, append(store, "build", "-q", "-t", "big", b.path("context"))...); err != nil {
		return "", err
	}
	return name, command(ctx, nil, b.camada, append(store, "save", "-o", name, "big")...)
}

// archiveContenders save the big image, or load it into an empty store.
func archiveContenders(save bool) func(*bench) []contender {
	return func(b *bench) []contender {
		out := b.path("saved.tar")
		prepare := func(load func(context.Context) error) func(context.Context, int) error {
			return func(ctx context.Context, round int) error {
				_ = os.Remove(out)
				if _, err := b.bigArchive(ctx); err != nil || !save || round > 0 {
					return err
				}
				return load(ctx)
			}
		}
		fresh := func(name string, round int) string {
			if save {
				return name
			}
			return fmt.Sprintf("%s-load-%d", name, round)
		}
		cs := []contender{{name: "camada", before: prepare(func(context.Context) error { return nil }), do: func(ctx context.Context, round int) error {
			if save {
				return command(ctx, nil, b.camada, append(b.ours("archive"), "save", "-o", out, "big")...)
			}
			return command(ctx, nil, b.camada, append(b.ours(fresh("load", round)), "load", "-q", "-i", b.path("big.tar"))...)
		}}}
		if d := b.up(context.Background(), "docker"); d != nil {
			host := []string{"-H", "unix://" + d.socket}
			load := func(ctx context.Context) error {
				return command(ctx, nil, dockerClient(), append(host, "load", "-q", "-i", b.path("big.tar"))...)
			}
			before := prepare(load)
			cs = append(cs, contender{name: "docker", daemon: "docker", before: func(ctx context.Context, round int) error {
				if !save {
					_ = command(ctx, nil, dockerClient(), append(host, "rmi", "-f", "big")...)
				}
				return before(ctx, round)
			}, do: func(ctx context.Context, _ int) error {
				if !save {
					return load(ctx)
				}
				return command(ctx, nil, dockerClient(), append(host, "save", "-o", out, "big")...)
			}})
		}
		if b.has("podman", "podman") {
			env := b.podmanEnv()
			load := func(ctx context.Context, store string) error {
				return command(ctx, env, "podman", append(b.podmanArgs(store), "load", "-q", "-i", b.path("big.tar"))...)
			}
			cs = append(cs, contender{name: "podman", before: prepare(func(ctx context.Context) error { return load(ctx, "podman-archive") }),
				do: func(ctx context.Context, round int) error {
					if !save {
						return load(ctx, fresh("podman-archive", round))
					}
					return command(ctx, env, "podman", append(b.podmanArgs("podman-archive"), "save", "-q", "-o", out, "docker.io/library/big:latest")...)
				}})
		}
		return cs
	}
}

// storeContenders build ten images that share all but one small file, and measure the store.
func storeContenders(b *bench) []contender {
	build := func(one func(ctx context.Context, tag string) error) func(context.Context, int) error {
		return func(ctx context.Context, round int) error {
			if round > 0 {
				return nil
			}
			for i := range 10 {
				if err := b.touch(i, "version"); err != nil {
					return err
				}
				if err := one(ctx, fmt.Sprintf("big:%d", i)); err != nil {
					return err
				}
			}
			return nil
		}
	}
	cs := []contender{{name: "camada", do: build(func(ctx context.Context, tag string) error {
		return command(ctx, nil, b.camada, append(b.ours("ten"), "build", "-q", "-t", tag, b.path("context"))...)
	}), size: func() (int64, error) { return usage(b.path("camada", "ten")) }}}
	if b.has("podman", "podman") {
		env, args := b.podmanEnv(), b.podmanArgs("podman-ten")
		cs = append(cs, contender{name: "podman", do: build(func(ctx context.Context, tag string) error {
			return command(ctx, env, "podman", append(args, "build", "--layers", "--network", "host", "-q", "-t", tag, b.path("context"))...)
		}), size: func() (int64, error) { return usage(b.path("podman-ten")) }})
	}
	if d := b.up(context.Background(), "docker"); d != nil {
		host := []string{"-H", "unix://" + d.socket}
		data := b.path("docker", "data", "overlay2")
		before := int64(0)
		cs = append(cs, contender{name: "docker (layers unpacked only)", do: func(ctx context.Context, round int) error {
			if round == 0 {
				_ = command(ctx, nil, dockerClient(), append(host, "system", "prune", "-af")...)
				_ = command(ctx, nil, dockerClient(), append(host, "builder", "prune", "-af")...)
				before, _ = usage(data)
			}
			return build(func(ctx context.Context, tag string) error {
				return command(ctx, []string{"DOCKER_BUILDKIT=1"}, dockerClient(), append(host, "build", "-q", "--network", "host", "-t", tag, b.path("context"))...)
			})(ctx, round)
		}, size: func() (int64, error) {
			n, err := usage(data)
			return n - before, err
		}})
	}
	return cs
}

// usage is what a directory takes on disk; hard links count once.
func usage(dir string) (int64, error) {
	seen := map[uint64]bool{}
	sum := int64(0)
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && !seen[st.Ino] {
			seen[st.Ino] = true
			sum += st.Blocks * 512
		}
		return nil
	})
	return sum, err
}
