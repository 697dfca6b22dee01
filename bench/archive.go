package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// bigArchive makes the image of 1.3 GB and the archive of it that is loaded, once.
func (b *bench) bigArchive(ctx context.Context) error {
	name := b.path("ship.tar")
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	if err := b.makeShip(ctx, "gzip"); err != nil {
		return err
	}
	return b.command(ctx, nil, b.camada, append(b.ours("ship"), "save", "-o", name, "ship-gzip")...)
}

// archiveContenders save the big image, or load it into an empty store and run it: loading alone would leave out
// what some do not do before they must.
func archiveContenders(save bool) func(*bench) []contender {
	runShip := []string{"run", "--rm", "--network", "none", "ship-gzip", "/bin/true"}
	return func(b *bench) []contender {
		out := b.path("saved.tar")
		prepare := func(load func(context.Context) error) func(context.Context, int) error {
			return func(ctx context.Context, round int) error {
				_ = os.Remove(out)
				if err := b.bigArchive(ctx); err != nil || !save || round > 0 {
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
				return b.command(ctx, nil, b.camada, append(b.ours("ship"), "save", "-o", out, "ship-gzip")...)
			}
			store := b.ours(fresh("load", round))
			if err := b.command(ctx, nil, b.camada, append(store, "load", "-q", "-i", b.path("ship.tar"))...); err != nil {
				return err
			}
			return b.command(ctx, nil, b.camada, append(store, runShip...)...)
		}}}
		if b.up(context.Background(), "docker") != nil {
			load := func(ctx context.Context) error {
				return b.command(ctx, nil, dockerClient(), b.docker("load", "-q", "-i", b.path("ship.tar"))...)
			}
			before := prepare(load)
			cs = append(cs, contender{name: "docker", daemon: "docker", before: func(ctx context.Context, round int) error {
				if !save {
					_ = b.command(ctx, nil, dockerClient(), b.docker("rmi", "-f", "ship-gzip")...)
				}
				return before(ctx, round)
			}, do: func(ctx context.Context, _ int) error {
				if !save {
					if err := load(ctx); err != nil {
						return err
					}
					return b.command(ctx, nil, dockerClient(), b.docker(runShip...)...)
				}
				return b.command(ctx, nil, dockerClient(), b.docker("save", "-o", out, "ship-gzip")...)
			}})
		}
		if b.has("podman", "podman") {
			env := b.podmanEnv()
			load := func(ctx context.Context, store string) error {
				return b.command(ctx, env, "podman", append(b.podmanArgs(store), "load", "-q", "-i", b.path("ship.tar"))...)
			}
			cs = append(cs, contender{name: "podman", before: prepare(func(ctx context.Context) error { return load(ctx, "podman-archive") }),
				do: func(ctx context.Context, round int) error {
					if store := fresh("podman-archive", round); !save {
						if err := load(ctx, store); err != nil {
							return err
						}
						return b.command(ctx, env, "podman", append(b.podmanArgs(store), runShip...)...)
					}
					return b.command(ctx, env, "podman", append(b.podmanArgs("podman-archive"), "save", "-q", "-o", out, "docker.io/library/ship-gzip:latest")...)
				}})
		}
		return cs
	}
}

// versions is how many images the store scene builds.
const versions = 10

// storeContenders build ten versions of an image of which one file of 5,000 changes, and measure what each but the first adds to the
// directory of the tool. A daemon begins empty.
func storeContenders(b *bench) []contender {
	store := func(name, dir string, begin func(context.Context) error, build func(ctx context.Context, tag string) error) contender {
		var first int64
		where := func() string {
			if d := b.daemons[name]; d != nil {
				return d.dir
			}
			return dir
		}
		return contender{name: name, do: func(ctx context.Context, round int) error {
			if round > 0 {
				return nil
			}
			if begin != nil {
				if err := begin(ctx); err != nil {
					return err
				}
			}
			for i := range versions {
				if err := b.touch(changed, i, "version"); err != nil {
					return err
				}
				if err := build(ctx, fmt.Sprintf("big:%d", i)); err != nil {
					return err
				}
				if i == 0 {
					var err error
					if first, err = usage(where()); err != nil {
						return err
					}
				}
			}
			return nil
		}, size: func() (int64, error) {
			all, err := usage(where())
			return (all - first) / (versions - 1), err
		}}
	}
	cs := []contender{store("camada", b.path("camada", "ten"), nil, func(ctx context.Context, tag string) error {
		return b.command(ctx, nil, b.camada, append(b.ours("ten"), "build", "-q", "-t", tag, b.path("context"))...)
	})}
	if b.has("buildkitd", "buildkitd", "buildctl", "runc") && b.up(context.Background(), "buildkitd") != nil {
		cs = append(cs, store("buildkitd", "", func(ctx context.Context) error { return b.renew(ctx, "buildkitd") }, func(ctx context.Context, _ string) error {
			return b.buildctl(ctx, b.path("context"), b.path("buildkit.tar"))
		}))
	}
	if b.up(context.Background(), "docker") != nil {
		cs = append(cs, store("docker", "", func(ctx context.Context) error { return b.renew(ctx, "docker") }, func(ctx context.Context, tag string) error {
			return b.command(ctx, []string{"DOCKER_BUILDKIT=1"}, dockerClient(), b.docker("build", "-q", "--network", "host", "-t", tag, b.path("context"))...)
		}))
	}
	if b.has("podman", "podman") {
		env, args := b.podmanEnv(), b.podmanArgs("podman-ten")
		cs = append(cs, store("podman", b.path("podman-ten"), nil, func(ctx context.Context, tag string) error {
			return b.command(ctx, env, "podman", append(args, "build", "--layers", "--network", "host", "-q", "-t", tag, b.path("context"))...)
		}))
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
