package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// makeWork writes the context of one kind of build, once.
func (b *bench) makeWork(h heat) error {
	dir := b.source(h)
	if _, err := os.Stat(filepath.Join(dir, "Dockerfile")); err == nil {
		return nil
	}
	text := "FROM scratch\nCOPY rootfs /\n"
	switch h {
	case small:
		text += "COPY text /\nRUN echo hi > /hi\n"
		if err := b.writeFiles(dir, 1, 1, "text"); err != nil {
			return err
		}
	case many:
		text += "COPY data /data\n"
		if err := b.writeFiles(filepath.Join(dir, "data"), 200, 500, "f"); err != nil {
			return err
		}
	case layers:
		for i := range 60 {
			text += fmt.Sprintf("RUN echo %d > /made%d\n", i, i)
		}
	case tenStages:
		text, last := text[:len("FROM scratch")]+" AS base\nCOPY rootfs /\n", "FROM base\n"
		for i := range 10 {
			text += fmt.Sprintf("FROM base AS stage%d\nRUN sleep 1 && echo %d > /out%d\n", i, i, i)
			last += fmt.Sprintf("COPY --from=stage%d /out%d /\n", i, i)
		}
		return b.finishWork(dir, text+last)
	}
	return b.finishWork(dir, text)
}

func (b *bench) finishWork(dir, text string) error {
	if err := os.CopyFS(filepath.Join(dir, "rootfs"), os.DirFS(b.path("context", "rootfs"))); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(text), 0o644)
}

// writeFiles writes dirs times files small files.
func (b *bench) writeFiles(dir string, dirs, files int, name string) error {
	for d := range dirs {
		sub := dir
		if dirs > 1 {
			sub = filepath.Join(dir, fmt.Sprintf("d%03d", d))
		}
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
		for f := range files {
			full := name
			if files > 1 {
				full = fmt.Sprint(name, f)
			}
			if err := os.WriteFile(filepath.Join(sub, full), fmt.Appendf(nil, "%s %d %d\n", strings.Repeat("x", 50), d, f), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// cacheContenders build on a machine that knows nothing, with a build cache in a registry.
func cacheContenders(b *bench) []contender {
	if !b.has("registry", "crane") {
		return nil
	}
	ctx := context.Background()
	server, err := b.registry(ctx, "crane, in memory", "")
	if err != nil {
		b.absent["registry"] = err.Error()
		return nil
	}
	address := server.address
	dir := b.source(cold)
	cs := []contender{{name: "camada", before: once(func(ctx context.Context) error {
		return b.command(ctx, nil, b.camada, append(b.ours("cache-made"), "build", "-q", "--cache-to", "type=registry,mode=max,ref="+address+"/ours", dir)...)
	}), do: func(ctx context.Context, round int) error {
		return b.command(ctx, nil, b.camada, append(b.ours(fmt.Sprint("cache-", round)), "build", "-q", "-t", "big", "--cache-from", "type=registry,ref="+address+"/ours", dir)...)
	}}}
	if b.has("buildkitd", "buildkitd", "buildctl", "runc") && b.up(ctx, "buildkitd") != nil {
		ref := "type=registry,registry.insecure=true,ref=" + address + "/theirs"
		cs = append(cs, contender{name: "buildkitd", daemon: "buildkitd", before: func(ctx context.Context, round int) error {
			if round == 0 {
				if err := b.buildctl(ctx, dir, b.path("buildkit.tar"), "--export-cache", ref+",mode=max"); err != nil {
					return err
				}
			}
			return b.renew(ctx, "buildkitd")
		}, do: func(ctx context.Context, _ int) error {
			return b.buildctl(ctx, dir, b.path("buildkit.tar"), "--import-cache", ref)
		}})
	}
	return cs
}
