package attach_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/container/attach"
	"github.com/camada/camada/errdefs"
)

func TestKeys(t *testing.T) {
	for text, want := range map[string]string{
		"": "\x10\x11", "ctrl-a": "\x01", "ctrl-z,q": "\x1aq", "ctrl-@,ctrl-[,ctrl-_": "\x00\x1b\x1f", "a,DEL": "a\x7f",
	} {
		if got, err := attach.Keys(text); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, bad := range []string{"ctrl-", "ctrl-A", "ab", "a,,b", "ctrl-ab"} {
		if _, err := attach.Keys(bad); !errdefs.IsInvalid(err) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

type sink struct {
	bytes.Buffer
	closed chan struct{}
}

func (s *sink) Close() error {
	close(s.closed)
	return nil
}

// TestTwo attaches twice: both see the output, the input of both arrives, and both are told the end.
func TestTwo(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("long", 40), "attach")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	hub := attach.NewHub()
	if err := hub.Listen(path); err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v", st, err)
	}
	in := &sink{closed: make(chan struct{})}
	sizes := make(chan [2]int, 1)
	hub.Begin(in, func(c, r int) { sizes <- [2]int{c, r} })
	first, err := attach.Dial(path, attach.Hello{Stdin: true, Stdout: true, Stderr: true, Once: true})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, theirs, err := attach.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	conn, err := net.FileConn(theirs)
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	hub.Add(conn, attach.Hello{Stderr: true})
	if err := first.Resize(300, 70); err != nil {
		t.Fatal(err)
	}
	if got := <-sizes; got != [2]int{300, 70} {
		t.Errorf("resized to %v", got)
	}
	if err := first.SendInput(strings.NewReader("typed\x10!"), []byte{0x10, 0x11}); err != nil {
		t.Fatal(err)
	}
	<-in.closed
	if in.String() != "typed\x10!" {
		t.Errorf("the input was %q", in.String())
	}
	big := strings.Repeat("x", 200<<10)
	go func() {
		_, _ = io.WriteString(hub.Output(attach.Stdout), big)
		_, _ = io.WriteString(hub.Output(attach.Stderr), "err")
		hub.Begin(nil, nil)
		hub.End(attach.End{Code: 7})
	}()
	var out, errs, only bytes.Buffer
	if end, err := first.Receive(&out, &errs); err != nil || end.Code != 7 || out.String() != big || errs.String() != "err" {
		t.Errorf("%+v, %v; %d bytes and %q", end, err, out.Len(), errs.String())
	}
	if end, err := second.Receive(&only, &only); err != nil || end.Code != 7 || only.String() != "err" {
		t.Errorf("%+v, %v; %q", end, err, only.String())
	}
}

func TestDetach(t *testing.T) {
	conn, theirs, err := attach.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	defer theirs.Close()
	if err := conn.SendInput(io.MultiReader(strings.NewReader("a\x10"), strings.NewReader("\x11b")), []byte{0x10, 0x11}); !errors.Is(err, attach.ErrDetached) {
		t.Errorf("%v", err)
	}
	buf := make([]byte, 100)
	if n, err := theirs.Read(buf); err != nil || string(buf[:n]) != "\x02\x00\x00\x00\x01a" {
		t.Errorf("sent %q, %v", buf[:n], err)
	}
}

// TestLost tells who goes from who is gone, and a size that comes before the process.
func TestLost(t *testing.T) {
	hub := attach.NewHub()
	lost := make(chan bool, 2)
	hub.Lost(func() { lost <- true })
	join := func() *attach.Conn {
		conn, theirs, err := attach.Pair()
		if err != nil {
			t.Fatal(err)
		}
		nc, err := net.FileConn(theirs)
		theirs.Close()
		if err != nil {
			t.Fatal(err)
		}
		hub.Add(nc, attach.Hello{Stdin: true})
		return conn
	}
	leaver, killed := join(), join()
	in := &sink{closed: make(chan struct{})}
	sizes := make(chan [2]int, 2)
	if err := leaver.Resize(80, 25); err != nil {
		t.Fatal(err)
	}
	if err := leaver.SendInput(strings.NewReader("x"), nil); err != nil { // passed on after the size
		t.Fatal(err)
	}
	if err := leaver.Leave(); err != nil {
		t.Fatal(err)
	}
	leaver.Close()
	killed.Close()
	<-lost
	hub.Begin(in, func(c, r int) { sizes <- [2]int{c, r} })
	if got := <-sizes; got != [2]int{80, 25} {
		t.Errorf("the size is %v", got)
	}
	select {
	case <-lost:
		t.Error("one who left counts as lost")
	case <-time.After(50 * time.Millisecond):
	}
}

func TestNobody(t *testing.T) {
	if _, err := attach.Dial(filepath.Join(t.TempDir(), "attach"), attach.Hello{}); !errdefs.IsConflict(err) {
		t.Errorf("%v", err)
	}
}

// FuzzHub sends anything to a hub: it must not fall, nor give the container more than was sent.
func FuzzHub(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00\x01a\x03\x00\x00\x00\x04\x00\x50\x00\x18"))
	f.Add([]byte("\x02\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		hub := attach.NewHub()
		hub.Begin(&bounded{left: len(b)}, func(c, r int) {
			if c < 0 || r < 0 || c >= 1<<16 || r >= 1<<16 {
				panic("a size out of bounds")
			}
		})
		ours, theirs := net.Pipe()
		hub.Add(theirs, attach.Hello{Stdin: true})
		_, _ = ours.Write(b)
		ours.Close()
	})
}

type bounded struct{ left int }

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		panic("more input than was sent")
	}
	return len(p), nil
}

func (b *bounded) Close() error { return nil }
