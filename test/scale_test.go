package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// maxMemory is what one build may need at most, whatever it builds, in KiB.
const maxMemory = 300 << 10

// TestMain is also a program between a test and the one that the test measures: Linux counts what the parent held at the start of a child
// as the child's, and a test binary with a race detector holds much.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "measure" {
		os.Exit(measure(os.Args[2:]))
	}
	if len(os.Args) > 3 && os.Args[1] == "without" {
		os.Exit(without(os.Args[2], os.Args[3:]))
	}
	code := m.Run()
	if builtIn != "" {
		_ = os.RemoveAll(builtIn)
	}
	os.Exit(code)
}

// measure runs a program, writes the most memory that it had, in KiB, to descriptor 3 and returns its exit code.
func measure(args []string) int {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		return 127
	}
	fmt.Fprint(os.NewFile(3, "memory"), cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
	return cmd.ProcessState.ExitCode()
}

// measured builds and returns the image's ID. More memory than maxMemory is an error.
func measured(t *testing.T, bin, root string, args ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	memory, err := os.Create(filepath.Join(t.TempDir(), "memory"))
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	cmd := exec.Command(self, append([]string{"measure", bin, "--root", root, "build", "-q"}, args...)...)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000")
	cmd.ExtraFiles = []*os.File{memory}
	var message strings.Builder
	cmd.Stderr = &message
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("camada build %s: %v\n%s", strings.Join(args, " "), err, message.String())
	}
	var used int
	if _, err := fmt.Sscan(read(t, memory.Name()), &used); err != nil {
		t.Fatal(err)
	}
	t.Logf("camada build %s: %d MiB", strings.Join(args, " "), used>>10)
	if used > maxMemory {
		t.Errorf("camada build %s: %d KiB of memory, more than %d", strings.Join(args, " "), used, maxMemory)
	}
	return strings.TrimSpace(string(out))
}

// bySize is a size for each day, and one for when there is time.
func bySize(daily, full int) int {
	if long() {
		return full
	}
	return daily
}

// TestManyInstructions builds a Dockerfile of 1,000 instructions. Most of its steps make a layer, more than the kernel stacks in one
// mount.
func TestManyInstructions(t *testing.T) {
	needRoot(t)
	dir, store, bin := system(t, t.TempDir()), t.TempDir(), shipped(t)
	n := bySize(120, 1000)
	var df strings.Builder
	df.WriteString("FROM scratch\nCOPY rootfs /\n")
	sum := 0
	for i := range n {
		switch i % 3 {
		case 0:
			fmt.Fprintf(&df, "RUN echo %d > /made/%d\n", i, i)
		case 1:
			fmt.Fprintf(&df, "COPY <<E /copied/%d\n%d\nE\n", i, i)
		default:
			fmt.Fprintf(&df, "ENV E%d=%d\n", i, i)
			continue
		}
		sum += i
	}
	write(t, dir, "Dockerfile", strings.Replace(df.String(), "COPY rootfs /\n", "COPY rootfs /\nRUN mkdir /made\n", 1))
	id := measured(t, bin, store, "-t", "many", dir)
	if again := measured(t, bin, store, "-t", "many", dir); again != id {
		t.Errorf("the cached image is %s, not %s", again, id)
	}
	c := &ours{t: t, bin: bin, root: store}
	got := c.run("run", "--rm", "--network", "none", "many", "sh", "-c", "s=0; for f in /made/* /copied/*; do s=$((s+$(cat $f))); done; echo $s $E2")
	if want := fmt.Sprintf("%d 2", sum); got != want {
		t.Errorf("the container sees %q, want %q", got, want)
	}
}

// TestManyFiles builds with a context of 200,000 files, then with one of them changed.
func TestManyFiles(t *testing.T) {
	needRoot(t)
	dir, store, bin := t.TempDir(), t.TempDir(), shipped(t)
	dirs := bySize(20, 400)
	for d := range dirs {
		sub := filepath.Join(dir, fmt.Sprint("all/d", d))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		for f := range 500 {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprint("f", f)), fmt.Appendf(nil, "%d %d\n", d, f), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY all /all\nCOPY Dockerfile /\n")
	first := measured(t, bin, store, "-t", "files", dir)
	if again := measured(t, bin, store, "-t", "files", dir); again != first {
		t.Errorf("unchanged, the image is %s, not %s", again, first)
	}
	write(t, dir, "all/d7/f7", "changed\n")
	changed := measured(t, bin, store, "-t", "files", dir)
	if changed == first {
		t.Error("a changed file did not change the image")
	}
	if cold := measured(t, bin, store, "--no-cache", "-t", "files", dir); cold != changed {
		t.Errorf("without cache the image is %s, not %s", cold, changed)
	}
}

// TestSparseFile copies a file of 20 GB that has one page in it.
func TestSparseFile(t *testing.T) {
	needRoot(t)
	dir, store, bin := t.TempDir(), t.TempDir(), shipped(t)
	size := int64(bySize(1, 20)) << 30
	f, err := os.Create(filepath.Join(dir, "huge"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("here"), size/2); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "Dockerfile", "FROM scratch AS a\nCOPY huge /huge\nFROM scratch\nCOPY --from=a /huge /copied\n")
	measured(t, bin, store, "-t", "sparse", "--target", "a", dir)
	var used int64
	err = filepath.Walk(store, func(_ string, info os.FileInfo, err error) error {
		if err == nil {
			used += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if limit := size / 50; used > limit {
		t.Errorf("the store takes %d bytes on disk, more than %d", used, limit)
	}
}

// TestCrowdOfOne starts 64 builds of one Dockerfile at once: all of them make the same image.
func TestCrowdOfOne(t *testing.T) {
	needRoot(t)
	dir, store, bin := system(t, t.TempDir()), t.TempDir(), shipped(t)
	write(t, dir, "Dockerfile", "FROM scratch AS base\nCOPY rootfs /\nFROM base AS a\nRUN echo a > /a\nFROM base AS b\nRUN echo b > /b\n"+
		"FROM base\nCOPY --from=a /a /\nCOPY --from=b /b /\nRUN cat /a /b > /c\n")
	ids := make([]string, 64)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			cmd := exec.Command(bin, "--root", store, "build", "-q", "-t", fmt.Sprint("app:", i%8), dir)
			cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("build %d: %v\n%s", i, err, out)
			}
			ids[i] = string(out)
		})
	}
	wg.Wait()
	for i, id := range ids {
		if id != ids[0] {
			t.Errorf("build %d made %q, build 0 %q", i, id, ids[0])
		}
	}
	c := &ours{t: t, bin: bin, root: store}
	if got := c.run("run", "--rm", "--network", "none", "app:7", "cat", "/c"); got != "a\nb" {
		t.Errorf("the image has %q", got)
	}
	if got := c.run("fsck"); !strings.Contains(got, "no problems") {
		t.Errorf("fsck: %s", got)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes its time; left out by -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}
