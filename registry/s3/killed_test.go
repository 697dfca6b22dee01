package s3_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/peers"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/s3"
	"github.com/opencontainers/go-digest"
)

// childEnv has the options of a replica that a test starts and kills.
const childEnv = "CAMADA_TEST_S3_CHILD"

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		if err := child(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child is a replica that uploads until it is killed, and tells what was acknowledged.
func child(text string) error {
	var o s3.Options
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	ctx, cancel := onStdin()
	defer cancel()
	s, err := s3.Open(ctx, o)
	if err != nil {
		return err
	}
	up, err := s.NewUpload(ctx, "r", digest.SHA256)
	if err != nil {
		return err
	}
	fmt.Println("id", up.ID())
	data := random(64<<20, 5)
	for at := 0; at < len(data); {
		n := min(len(data)-at, 3<<20)
		if _, err := up.Append(ctx, strings.NewReader(string(data[at:at+n]))); err != nil {
			return err
		}
		at += n
		fmt.Println("size", at)
	}
	return nil
}

// testKilled: a replica is killed under upload; another one goes on from what was acknowledged, or more.
func testKilled(t *testing.T, srv *server) {
	o := srv.options()
	o.Lease = time.Second
	s := open(t, o)
	data := random(64<<20, 5)
	rounds := 3
	if os.Getenv("CAMADA_TEST_LONG") != "" {
		rounds = 30
	}
	for range rounds {
		id, size := killChild(t, o)
		if id == "" {
			continue // it was killed before it began
		}
		up := openWhenFree(t, s, id)
		at := up.Size()
		if at < size || at > int64(len(data)) {
			t.Fatalf("%d bytes were acknowledged, %d are there", size, at)
		}
		end := min(at+4<<20, int64(len(data)))
		if _, err := up.Append(t.Context(), strings.NewReader(string(data[at:end]))); err != nil {
			t.Fatal(err)
		}
		if _, err := up.Commit(t.Context(), digest.FromBytes(data[:end])); err != nil {
			t.Fatal(err)
		}
		wantBlob(t, s, "r", data[:end])
	}
	sound(t, s)
	// Nothing remains of it all.
	if _, err := s.Sweep(t.Context(), registry.SweepOptions{Grace: time.Millisecond, Uploads: time.Nanosecond}); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Scrub(t.Context(), func(registry.Problem) error { return nil }); err != nil || r.Blobs != 0 {
		t.Errorf("after a sweep: %+v, %v", r, err)
	}
}

// killChild starts a replica, kills it at a random moment, and returns its upload and what was acknowledged last.
func killChild(t *testing.T, o s3.Options) (id string, size int64) {
	t.Helper()
	text, err := json.Marshal(struct {
		Endpoint, Region, Bucket, Prefix, AccessKey, SecretKey string
		Lease                                                  time.Duration
	}{o.Endpoint, o.Region, o.Bucket, o.Prefix, o.AccessKey, o.SecretKey, o.Lease})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, stop := bufio.NewScanner(out), rand.IntN(6)
	for n := 0; lines.Scan(); n++ {
		if text, ok := strings.CutPrefix(lines.Text(), "id "); ok {
			id = text
		} else if _, err := fmt.Sscanf(lines.Text(), "size %d", &size); err != nil {
			t.Error(err)
		}
		if n == stop {
			time.Sleep(rand.N(30 * time.Millisecond)) // into the midst of the next one
			_ = cmd.Process.Kill()
		}
	}
	_ = cmd.Wait()
	return id, size
}

// openWhenFree opens an upload when nobody has it any more.
func openWhenFree(t *testing.T, s *s3.Store, id string) registry.Upload {
	t.Helper()
	for {
		up, err := s.OpenUpload(t.Context(), "r", id)
		if err == nil {
			return up
		}
		if !errdefs.IsUnavailable(err) {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestFull: an object store without room says so, nothing is half done, and what a sweep frees can be used again.
func TestFull(t *testing.T) {
	p := peers.Need(t, "versitygw")
	if err := inMemory(t, p.Path("versitygw"), "40m"); err != nil {
		t.Skip("needs a small file system: ", err)
	}
	srv := &server{o: p.StartVersity()}
	o := srv.options()
	o.Tries, o.Lease = 2, 2*time.Second
	s := open(t, o)
	if err := push(t.Context(), t, s, "kept", 1, "x"); err != nil {
		t.Fatal(err)
	}
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		up, e := s.NewUpload(t.Context(), "r", digest.SHA256)
		if e != nil {
			err = e
			break
		}
		data := random(6<<20, n)
		if _, err = up.Append(t.Context(), strings.NewReader(string(data))); err == nil {
			_, err = up.Commit(t.Context(), digest.FromBytes(data))
		}
		if err != nil {
			_ = up.Close()
		}
	}
	if !errdefs.IsUnavailable(err) || n < 3 {
		t.Fatalf("after %d blobs: %v", n, err)
	}
	sound(t, s)
	if _, err := s.Manifest(t.Context(), "kept", func() digest.Digest { m, _, _ := image(t, 1); return m.Descriptor.Digest }()); err != nil {
		t.Error(err)
	}
	time.Sleep(o.Lease) // an upload that could not be closed is held so long
	r, err := s.Sweep(t.Context(), registry.SweepOptions{Grace: time.Millisecond, Uploads: time.Nanosecond})
	if err != nil || r.Blobs < 3 {
		t.Fatalf("the sweep of a full store: %+v, %v", r, err)
	}
	if err := push(t.Context(), t, s, "r", 2, "y"); err != nil {
		t.Error(err)
	}
	sound(t, s)
}

// inMemory makes a directory that is a file system in memory.
func inMemory(t *testing.T, dir, size string) error {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		return err
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return nil
}

// onStdin is a context that ends with the standard input: whoever started this process has ended.
func onStdin() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx, cancel
}
