package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// heat is how much of a build is known before it starts.
type heat int

const (
	cold heat = iota
	cached
	changed
)

// touch changes one file of the context.
func (b *bench) touch(round int, who string) error {
	return os.WriteFile(b.path("context", "data", "d00", "f0"), fmt.Appendf(nil, "%s %d", who, round), 0o644)
}

// buildContenders build the context. For a peer that keeps its cache in a daemon, cold prunes it first.
func buildContenders(h heat) func(*bench) []contender {
	return func(b *bench) []contender {
		cs := []contender{b.camadaBuild(h)}
		if b.has("buildkitd", "buildkitd", "buildctl", "runc") {
			if d := b.up(context.Background(), "buildkitd"); d != nil {
				cs = append(cs, b.buildkitBuild(h, d))
			}
		}
		if d := b.up(context.Background(), "docker"); d != nil {
			cs = append(cs, b.dockerBuild(h, d))
		}
		for _, p := range []string{"buildah", "podman"} {
			if b.has(p, p) {
				cs = append(cs, b.podmanBuild(h, p))
			}
		}
		return cs
	}
}

// warm wraps before so that a cached or changed build has been done once.
func (b *bench) warm(h heat, c contender, clear func(context.Context, int) error) contender {
	build := c.do
	c.before = func(ctx context.Context, round int) error {
		switch h {
		case cold:
			if clear != nil {
				return clear(ctx, round)
			}
			return nil
		case changed:
			if round == 0 {
				if err := build(ctx, round); err != nil {
					return err
				}
			}
			return b.touch(round, c.name)
		}
		if round == 0 {
			return build(ctx, round)
		}
		return nil
	}
	return c
}

func (b *bench) camadaBuild(h heat) contender {
	store := func(round int) string {
		if h == cold {
			return fmt.Sprintf("build-cold-%d", round)
		}
		return fmt.Sprintf("build-%d", h)
	}
	return b.warm(h, contender{name: "camada", do: func(ctx context.Context, round int) error {
		return command(ctx, nil, b.camada, append(b.ours(store(round)), "build", "-q", "-t", "big", b.path("context"))...)
	}}, func(_ context.Context, round int) error {
		if round > 1 {
			return os.RemoveAll(b.path("camada", store(round-1)))
		}
		return nil
	})
}

// buildkitBuild writes an OCI archive, which is what makes its result an image that can be kept.
func (b *bench) buildkitBuild(h heat, d *daemon) contender {
	addr := []string{"--addr", "unix://" + d.socket}
	return b.warm(h, contender{name: "buildkitd", daemon: "buildkitd", do: func(ctx context.Context, _ int) error {
		dir := b.path("context")
		return command(ctx, nil, "buildctl", append(addr, "build", "--frontend", "dockerfile.v0", "--local", "context="+dir, "--local", "dockerfile="+dir,
			"--output", "type=oci,name=big,dest="+b.path("buildkit.tar"))...)
	}}, func(ctx context.Context, _ int) error {
		return command(ctx, nil, "buildctl", append(addr, "prune", "--all")...)
	})
}

func (b *bench) dockerBuild(h heat, d *daemon) contender {
	host := []string{"-H", "unix://" + d.socket}
	return b.warm(h, contender{name: "docker (BuildKit)", daemon: "docker", do: func(ctx context.Context, _ int) error {
		return command(ctx, []string{"DOCKER_BUILDKIT=1"}, dockerClient(), append(host, "build", "-q", "--network", "host", "-t", "big", b.path("context"))...)
	}}, func(ctx context.Context, _ int) error {
		_ = command(ctx, nil, dockerClient(), append(host, "rmi", "-f", "big")...)
		return command(ctx, nil, dockerClient(), append(host, "builder", "prune", "-af")...)
	})
}

func (b *bench) podmanBuild(h heat, program string) contender {
	env := b.podmanEnv()
	args := func(round int) []string {
		store := fmt.Sprintf("%s-build-%d", program, h)
		if h == cold {
			store = fmt.Sprintf("%s-cold-%d", program, round)
		}
		return b.podmanArgs(store)
	}
	return b.warm(h, contender{name: program, do: func(ctx context.Context, round int) error {
		return command(ctx, env, program, append(args(round), "build", "--layers", "--network", "host", "-q", "-t", "big", b.path("context"))...)
	}}, func(ctx context.Context, round int) error {
		if round > 1 {
			old := args(round - 1)
			_ = command(ctx, env, program, append(old, "rmi", "-af")...)
			return os.RemoveAll(filepath.Dir(old[1]))
		}
		return nil
	})
}
