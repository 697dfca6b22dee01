// Command bench measures camada and its peers on the same work in one run.
//
//	make bench                                # all scenes, 9 rounds
//	go run ./bench -scenes start,cached -rounds 15 -json out.json -markdown out.md
//
// Rounds alternate between the contenders (ours, peer, ours, peer ...), with fresh directories
// where a scene is cold and a warm-up that is not counted. Reported are minimum and median of the
// wall time, the CPU seconds of the whole process tree, the peer's daemon included, and the most memory that
// the client and the daemon held together. A peer that is not installed is named as absent. Daemons are started by the bench
// on private sockets below a temporary directory, and ended by it; a cold build of theirs begins with a new one.
//
// A file system that has just deleted much can be slow to make files for minutes, ext4 without a journal above all. The
// bench deletes nothing before its end for this reason; -dir puts it on a file system that others leave alone.
//
// It runs as root, and needs Debian's busybox-static for the image that is started.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

type options struct {
	camada   string
	rounds   int
	json     string
	markdown string
	scenes   string
	keep     bool
	dir      string
	// advisories has exports of OSV, for the scenes of scans.
	advisories string
}

func main() {
	var o options
	flag.StringVar(&o.camada, "camada", "bin/camada", "the camada to measure")
	flag.IntVar(&o.rounds, "rounds", 9, "rounds of each scene")
	flag.StringVar(&o.json, "json", "", "write the results to this file")
	flag.StringVar(&o.markdown, "markdown", "", "write the table to this file")
	flag.StringVar(&o.scenes, "scenes", "", "scenes, separated by commas; all when empty: "+strings.Join(sceneNames(), ", "))
	flag.BoolVar(&o.keep, "keep", false, "keep the temporary directory")
	flag.StringVar(&o.dir, "dir", "", "where the temporary directory is made: on the file system that is to be measured")
	flag.StringVar(&o.advisories, "advisories", "", "directory with exports of OSV (all.zip in a directory for each ecosystem), which the scenes of scans need")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	camada, err := filepath.Abs(o.camada)
	if err != nil {
		return err
	}
	if _, err := os.Stat(camada); err != nil {
		return fmt.Errorf("%w; run make build first", err)
	}
	dir, err := os.MkdirTemp(o.dir, "camada-bench-")
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	short, err := os.MkdirTemp("", "cb-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(short)
	b := &bench{dir: dir, short: short, camada: camada, rounds: o.rounds, absent: map[string]string{}}
	if o.advisories != "" {
		if b.advisories, err = filepath.Abs(o.advisories); err != nil {
			return err
		}
	}
	if !o.keep {
		defer os.RemoveAll(dir)
	}
	defer b.stopDaemons()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	var results []result
	wanted := strings.Split(o.scenes, ",")
	for _, s := range scenes() {
		if o.scenes != "" && !slices.Contains(wanted, s.name) {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		if s.advisories && b.advisories == "" {
			b.absent["the scene "+s.name] = "-advisories names no directory"
			continue
		}
		fmt.Fprintf(os.Stderr, "== %s: %s\n", s.name, s.title)
		r, err := b.measure(ctx, s)
		if err != nil {
			return fmt.Errorf("scene %s: %w", s.name, err)
		}
		results = append(results, r)
	}
	return report(results, b.absent, machine(), o)
}
