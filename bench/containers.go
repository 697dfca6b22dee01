package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// waits is a program that does nothing, and ends at once when it is told to.
func waits() []string {
	return []string{"/bin/sh", "-c", "trap exit TERM; while :; do sleep 1000 & wait; done"}
}

// detached starts a container in the background.
func detached(ctx context.Context, r runner, name string) error {
	return r.do(ctx, append([]string{"run", "-d", "--name", name, "--network", "none", r.image}, waits()...)...)
}

// execContenders run a program in a container that stands.
func execContenders(b *bench) []contender {
	var cs []contender
	for _, r := range b.runners() {
		cs = append(cs, contender{name: r.name, daemon: r.daemon, before: once(func(ctx context.Context) error {
			if err := r.load(ctx); err != nil {
				return err
			}
			return detached(ctx, r, "stands")
		}), do: func(ctx context.Context, _ int) error { return r.do(ctx, "exec", "stands", "/bin/true") },
			after: func(ctx context.Context) error { return r.do(ctx, "rm", "-f", "stands") }})
	}
	if b.up(context.Background(), "containerd") == nil {
		return cs
	}
	return append(cs, contender{name: "containerd (ctr)", daemon: "containerd", before: once(func(ctx context.Context) error {
		if err := b.ctrLoad(ctx); err != nil {
			return err
		}
		return b.ctr(ctx, append([]string{"run", "-d", ctrImage, "stands"}, waits()...)...)
	}), do: func(ctx context.Context, round int) error {
		return b.ctr(ctx, "task", "exec", "--exec-id", fmt.Sprint("e", round), "stands", "/bin/true")
	}, after: func(ctx context.Context) error { return b.ctr(ctx, "task", "rm", "-f", "stands") }})
}

// stopContenders end a container in order, with what is left of it.
func stopContenders(b *bench) []contender {
	var cs []contender
	for _, r := range b.runners() {
		name := func(round int) string { return fmt.Sprint("stop", round) }
		cs = append(cs, contender{name: r.name, daemon: r.daemon, before: func(ctx context.Context, round int) error {
			if round == 0 {
				if err := r.load(ctx); err != nil {
					return err
				}
			}
			return detached(ctx, r, name(round))
		}, do: func(ctx context.Context, round int) error { return r.do(ctx, "stop", name(round)) }})
	}
	return cs
}

// memoryContenders let twenty containers stand, and count what was started for each of them besides its own program.
func memoryContenders(b *bench) []contender {
	const n = 20
	var cs []contender
	helpers := map[string]string{"camada": "container-monitor", "docker": "containerd-shim", "containerd (ctr)": "containerd-shim"}
	add := func(name string, load func(context.Context) error, start, end func(ctx context.Context, name string) error) {
		program := helpers[name]
		if program == "" {
			program = "conmon"
		}
		var bytes int64
		cs = append(cs, contender{name: name, do: func(ctx context.Context, round int) error {
			if round > 0 {
				return nil
			}
			if err := load(ctx); err != nil {
				return err
			}
			before := processes(program)
			for i := range n {
				if err := start(ctx, fmt.Sprint("idle", i)); err != nil {
					return err
				}
			}
			for _, pid := range processes(program) {
				if !slices.Contains(before, pid) {
					bytes += resident(pid)
				}
			}
			for i := range n {
				if err := end(ctx, fmt.Sprint("idle", i)); err != nil {
					return err
				}
			}
			return nil
		}, size: func() (int64, error) { return bytes / n, nil }})
	}
	for _, r := range b.runners() {
		add(r.name, r.load, func(ctx context.Context, name string) error { return detached(ctx, r, name) },
			func(ctx context.Context, name string) error { return r.do(ctx, "rm", "-f", name) })
	}
	if b.up(context.Background(), "containerd") != nil {
		add("containerd (ctr)", b.ctrLoad, func(ctx context.Context, name string) error {
			return b.ctr(ctx, append([]string{"run", "-d", ctrImage, name}, waits()...)...)
		}, func(ctx context.Context, name string) error { return b.ctr(ctx, "task", "rm", "-f", name) })
	}
	return cs
}

// processes are the ids of those whose command line has the word.
func processes(word string) []int {
	var pids []int
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range lines {
		text, err := os.ReadFile(name)
		if err == nil && strings.Contains(string(text), word) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// resident is what a process holds of the memory, in bytes, with its share of what others map too.
func resident(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "\nPss:")
	kb := int64(0)
	_, _ = fmt.Sscan(rest, &kb)
	return kb << 10
}
