package local_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/local"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

const childDir = "CAMADA_TEST_REGISTRY_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child pushes until it is killed, and says what was acknowledged.
func child(dir string) error {
	ctx := context.Background()
	s, err := local.Open(ctx, dir, local.Options{})
	if err != nil {
		return err
	}
	var out sync.Mutex
	say := func(format string, args ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	say("open")
	var wg sync.WaitGroup
	var failed error
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				repository := fmt.Sprintf("r%d/x", (w+i)%3)
				tag := strings.ToLower(rand.Text())
				m, err := pushImage(ctx, s, repository, tag, []int{100, 20_000, 80_000, 300_000}[(w+i)%4])
				if err != nil {
					failed = err
					return
				}
				say("image %s %s %s", repository, tag, m)
				if i%5 == 0 {
					if err := s.MoveTag(ctx, repository, tag, registry.Move{}); err != nil {
						failed = err
						return
					}
					say("untag %s %s %s", repository, tag, m)
				}
				u, err := s.NewUpload(ctx, repository, digest.SHA256)
				if err == nil {
					_, err = u.Append(ctx, bytes.NewReader(make([]byte, 1000*(i%200))))
				}
				if err == nil {
					err = u.Close()
				}
				if err != nil {
					failed = err
					return
				}
				say("upload %s %s %d", repository, u.ID(), 1000*(i%200))
			}
		})
	}
	wg.Go(func() {
		for {
			if _, err := s.Sweep(ctx, registry.SweepOptions{Grace: 10 * time.Second}); err != nil {
				failed = err
				return
			}
		}
	})
	wg.Wait()
	return failed
}

// pushImage stores an image with a layer of n random bytes.
func pushImage(ctx context.Context, s *local.Store, repository, tag string, n int) (digest.Digest, error) {
	layer := make([]byte, n)
	rand.Read(layer)
	config := fmt.Appendf(nil, `{"layer":%q}`, digest.FromBytes(layer))
	for _, b := range [][]byte{layer, config} {
		if err := s.PutBlob(ctx, repository, ocispec.Descriptor{Digest: digest.FromBytes(b), Size: int64(len(b))}, bytes.NewReader(b)); err != nil {
			return "", err
		}
	}
	doc := fmt.Appendf(nil, `{"schemaVersion":2,"config":{"digest":%q,"size":%d},"layers":[{"digest":%q,"size":%d}]}`,
		digest.FromBytes(config), len(config), digest.FromBytes(layer), n)
	m, err := registry.ParseManifest(ocispec.MediaTypeImageManifest, doc, digest.SHA256)
	if err != nil {
		return "", err
	}
	return m.Descriptor.Digest, s.PutManifest(ctx, repository, m, registry.PutOptions{Tags: []string{tag}})
}

// wantImage checks that an image is there, byte by byte.
func wantImage(t *testing.T, s *local.Store, repository string, d digest.Digest) {
	t.Helper()
	m, err := s.Manifest(t.Context(), repository, d)
	if err != nil {
		t.Fatal(err)
	}
	m, err = registry.ParseManifest(m.Descriptor.MediaType, m.Data, digest.SHA256)
	if err != nil || m.Descriptor.Digest != d {
		t.Fatalf("manifest %s: %v", d, err)
	}
	for _, r := range m.Requires {
		rd, err := s.OpenBlob(t.Context(), repository, r.Digest)
		if err != nil {
			t.Fatal(err)
		}
		v := r.Digest.Verifier()
		_, err = io.Copy(v, rd)
		rd.Close()
		if err != nil || !v.Verified() {
			t.Fatalf("blob %s has other bytes: %v", r.Digest, err)
		}
	}
}

// TestKilled: whatever a killed process had acknowledged is there, whole, and nothing else is left after a sweep.
func TestKilled(t *testing.T) {
	rounds := 5
	if os.Getenv("CAMADA_TEST_LONG") != "" {
		rounds = 100
	}
	dir := t.TempDir()
	images, untagged := map[string]digest.Digest{}, map[string]bool{}
	for range rounds {
		uploads := map[string]int64{}
		for _, line := range killed(t, dir, time.Duration(100+mrand.IntN(500))*time.Millisecond) {
			var what, repository, name, value string
			if n, _ := fmt.Sscan(line, &what, &repository, &name, &value); n != 4 {
				continue
			}
			switch what {
			case "image":
				images[repository+" "+name] = digest.Digest(value)
			case "untag":
				untagged[repository+" "+name] = true
			case "upload":
				var size int64
				fmt.Sscan(value, &size)
				uploads[repository+" "+name] = size
			}
		}
		lookAt(t, dir, images, untagged, uploads)
	}
	if len(images) == 0 {
		t.Error("nothing was pushed")
	}
}

// killed runs a child for a time after it opened the registry, and returns what it said.
func killed(t *testing.T, dir string, after time.Duration) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	if first, err := r.ReadString('\n'); first != "open\n" {
		cmd.Wait()
		t.Fatalf("the child said %q, %v: %s", first, err, &stderr)
	}
	timer := time.AfterFunc(after, func() { cmd.Process.Kill() })
	defer timer.Stop()
	var lines []string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			break // the last line may be torn
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	cmd.Wait()
	if stderr.Len() > 0 {
		t.Fatalf("the child failed: %s", &stderr)
	}
	return lines
}

func lookAt(t *testing.T, dir string, images map[string]digest.Digest, untagged map[string]bool, uploads map[string]int64) {
	t.Helper()
	s := open(t, dir)
	defer s.Close()
	for name, size := range uploads {
		repository, id, _ := strings.Cut(name, " ")
		u, err := s.OpenUpload(t.Context(), repository, id)
		if err != nil {
			t.Fatalf("an upload of %d bytes: %v", size, err)
		}
		if u.Size() != size {
			t.Errorf("an upload has %d bytes, want %d", u.Size(), size)
		}
		u.Close()
	}
	all := func() {
		t.Helper()
		for name, d := range images {
			repository, tag, _ := strings.Cut(name, " ")
			wantImage(t, s, repository, d)
			now, err := s.Tag(t.Context(), repository, tag)
			if untagged[name] && !errdefs.IsNotFound(err) {
				t.Errorf("tag %s was removed and is there: %v", tag, err)
			}
			// The tag of the last moment may be removed without that this was said.
			if !untagged[name] && err != nil && !errdefs.IsNotFound(err) || err == nil && now.Descriptor.Digest != d {
				t.Errorf("tag %s: %v, %v", tag, now, err)
			}
			if log, err := s.TagLog(t.Context(), repository, tag); err != nil || !untagged[name] && len(log) == 1 && now.Descriptor.Digest != d {
				t.Errorf("the log of tag %s: %v, %v", tag, log, err)
			}
		}
	}
	all()
	_, err := s.Sweep(t.Context(), registry.SweepOptions{Grace: time.Nanosecond, Uploads: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	all()
	if _, err := s.Scrub(t.Context(), func(p registry.Problem) error { return fmt.Errorf("%+v", p) }); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "uploads/*")); err != nil || len(left) != 0 {
		t.Errorf("uploads after a sweep: %v, %v", left, err)
	}
}

// TestFullDisk: a full disk refuses pushes, keeps what was acknowledged, and lets go of what is deleted.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=40m"); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s, err := local.Open(t.Context(), filepath.Join(dir, "registry"), local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if s != nil {
			s.Close()
		}
	}()
	for round := range 3 {
		images := map[string]digest.Digest{}
		var full error
		for i := 0; full == nil; i++ {
			tag := fmt.Sprintf("t%d-%d", round, i)
			d, err := pushImage(t.Context(), s, "a", tag, []int{20_000, 1_000_000}[(i/4)%2])
			if err == nil {
				images[tag] = d
			}
			full = err
		}
		if !errdefs.IsUnavailable(full) || !errors.Is(full, unix.ENOSPC) {
			t.Errorf("a push to a full disk: %v", full)
		}
		if len(images) < 10 {
			t.Errorf("round %d: only %d images had room", round, len(images))
		}
		if round == 1 {
			s.Close()
			if s, err = local.Open(t.Context(), filepath.Join(dir, "registry"), local.Options{}); err != nil {
				t.Fatal(err)
			}
		}
		for _, d := range images {
			wantImage(t, s, "a", d)
			if err := s.DeleteManifest(t.Context(), "a", d, registry.Mover{}); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if _, err := s.Sweep(t.Context(), registry.SweepOptions{Grace: time.Nanosecond}); err != nil {
				t.Fatal(err)
			}
		}
	}
}
