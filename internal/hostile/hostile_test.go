package hostile_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/hostile"
	"golang.org/x/sys/unix"
)

// readIn reads a file of a tree.
func readIn(t *testing.T, dir, name string) (string, error) {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	f, err := hostile.FS(d).Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), nil
}

// TestOnlyRegularFilesAreOpened has other things where a file is looked for. An open of the pipe would wait for ever.
func TestOnlyRegularFilesAreOpened(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	for _, f := range []string{outside, filepath.Join(dir, "file")} {
		if err := os.WriteFile(f, []byte(filepath.Base(f)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"in": "/file", "out": outside, "up": strings.Repeat("../", 30) + outside, "loop": "loop", "magic": "/proc/self/root/" + outside} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(unix.Mkfifo(filepath.Join(dir, "pipe"), 0o666), os.Mkdir(filepath.Join(dir, "dir"), 0o755)); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := unix.Mknod(filepath.Join(dir, "device"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"file", "in"} {
		if text, err := readIn(t, dir, name); text != "file" || err != nil {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	for _, name := range []string{"pipe", "dir"} {
		if _, err := readIn(t, dir, name); !errdefs.IsInvalid(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := readIn(t, dir, "device"); err == nil || os.Getuid() == 0 && !errdefs.IsInvalid(err) {
		t.Errorf("a device: %v", err)
	}
	for _, name := range []string{"out", "up", "magic", "none"} {
		if _, err := readIn(t, dir, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"loop", "../x", "/file"} {
		if _, err := readIn(t, dir, name); err == nil {
			t.Errorf("%s was opened", name)
		}
	}
}

func TestEach(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a/b/c"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	var got []string
	note := func(_ int, name string, _ *unix.Stat_t) error { got = append(got, name); return nil }
	if err := hostile.Each(filepath.Join(dir, "link"), note); err != nil {
		t.Fatal(err)
	}
	if err := hostile.Each(filepath.Join(dir, "a/b/c"), note); err != nil {
		t.Fatal(err)
	}
	if want := "a b c c"; strings.Join(got, " ") != want {
		t.Errorf("visited %q, want %s", got, want)
	}
	if err := hostile.Each(filepath.Join(dir, "none"), note); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
	mine := errors.New("mine")
	if err := hostile.Each(dir, func(int, string, *unix.Stat_t) error { return mine }); !errors.Is(err, mine) {
		t.Errorf("an error of the caller: %v", err)
	}
}

// TestEachWhileOthersSwap changes what is in a tree in which somebody exchanges a directory and a link to the outside all the
// time. The same walk by path names, which shows that the attack is one, changes what is outside.
func TestEachWhileOthersSwap(t *testing.T) {
	const mark = 0o751
	run := func(walk func(top string) error) (hit bool) {
		outside, top := t.TempDir(), t.TempDir()
		victim := filepath.Join(outside, "victim")
		for _, f := range []string{victim, filepath.Join(top, "d/victim")} {
			if err := errors.Join(os.MkdirAll(filepath.Dir(f), 0o755), os.WriteFile(f, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(outside, filepath.Join(top, "l")); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), raceTime())
		defer stop()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for ctx.Err() == nil {
				_ = unix.Renameat2(unix.AT_FDCWD, top+"/d", unix.AT_FDCWD, top+"/l", unix.RENAME_EXCHANGE)
			}
		}()
		for ctx.Err() == nil && !hit {
			_ = walk(top)
			st, err := os.Stat(victim)
			hit = err == nil && st.Mode().Perm() == mark
		}
		stop()
		<-done
		return hit
	}
	if run(func(top string) error {
		return hostile.Each(top, func(dir int, name string, st *unix.Stat_t) error {
			if st.Mode&unix.S_IFMT != unix.S_IFREG {
				return nil
			}
			return unix.Fchmodat(dir, name, mark, 0)
		})
	}) {
		t.Error("what is outside was changed")
	}
	if !run(func(top string) error {
		return filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil //nolint:nilerr // somebody else was here
			}
			return os.Chmod(name, mark)
		})
	}) {
		t.Log("path names were not caught in the time that there was")
	}
}

// raceTime is how long a test races against somebody.
func raceTime() time.Duration {
	if os.Getenv("CAMADA_TEST_LONG") != "" {
		return 30 * time.Second
	}
	return time.Second
}
