package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// The image that is pulled and pushed: layers times files of about fileSize bytes, 1.3 GB, of which a third is left by gzip.
const (
	shipLayers   = 9
	shipFiles    = 6500
	shipFileSize = 22_000
)

// makeShip writes the context of the big image and builds it with each compression, once.
func (b *bench) makeShip(ctx context.Context, compression string) error {
	dir := b.path("ship")
	if _, err := os.Stat(filepath.Join(dir, "Dockerfile")); err != nil {
		if err := b.writeShip(dir); err != nil {
			return err
		}
	}
	return b.command(ctx, nil, b.camada, append(b.ours("ship"), "build", "-q", "--output", "type=image,compression="+compression+",name=ship-"+compression, dir)...)
}

func (b *bench) writeShip(dir string) error {
	rnd := rand.NewChaCha8([32]byte{7})
	words := []byte("the quick brown fox jumps over the lazy dog 0123456789\n")
	text := "FROM scratch\nCOPY rootfs /\n"
	buf := make([]byte, shipFileSize)
	for l := range shipLayers {
		for i := range shipFiles {
			sub := filepath.Join(dir, fmt.Sprint("l", l), fmt.Sprintf("d%03d", i/50))
			if i%50 == 0 {
				if err := os.MkdirAll(sub, 0o755); err != nil {
					return err
				}
			}
			for n := 0; n < len(buf); n += copy(buf[n:], words) {
				words[n%len(words)] = 'a' + byte((i+n)%26)
			}
			_, _ = rnd.Read(buf[:len(buf)/3])
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprint("f", i)), buf, 0o644); err != nil {
				return err
			}
		}
		text += fmt.Sprintf("COPY l%d /data/l%d\n", l, l)
	}
	return b.finishWork(dir, text)
}

// pullContenders pull the big image into an empty store, unpacked and ready to run. The last two only fetch it into a layout.
func pullContenders(compression string) func(*bench) []contender {
	return func(b *bench) []contender {
		ctx := context.Background()
		server, err := b.registry(ctx, "registry v3", "")
		if err != nil {
			b.absent["registry v3"] = err.Error()
			return nil
		}
		name := server.address + "/ship:" + compression
		source := once(func(ctx context.Context) error {
			if err := b.makeShip(ctx, compression); err != nil {
				return err
			}
			if err := b.command(ctx, nil, b.camada, append(b.ours("ship"), "tag", "ship-"+compression, name)...); err != nil {
				return err
			}
			return b.command(ctx, nil, b.camada, append(b.ours("ship"), "push", "-q", name)...)
		})
		cs := []contender{{name: "camada", before: source, do: func(ctx context.Context, round int) error {
			return b.command(ctx, nil, b.camada, append(b.ours(fmt.Sprintf("pull-%s-%d", compression, round)), "pull", "-q", name)...)
		}}}
		renew := func(daemon string) func(context.Context, int) error {
			return func(ctx context.Context, _ int) error { return b.renew(ctx, daemon) }
		}
		if b.up(ctx, "docker") != nil {
			cs = append(cs, contender{name: "docker", daemon: "docker", before: renew("docker"), do: func(ctx context.Context, _ int) error {
				return b.command(ctx, nil, dockerClient(), b.docker("pull", "-q", name)...)
			}})
		}
		if b.has("podman", "podman") {
			env := b.podmanEnv()
			cs = append(cs, contender{name: "podman", do: func(ctx context.Context, round int) error {
				return b.command(ctx, env, "podman", append(b.podmanArgs(fmt.Sprintf("pull-%s-%d", compression, round)), "pull", "-q", "--tls-verify=false", name)...)
			}})
		}
		if b.has("containerd", "containerd", "ctr") && b.up(ctx, "containerd") != nil {
			cs = append(cs, contender{name: "containerd (ctr)", daemon: "containerd", before: renew("containerd"), do: func(ctx context.Context, _ int) error {
				return b.command(ctx, nil, "ctr", "-a", b.daemons["containerd"].socket, "images", "pull", "--plain-http", name)
			}})
		}
		return append(cs, b.layoutPulls(name, compression)...)
	}
}

// layoutPulls fetch an image into an OCI layout.
func (b *bench) layoutPulls(name, compression string) []contender {
	dir := func(who string, round int) string {
		return b.path(fmt.Sprintf("layout-%s-%s-%d", who, compression, round))
	}
	cs := []contender{{name: "camada copy, into a layout", do: func(ctx context.Context, round int) error {
		return b.command(ctx, nil, b.camada, append(b.ours("layouts"), "copy", "--progress", "quiet", "docker://"+name, "oci:"+dir("camada", round)+":ship")...)
	}}}
	if b.has("crane", "crane") {
		cs = append(cs, contender{name: "crane, into a layout", do: func(ctx context.Context, round int) error {
			return b.command(ctx, nil, "crane", "pull", "--format=oci", name, dir("crane", round))
		}})
	}
	if b.has("skopeo", "skopeo") {
		cs = append(cs, contender{name: "skopeo, into a layout", do: func(ctx context.Context, round int) error {
			return b.command(ctx, nil, "skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", "docker://"+name, "oci:"+dir("skopeo", round)+":ship")
		}})
	}
	return cs
}

// pushContenders push the big image from their stores (crane from a layout), each time to a repository that is new.
func pushContenders(b *bench) []contender {
	ctx := context.Background()
	if !b.has("registry v3", "registry") {
		return nil
	}
	address := ""
	// Every push begins with an empty registry.
	fresh := func(ctx context.Context) error {
		s, err := b.registry(ctx, "registry v3", "")
		if err == nil {
			address = s.address
		}
		return err
	}
	archive := b.path("ship.tar")
	source := func(load func(context.Context) error) func(context.Context, int) error {
		return func(ctx context.Context, round int) error {
			if round == 0 {
				if err := load(ctx); err != nil {
					return err
				}
			}
			return fresh(ctx)
		}
	}
	cs := []contender{{name: "camada", before: source(func(ctx context.Context) error {
		if err := b.bigArchive(ctx); err != nil {
			return err
		}
		return b.command(ctx, nil, b.camada, append(b.ours("ship"), "save", "--format", "oci-dir", "-o", b.path("ship-layout"), "ship-gzip")...)
	}), do: func(ctx context.Context, _ int) error {
		name := address + "/ship:1"
		if err := b.command(ctx, nil, b.camada, append(b.ours("ship"), "tag", "ship-gzip", name)...); err != nil {
			return err
		}
		return b.command(ctx, nil, b.camada, append(b.ours("ship"), "push", "-q", name)...)
	}}}
	if b.has("crane", "crane") {
		cs = append(cs, contender{name: "crane, from a layout", before: func(ctx context.Context, _ int) error { return fresh(ctx) },
			do: func(ctx context.Context, _ int) error {
				return b.command(ctx, nil, "crane", "push", b.path("ship-layout"), address+"/ship:1")
			}})
	}
	if b.up(ctx, "docker") != nil {
		cs = append(cs, contender{name: "docker", daemon: "docker", before: source(func(ctx context.Context) error {
			return b.command(ctx, nil, dockerClient(), b.docker("load", "-q", "-i", archive)...)
		}), do: func(ctx context.Context, _ int) error {
			name := address + "/ship:1"
			if err := b.command(ctx, nil, dockerClient(), b.docker("tag", "ship-gzip", name)...); err != nil {
				return err
			}
			return b.command(ctx, nil, dockerClient(), b.docker("push", "-q", name)...)
		}})
	}
	if b.has("podman", "podman") {
		env, args := b.podmanEnv(), b.podmanArgs("podman-push")
		cs = append(cs, contender{name: "podman", before: source(func(ctx context.Context) error {
			return b.command(ctx, env, "podman", append(args, "load", "-q", "-i", archive)...)
		}), do: func(ctx context.Context, _ int) error {
			return b.command(ctx, env, "podman", append(args, "push", "-q", "--tls-verify=false", "docker.io/library/ship-gzip:latest", address+"/ship:1")...)
		}})
	}
	return cs
}
