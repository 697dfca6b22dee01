package test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// wire is what lies between a client and a registry, and does harm.
type wire struct {
	host string
	to   string
	// cut ends a connection after so many bytes in one direction, flip changes the byte there; 0 does not.
	cut, flip atomic.Int64
	// cuts is how many were ended.
	cuts atomic.Int64
}

// newWire lays one to a host.
func newWire(t *testing.T, to string) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{host: ln.Addr().String(), to: to}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { w.carry(in) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		all.Wait()
	})
	return w
}

// carry passes on a connection until one of its ends closes it, or it is cut.
func (w *wire) carry(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer out.Close()
	var both sync.WaitGroup
	pass := func(to, from net.Conn) {
		defer to.(*net.TCPConn).CloseWrite()
		buf, n := make([]byte, 16<<10), int64(0)
		for {
			cut, flip := w.cut.Load(), w.flip.Load()
			room := int64(len(buf))
			if cut > 0 {
				room = min(room, cut-n)
			}
			m, err := from.Read(buf[:room])
			if flip > n && flip <= n+int64(m) {
				buf[flip-n-1] ^= 1
			}
			n += int64(m)
			if _, werr := to.Write(buf[:m]); werr != nil || err != nil {
				return
			}
			if cut > 0 && n >= cut {
				w.cuts.Add(1)
				in.Close()
				out.Close()
				return
			}
		}
	}
	both.Go(func() { pass(out, in) })
	both.Go(func() { pass(in, out) })
	both.Wait()
}

// noisyImage builds an image with a layer of n bytes that nothing makes smaller.
func noisyImage(t *testing.T, c *ours, n int) {
	t.Helper()
	dir := t.TempDir()
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{9}).Read(data)
	for name, text := range map[string][]byte{"Dockerfile": []byte("FROM scratch\nCOPY noise /\n"), "noise": data} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c.run("build", "-q", "-t", "noise", dir)
}

// settled checks that a store is whole, and that nothing is in it after gc that nothing explains.
func settled(t *testing.T, c *ours, when string) {
	t.Helper()
	if out := c.run("fsck"); !strings.Contains(out, "no problems") {
		t.Errorf("%s: %s", when, out)
	}
	c.run("gc", "--keep", "0s", "--keep-entries", "0", "--cache-keep", "0s")
	for _, odd := range account(t, c.root) {
		// A fetch that was interrupted may go on for a week.
		if !strings.HasPrefix(odd, "ingest/r-") {
			t.Errorf("%s there is %s", when, odd)
		}
	}
}

// scrubbed lets a registry read all that it has.
func scrubbed(t *testing.T, host, when string) {
	t.Helper()
	var report struct {
		Problems int
		Found    []map[string]string
	}
	ask(t, "http://"+host+"/v2/_camada/registry/scrub", &report)
	if report.Problems != 0 {
		t.Errorf("%s: the registry has problems: %v", when, report.Found)
	}
}

// TestCutWire ends each connection after 64 KiB in either direction: a push and a pull go on each time, and nothing is sent twice.
func TestCutWire(t *testing.T) {
	bin := shipped(t)
	s := startServe(t, bin, t.TempDir(), "127.0.0.1:0")
	w := newWire(t, s.host)
	size := 1 << 20
	if os.Getenv("CAMADA_TEST_LONG") != "" {
		size = 32 << 20
	}
	first, last := &ours{t: t, bin: bin, root: filepath.Join(t.TempDir(), "first")}, &ours{t: t, bin: bin, root: filepath.Join(t.TempDir(), "last")}
	noisyImage(t, first, size)
	name := w.host + "/noise:1"
	first.run("tag", "noise", name)
	w.cut.Store(64 << 10)
	first.run("push", "-q", name)
	pushed := w.cuts.Load()
	if least := int64(size / (64 << 10)); pushed < least || pushed > 2*least+10 {
		t.Errorf("a push of %d bytes was cut %d times", size, pushed)
	}
	last.run("pull", "-q", name)
	if n := w.cuts.Load() - pushed; n < int64(size/(64<<10)) {
		t.Errorf("a pull of %d bytes was cut %d times", size, n)
	}
	settled(t, first, "after a push")
	settled(t, last, "after a pull")
	scrubbed(t, s.host, "after a push")
}

// TestWrongWire changes a byte on the way: neither side takes it, both say so, and once the wire is right both do what they could not.
func TestWrongWire(t *testing.T) {
	bin := shipped(t)
	s := startServe(t, bin, t.TempDir(), "127.0.0.1:0")
	w := newWire(t, s.host)
	first, last := &ours{t: t, bin: bin, root: filepath.Join(t.TempDir(), "first")}, &ours{t: t, bin: bin, root: filepath.Join(t.TempDir(), "last")}
	noisyImage(t, first, 3<<20)
	name := w.host + "/noise:1"
	first.run("tag", "noise", name)
	fails := func(c *ours, exit int, says string, args ...string) {
		t.Helper()
		w.flip.Store(1 << 20)
		if _, said, code := c.talk(args...); code != exit || !strings.Contains(said, says) {
			t.Errorf("%v: exit code %d: %s", args, code, said)
		}
		w.flip.Store(0)
		settled(t, c, fmt.Sprintf("after %v", args))
	}
	fails(first, 1, "digest", "push", "-q", name)
	if _, _, code := last.talk("pull", "-q", name); code != 1 {
		t.Errorf("an image that was not pushed whole was pulled: exit code %d", code)
	}
	first.run("push", "-q", name)
	fails(last, 3, "sha256:", "pull", "-q", name)
	last.run("pull", "-q", name)
	settled(t, last, "after a pull")
	scrubbed(t, s.host, "after a push")
}

// TestFullDisks fills the disk of the registry and that of a client: both say so, and go on when there is room.
func TestFullDisks(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	bin := shipped(t)
	small := func() (dir string, grow func()) {
		dir = t.TempDir()
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=12m"); err != nil {
			t.Skipf("no small disk: %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		return dir, func() {
			if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=200m"); err != nil {
				t.Fatal(err)
			}
		}
	}
	data, growData := small()
	store, growStore := small()
	s := startServe(t, bin, data, "127.0.0.1:0")
	first, last := &ours{t: t, bin: bin, root: filepath.Join(t.TempDir(), "first")}, &ours{t: t, bin: bin, root: store}
	noisyImage(t, first, 20<<20)
	name := s.host + "/noise:1"
	first.run("tag", "noise", name)
	if _, said, code := first.talk("push", "-q", name); code != 1 || !strings.Contains(said, "507 Insufficient Storage") {
		t.Errorf("a push to a full registry: exit code %d: %s", code, said)
	}
	scrubbed(t, s.host, "full")
	settled(t, first, "after a push to a full registry")
	growData()
	first.run("push", "-q", name)
	scrubbed(t, s.host, "with room again")

	if _, said, code := last.talk("pull", "-q", name); code != 1 || !strings.Contains(strings.ToLower(said), "no space left on device") {
		t.Errorf("a pull to a full disk: exit code %d: %s", code, said)
	}
	settled(t, last, "full")
	growStore()
	last.run("pull", "-q", name)
	settled(t, last, "with room again")
}
