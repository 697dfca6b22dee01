package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// heat is how much of a build is known before it starts.
type heat int

const (
	cold heat = iota
	cached
	changed
	stages    // cold, and the build of four stages that wait a second each
	tenStages // the same with ten
	small     // cached, of one file
	many      // changed: one of 100,000 small files
	layers    // cold, and sixty small steps
)

// touch changes one file of the context.
func (b *bench) touch(h heat, round int, who string) error {
	name := b.path("context", "data", "d00", "f0")
	if h == many {
		name = filepath.Join(b.source(h), "data", "d000", "f0")
	}
	return os.WriteFile(name, fmt.Appendf(nil, "%s %d", who, round), 0o644)
}

// isCold tells that each round begins without anything known.
func (h heat) isCold() bool { return h == cold || h == stages || h == tenStages || h == layers }

// isChanged tells that a file is changed before each round.
func (h heat) isChanged() bool { return h == changed || h == many }

// source is the directory that is built.
func (b *bench) source(h heat) string {
	switch h {
	case stages:
		return b.path("stages")
	case tenStages, small, many, layers:
		return b.path(fmt.Sprint("work-", h))
	}
	return b.path("context")
}

// buildContenders build the context. A peer that keeps its cache in a daemon gets a new daemon for each cold build.
func buildContenders(h heat) func(*bench) []contender {
	return func(b *bench) []contender {
		if b.source(h) != b.path("context") && h != stages {
			if err := b.makeWork(h); err != nil {
				b.absent["the context"] = err.Error()
				return nil
			}
		}
		cs := []contender{b.camadaBuild(h)}
		if h == stages || h == tenStages {
			cs = append(cs, b.camadaBuild(h, "--target", "stage0"))
		}
		if b.has("buildkitd", "buildkitd", "buildctl", "runc") && b.up(context.Background(), "buildkitd") != nil {
			cs = append(cs, b.buildkitBuild(h))
		}
		if b.up(context.Background(), "docker") != nil {
			cs = append(cs, b.dockerBuild(h))
		}
		if h == stages || h == tenStages { // the others build stages one after the other
			return cs
		}
		for _, p := range []string{"buildah", "podman"} {
			if b.has(p, p) {
				cs = append(cs, b.podmanBuild(h, p))
			}
		}
		return cs
	}
}

// warm wraps before so that a cached or changed build has been done once, and a cold one has nothing.
func (b *bench) warm(h heat, c contender, clear func(context.Context) error) contender {
	build := c.do
	c.before = func(ctx context.Context, round int) error {
		switch {
		case h.isCold():
			if clear != nil {
				return clear(ctx)
			}
			return nil
		case h.isChanged():
			if round == 0 {
				if err := build(ctx, round); err != nil {
					return err
				}
			}
			return b.touch(h, round, c.name)
		}
		if round == 0 {
			return build(ctx, round)
		}
		return nil
	}
	return c
}

func (b *bench) camadaBuild(h heat, more ...string) contender {
	name := strings.Join(append([]string{"camada"}, more...), " ")
	return b.warm(h, contender{name: name, do: func(ctx context.Context, round int) error {
		store := fmt.Sprintf("build-%d-%d", h, len(more))
		if h.isCold() {
			store += fmt.Sprintf("-%d", round)
		}
		args := append(b.ours(store), "build", "-q", "-t", "big")
		return b.command(ctx, nil, b.camada, append(append(args, more...), b.source(h))...)
	}}, nil)
}

// buildkitBuild writes an OCI archive, which is what makes its result an image that can be kept.
func (b *bench) buildkitBuild(h heat) contender {
	return b.warm(h, contender{name: "buildkitd", daemon: "buildkitd", do: func(ctx context.Context, _ int) error {
		return b.buildctl(ctx, b.source(h), b.path("buildkit.tar"))
	}}, func(ctx context.Context) error { return b.renew(ctx, "buildkitd") })
}

func (b *bench) buildctl(ctx context.Context, dir, archive string, more ...string) error {
	args := []string{"--addr", "unix://" + b.daemons["buildkitd"].socket, "build", "--frontend", "dockerfile.v0",
		"--local", "context=" + dir, "--local", "dockerfile=" + dir, "--output", "type=oci,name=big,dest=" + archive}
	return b.command(ctx, nil, "buildctl", append(args, more...)...)
}

// docker are the arguments of docker's client.
func (b *bench) docker(args ...string) []string {
	return append([]string{"-H", "unix://" + b.daemons["docker"].socket}, args...)
}

func (b *bench) dockerBuild(h heat) contender {
	return b.warm(h, contender{name: "docker (BuildKit)", daemon: "docker", do: func(ctx context.Context, _ int) error {
		return b.command(ctx, []string{"DOCKER_BUILDKIT=1"}, dockerClient(), b.docker("build", "-q", "--network", "host", "-t", "big", b.source(h))...)
	}}, func(ctx context.Context) error { return b.renew(ctx, "docker") })
}

func (b *bench) podmanBuild(h heat, program string) contender {
	env := b.podmanEnv()
	return b.warm(h, contender{name: program, do: func(ctx context.Context, round int) error {
		store := fmt.Sprintf("%s-build-%d", program, h)
		if h.isCold() {
			store = fmt.Sprintf("%s-cold-%d", program, round)
		}
		return b.command(ctx, env, program, append(b.podmanArgs(store), "build", "--layers", "--network", "host", "-q", "-t", "big", b.source(h))...)
	}}, nil)
}
