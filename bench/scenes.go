package main

import (
	"context"
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
		{name: "start-none", title: "run --rm --network none IMAGE true", contenders: startContenders("--network", "none")},
		{name: "start-host", title: "run --rm --network host IMAGE true", contenders: startContenders("--network", "host")},
		{name: "start-port", title: "run --rm -p PORT IMAGE true, on the default bridge", contenders: startContenders("-p", "127.0.0.1::80")},
		{name: "start-many", title: "16 starts side by side, and one after another", contenders: manyContenders},
		{name: "runtime", title: "the OCI runtime alone: run of a ready bundle", contenders: bundleContenders},
		{name: "exec", title: "exec CONTAINER true", contenders: execContenders},
		{name: "stop", title: "stop CONTAINER, whose program ends at once", contenders: stopContenders},
		{name: "memory", title: "memory of what stands by an idle detached container (proportional share, of twenty)", contenders: memoryContenders, rounds: 1},
		{name: "build-cached", title: "build, fully cached, 5,000 files", contenders: buildContenders(cached)},
		{name: "build-changed", title: "build, one file of 5,000 changed", contenders: buildContenders(changed)},
		{name: "build-cold", title: "build, cold: COPY of 200 MB in 5,000 files, ten RUN", contenders: buildContenders(cold), rounds: 5},
		{name: "build-stages", title: "build, cold: four independent stages that wait one second each", contenders: buildContenders(stages), rounds: 3},
		{name: "build-small", title: "build, fully cached, one file", contenders: buildContenders(small)},
		{name: "build-many", title: "build, one file of 100,000 changed", contenders: buildContenders(many), rounds: 1},
		{name: "build-layers", title: "build, cold: sixty small steps", contenders: buildContenders(layers), rounds: 1},
		{name: "build-ten-stages", title: "build, cold: ten independent stages that wait one second each", contenders: buildContenders(tenStages), rounds: 3},
		{name: "build-cache", title: "build on an empty machine, with the cache of the cold build in a registry", contenders: cacheContenders, rounds: 3},
		{name: "save", title: "save a 1.3 GB image of 59,000 files", contenders: archiveContenders(true), rounds: 5},
		{name: "load", title: "load a 1.3 GB image of 59,000 files, and run it", contenders: archiveContenders(false), rounds: 5},
		{name: "store", title: "disk that each further version of an image takes, one file of 5,000 changed", contenders: storeContenders, rounds: 1},
		{name: "pull", title: "pull a 1.3 GB image of 59,000 files, gzip, until it can run", contenders: pullContenders("gzip"), rounds: 3},
		{name: "pull-zstd", title: "the same with zstd layers", contenders: pullContenders("zstd"), rounds: 3},
		{name: "push", title: "push the 1.3 GB image to an empty registry", contenders: pushContenders, rounds: 3},
		{name: "registry-manifest", title: "5,000 times the manifest of a tag, eight connections", contenders: registryContenders("", putImage, getManifests)},
		{name: "registry-manifest-auth", title: "the same, with user and password", contenders: registryContenders("basic", putImage, getManifests)},
		{name: "registry-blob", title: "5,000 times a blob of 4 KiB", contenders: registryContenders("", putImage, getBlobs)},
		{name: "registry-large", title: "50 times a blob of 16 MiB", contenders: registryContenders("", putImage, getLarge)},
		{name: "registry-put", title: "500 uploads of 10 KiB, eight clients", contenders: registryContenders("", putImage, putBlobs)},
		{name: "scan-cold", title: "first scan of a 250 MB image (Debian, Go, PyPI) that is in the store", advisories: true,
			contenders: scanContenders(true, []string{"scan", "--max-age", "0", "--partial"}, []string{"--format", "json"})},
		{name: "scan-warm", title: "scan of it when it is known", advisories: true,
			contenders: scanContenders(false, []string{"scan", "--max-age", "0", "--partial"}, []string{"--format", "json"})},
		{name: "sbom-cold", title: "first SBOM of it, CycloneDX", advisories: true,
			contenders: scanContenders(true, []string{"sbom", "--format", "cyclonedx"}, []string{"--format", "cyclonedx-1-5", "--all-packages"})},
		{name: "db-open", title: "open the advisory database, beside a start of the program", advisories: true, contenders: databaseContenders},
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
