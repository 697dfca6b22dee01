package local_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/content/contenttest"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/lease"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestStore(t *testing.T) {
	contenttest.Run(t, func(t *testing.T) content.Store { return local.Open(t.TempDir(), local.Options{}) })
}

// TestMain lets the test binary be a process that writes until it is killed.
func TestMain(m *testing.M) {
	root := os.Getenv("LOCAL_TEST_ROOT")
	if root == "" {
		os.Exit(m.Run())
	}
	if err := download(root); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("done")
}

// size of the blob that is downloaded.
const size = 4 << 20

func pattern() []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i>>12) ^ byte(i*7)
	}
	return b
}

// download writes the pattern in small pieces, from where it was left.
func download(root string) error {
	b := pattern()
	w, err := local.Open(root, local.Options{}).Writer(context.Background(), content.WriterOptions{Ref: "download"})
	if err != nil {
		return err
	}
	fmt.Println(w.Offset())
	for off := w.Offset(); off < size; {
		n, err := w.Write(b[off:min(off+1500, size)])
		if err != nil {
			return err
		}
		off += int64(n)
		if rand.IntN(500) == 0 {
			// Close and resume in between, so that there is a state to be behind.
			if err := w.Close(); err != nil {
				return err
			}
			if w, err = local.Open(root, local.Options{}).Writer(context.Background(), content.WriterOptions{Ref: "download"}); err != nil {
				return err
			}
		}
	}
	if _, err := w.Commit(context.Background(), size, digest.FromBytes(b)); err != nil {
		return err
	}
	// A blob of its own too: unnamed, killed at any moment.
	_, err = content.WriteBlob(context.Background(), local.Open(root, local.Options{}), b[1:])
	return err
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestKilledWriter kills a writer again and again; it goes on where it was, and
// what it commits is right.
func TestKilledWriter(t *testing.T) {
	root := t.TempDir()
	s := local.Open(root, local.Options{})
	resumed := false
	for kills := 0; ; kills++ {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "LOCAL_TEST_ROOT="+root)
		out, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		// It is at work from its first line on: so each one gets further, however slow the machine is.
		lines := bufio.NewScanner(out)
		lines.Scan()
		first := lines.Text()
		timer := time.AfterFunc(time.Duration(1+kills+rand.IntN(10))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		for lines.Scan() {
			first += "\n" + lines.Text()
		}
		err = cmd.Wait()
		timer.Stop()
		resumed = resumed || first != "" && first != "0"
		// Whatever is there under a digest is whole.
		check(t, s.Walk(t.Context(), func(i content.Info) error {
			_, err := content.ReadAll(t.Context(), s, ocispec.Descriptor{Digest: i.Digest, Size: i.Size}, 1<<30)
			return err
		}))
		// With the race detector the end of a process takes a second, and the kill comes before.
		if strings.HasSuffix(first, "\ndone") {
			break
		}
		if cmd.ProcessState.ExitCode() > 0 {
			t.Fatalf("writer: %v\n%s", err, first)
		}
	}
	if !resumed {
		t.Error("no writer went on where another one was killed")
	}
	ingests, err := s.Ingests(t.Context())
	check(t, err)
	if len(ingests) != 0 {
		t.Errorf("left: %+v", ingests)
	}
}

// files lists all regular files below root, relative.
func files(t *testing.T, root string) (all []string) {
	t.Helper()
	check(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(root, path)
			all = append(all, rel)
		}
		return err
	}))
	return all
}

func blobFile(root string, d digest.Digest) string {
	return filepath.Join(root, "blobs", string(d.Algorithm()), d.Encoded())
}

func TestFilesAndModes(t *testing.T) {
	root := t.TempDir()
	s := local.Open(root, local.Options{})
	var want []string
	for i, opts := range []content.WriterOptions{{}, {Ref: "x"}, {NoSync: true}, {Ref: "y", NoSync: true}} {
		w, err := s.Writer(t.Context(), opts)
		check(t, err)
		_, err = fmt.Fprint(w, "text", i)
		check(t, err)
		d, err := w.Commit(t.Context(), -1, "")
		check(t, err)
		mode := fs.FileMode(0o444)
		if opts.NoSync {
			mode = 0o440
		}
		fi, err := os.Stat(blobFile(root, d.Digest))
		check(t, err)
		if fi.Mode() != mode {
			t.Errorf("%+v: mode %v, want %v", opts, fi.Mode(), mode)
		}
		check(t, s.Sync(t.Context(), d.Digest))
		if fi, err = os.Stat(blobFile(root, d.Digest)); err != nil || fi.Mode() != 0o444 {
			t.Errorf("after Sync: mode %v, %v", fi.Mode(), err)
		}
		want = append(want, "blobs/sha256/"+d.Digest.Encoded())
	}
	slices.Sort(want)
	if got := files(t, root); !slices.Equal(got, want) {
		t.Errorf("files: %v, want %v", got, want)
	}
}

// TestMachineStopped: a blob that was not durable when the machine stopped is not
// believed; one that was is.
func TestMachineStopped(t *testing.T) {
	root := t.TempDir()
	s := local.Open(root, local.Options{})
	long := time.Now().AddDate(-20, 0, 0)
	put := func(text string, damage bool) digest.Digest {
		w, err := s.Writer(t.Context(), content.WriterOptions{NoSync: true})
		check(t, err)
		_, err = io.WriteString(w, text)
		check(t, err)
		d, err := w.Commit(t.Context(), -1, "")
		check(t, err)
		path := blobFile(root, d.Digest)
		if damage {
			check(t, os.Chmod(path, 0o600))
			check(t, os.WriteFile(path, make([]byte, len(text)), 0))
			check(t, os.Chmod(path, 0o440))
		}
		check(t, os.Chtimes(path, long, long))
		return d.Digest
	}
	whole, torn, torn2, torn3 := put("whole", false), put("torn", true), put("torn again", true), put("torn once more", true)
	if _, err := s.Stat(t.Context(), whole); err != nil {
		t.Errorf("Stat of the whole one: %v", err)
	}
	if fi, err := os.Stat(blobFile(root, whole)); err != nil || fi.Mode() != 0o444 {
		t.Errorf("the whole one is not durable after it was verified: %v, %v", fi.Mode(), err)
	}
	if _, err := s.Stat(t.Context(), torn); !errdefs.IsNotFound(err) {
		t.Errorf("Stat of the torn one: %v", err)
	}
	if _, err := s.Open(t.Context(), ocispec.Descriptor{Digest: torn2, Size: -1}); !errdefs.IsNotFound(err) {
		t.Errorf("Open of the torn one: %v", err)
	}
	// Writing it again puts it right.
	_, err := content.WriteBlob(t.Context(), s, []byte("torn once more"))
	check(t, err)
	got, err := content.ReadAll(t.Context(), s, ocispec.Descriptor{Digest: torn3, Size: -1}, 100)
	if err != nil || string(got) != "torn once more" {
		t.Errorf("written again: %q, %v", got, err)
	}
}

// TestDamagedBlobIsReplaced: a file of another size is not taken for the blob.
func TestDamagedBlobIsReplaced(t *testing.T) {
	for _, ref := range []string{"", "named"} {
		root := t.TempDir()
		s := local.Open(root, local.Options{})
		d, err := content.WriteBlob(t.Context(), s, []byte("good"))
		check(t, err)
		check(t, os.Chmod(blobFile(root, d.Digest), 0o644))
		check(t, os.WriteFile(blobFile(root, d.Digest), []byte("g"), 0))
		check(t, os.Chmod(blobFile(root, d.Digest), 0o444))
		if _, err := s.Open(t.Context(), d); !errdefs.IsCorrupt(err) {
			t.Errorf("Open of the damaged one: %v", err)
		}
		w, err := s.Writer(t.Context(), content.WriterOptions{Ref: ref})
		check(t, err)
		_, err = io.WriteString(w, "good")
		check(t, err)
		_, err = w.Commit(t.Context(), 4, d.Digest)
		check(t, err)
		got, err := content.ReadAll(t.Context(), s, d, 100)
		if err != nil || string(got) != "good" {
			t.Errorf("written again: %q, %v", got, err)
		}
		if all := files(t, root); len(all) != 1 {
			t.Errorf("files: %v", all)
		}
	}
}

// TestUntrustedState: a state file that is torn or lies costs a rehash, no more.
func TestUntrustedState(t *testing.T) {
	for _, state := range []string{"", "{", `{"algorithm":"sha256","offset":3,"hash":"AAAA"}`, `{"algorithm":"sha256","boot":"other","offset":3}`, `{"offset":99999}`} {
		root := t.TempDir()
		s := local.Open(root, local.Options{})
		w, err := s.Writer(t.Context(), content.WriterOptions{Ref: "x"})
		check(t, err)
		_, err = io.WriteString(w, "hello ")
		check(t, err)
		check(t, w.Close())
		found, err := filepath.Glob(filepath.Join(root, "ingest/*/state"))
		if err != nil || len(found) != 1 {
			t.Fatalf("state files: %v, %v", found, err)
		}
		check(t, os.WriteFile(found[0], []byte(state), 0o600))
		w, err = s.Writer(t.Context(), content.WriterOptions{Ref: "x"})
		check(t, err)
		_, err = io.WriteString(w, "world")
		check(t, err)
		_, err = w.Commit(t.Context(), 11, digest.FromString("hello world"))
		check(t, err)
	}
}

// recorder is a Pinner that remembers, and shows what is there when Pin is called.
type recorder struct {
	pinned []lease.Resource
	err    error
}

func (r *recorder) Pin(_ context.Context, rs ...lease.Resource) error {
	r.pinned = append(r.pinned, rs...)
	return r.err
}

func TestPinsWhatIsLookedAt(t *testing.T) {
	root := t.TempDir()
	d, err := content.WriteBlob(t.Context(), local.Open(root, local.Options{}), []byte("x"))
	check(t, err)
	for name, do := range map[string]func(*local.Store) error{
		"Open": func(s *local.Store) error {
			r, err := s.Open(t.Context(), d)
			if err == nil {
				r.Close()
			}
			return err
		},
		"Stat":   func(s *local.Store) error { _, err := s.Stat(t.Context(), d.Digest); return err },
		"Sync":   func(s *local.Store) error { return s.Sync(t.Context(), d.Digest) },
		"Commit": func(s *local.Store) error { _, err := content.WriteBlob(t.Context(), s, []byte("x")); return err },
	} {
		r := &recorder{}
		check(t, do(local.Open(root, local.Options{Pinner: r})))
		if len(r.pinned) != 1 || r.pinned[0] != lease.Blob(d.Digest) {
			t.Errorf("%s pinned %v", name, r.pinned)
		}
		r.err = errors.New("no room")
		if err := do(local.Open(root, local.Options{Pinner: r})); !errors.Is(err, r.err) {
			t.Errorf("%s with a Pin that fails: %v", name, err)
		}
	}
}
