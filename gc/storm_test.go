package gc_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/gc"
	"github.com/camada/camada/gc/fsck"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/layout"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestMain lets the test binary be one of many processes on a store.
func TestMain(m *testing.M) {
	root := os.Getenv("GC_TEST_ROOT")
	if root == "" {
		os.Exit(m.Run())
	}
	n, err := strconv.Atoi(os.Getenv("GC_TEST_N"))
	if err == nil {
		err = map[string]func(string, int) error{"build": buildLoop, "collect": collectLoop}[os.Getenv("GC_TEST_ROLE")](root, n)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// process starts the test binary in a role.
func process(t *testing.T, root, role string, n int) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GC_TEST_ROOT="+root, "GC_TEST_ROLE="+role, "GC_TEST_N="+strconv.Itoa(n))
	return cmd
}

// sharp is a store that keeps nothing but refs: it makes each collection as sharp as can be.
func sharp(root string) gc.Store {
	blobs, refs := local.Open(root, local.Options{}), layout.Open(root)
	return gc.Store{Blobs: blobs, Ingests: blobs, Leases: lease.Open(root),
		Roots: []gc.Source{gc.Refs(refs), gc.Reflog(refs, gc.Keep{}, time.Now())}}
}

func collectLoop(root string, n int) error {
	for range n {
		if _, err := gc.Collect(context.Background(), sharp(root), gc.Options{IngestKeep: time.Hour}); err != nil {
			return err
		}
	}
	return nil
}

// buildLoop builds n images, each with a lease of its own as a verb has, and
// checks after each that it is whole. The bases are shared by all processes, so
// that what one drops another wants.
func buildLoop(root string, n int) error {
	ctx := context.Background()
	for i := range n {
		name := fmt.Sprintf("app%d:%d", os.Getpid()%5, i%3)
		if err := buildOnce(ctx, root, name, fmt.Sprint("base ", rand.IntN(3)), fmt.Sprint("app ", rand.IntN(20))); err != nil {
			return fmt.Errorf("build %d of %s: %w", i, name, err)
		}
		fmt.Println("built", name)
	}
	return nil
}

func buildOnce(ctx context.Context, root, name string, layers ...string) error {
	l, err := lease.Open(root).Acquire(ctx, "build")
	if err != nil {
		return err
	}
	defer l.Release()
	blobs, refs := local.Open(root, local.Options{Pinner: l}), layout.Open(root)
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, text := range layers {
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digestOf(text), Size: int64(len(text))}
		// A cache: what is there is not written again.
		if there, err := content.Exists(ctx, blobs, d.Digest); err != nil {
			return err
		} else if !there {
			if _, err := content.WriteReader(ctx, blobs, reader(text), d); err != nil {
				return err
			}
		}
		m.Layers = append(m.Layers, d)
	}
	if m.Config, err = content.WriteJSON(ctx, blobs, ocispec.MediaTypeImageConfig, ocispec.Image{Author: fmt.Sprint(layers)}); err != nil {
		return err
	}
	desc, err := content.WriteJSON(ctx, blobs, m.MediaType, m)
	if err != nil {
		return err
	}
	ref, err := reference.Parse(name)
	if err != nil {
		return err
	}
	if err := refs.Set(ctx, ref, desc, image.SetOptions{Verb: "build"}); err != nil {
		return err
	}
	if rand.IntN(4) == 0 {
		if err := refs.Delete(ctx, ref, image.SetOptions{Verb: "untag"}); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	// The lease holds them, whatever others do to the ref.
	return image.Walk(ctx, blobs, desc, image.WalkOptions{}, func(d ocispec.Descriptor) error {
		_, err := content.ReadAll(ctx, blobs, d, 1<<20)
		return err
	})
}

// wantWhole runs fsck, and a last collection after which only what refs reach is there.
func wantWhole(t *testing.T, root string) {
	t.Helper()
	st := fsck.Store{Root: root, Blobs: local.Open(root, local.Options{}), Refs: layout.Open(root), Leases: lease.Open(root)}
	rep, err := fsck.Run(t.Context(), st, fsck.Options{})
	check(t, err)
	if !rep.Whole() {
		t.Errorf("fsck: %+v", rep.Problems)
	}
	_, err = gc.Collect(t.Context(), sharp(root), gc.Options{IngestKeep: -1})
	check(t, err)
	u, err := gc.Measure(t.Context(), sharp(root))
	check(t, err)
	if u.ReclaimableBlobs.Count != 0 {
		t.Errorf("left after gc: %+v", u)
	}
	if rep, err = fsck.Run(t.Context(), st, fsck.Options{}); err != nil || !rep.Whole() || len(rep.Notes) != 0 {
		t.Errorf("fsck after gc: %+v, %v", rep, err)
	}
}

// TestTwentyProcesses: builders and collectors at once on one store lose nothing.
func TestTwentyProcesses(t *testing.T) {
	root := t.TempDir()
	builds, collects := 15, 60
	if testing.Short() {
		builds, collects = 3, 10
	}
	var wg sync.WaitGroup
	for i := range 20 {
		role, n := "build", builds
		if i%7 == 0 {
			role, n = "collect", collects
		}
		wg.Go(func() {
			if out, err := process(t, root, role, n).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", role, err, tail(out))
			}
		})
	}
	wg.Wait()
	wantWhole(t, root)
}

func tail(b []byte) []byte { return b[max(0, len(b)-2000):] }

// TestKilledAtRandomMoments kills builders while a collector is at work. The store is
// whole after each, and the next build succeeds.
func TestKilledAtRandomMoments(t *testing.T) {
	root := t.TempDir()
	rounds := 50
	if testing.Short() {
		rounds = 5
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := collectLoop(root, 1); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	end := sync.OnceFunc(func() {
		close(stop)
		wg.Wait()
	})
	defer end()
	for range rounds {
		cmd := process(t, root, "build", 1000)
		out, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		// It is at work from its first line on.
		bufio.NewScanner(out).Scan()
		time.Sleep(time.Duration(rand.IntN(20_000)) * time.Microsecond)
		check(t, cmd.Process.Kill())
		_ = cmd.Wait()
		st := fsck.Store{Root: root, Blobs: local.Open(root, local.Options{}), Refs: layout.Open(root), Leases: lease.Open(root)}
		rep, err := fsck.Run(t.Context(), st, fsck.Options{})
		check(t, err)
		if !rep.Whole() {
			t.Fatalf("fsck: %+v", rep.Problems)
		}
		check(t, buildOnce(t.Context(), root, "next", "base", "next"))
	}
	end()
	wantWhole(t, root)
}

func reader(s string) io.Reader { return strings.NewReader(s) }

func digestOf(s string) digest.Digest { return digest.FromString(s) }
