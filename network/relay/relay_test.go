package relay

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bound is a socket as network.Setup reserves it.
func bound(t *testing.T, kind int) (*os.File, string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "bound")
	t.Cleanup(func() { f.Close() })
	return f, fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
}

func serve(t *testing.T, s Socket) func() {
	t.Helper()
	stop, err := Serve([]Socket{s})
	if err != nil {
		t.Fatal(err)
	}
	return stop
}

func TestTCP(t *testing.T) {
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				all, _ := io.ReadAll(c) // until the other half is closed
				_, _ = io.WriteString(c, strings.ToUpper(string(all)))
			}()
		}
	}()
	var up atomic.Bool
	up.Store(true)
	f, at := bound(t, unix.SOCK_STREAM)
	stop := serve(t, Socket{File: f, Protocol: "tcp", To: func() []netip.AddrPort {
		if !up.Load() {
			return nil
		}
		return []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort(server.Addr().String())}
	}})
	ask := func(text string) (string, error) {
		c, err := net.Dial("tcp4", at)
		if err != nil {
			return "", err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		_, werr := io.WriteString(c, text) // a reset is told once, to the first that asks
		cerr := c.(*net.TCPConn).CloseWrite()
		b, err := io.ReadAll(c)
		return string(b), errors.Join(werr, cerr, err)
	}
	for _, text := range []string{"", "hello", strings.Repeat("x", 1<<20)} {
		if got, err := ask(text); err != nil || got != strings.ToUpper(text) {
			t.Errorf("%d bytes gave %d: %v", len(text), len(got), err)
		}
	}
	up.Store(false)
	if got, err := ask("hello"); err == nil {
		t.Errorf("nobody behind it: %q without an error", got)
	}
	up.Store(true)
	// A connection that is open does not keep stop waiting, and is closed; so is one that nobody has accepted yet.
	c, err := net.Dial("tcp4", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "x")
	stop()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := bufio.NewReader(c).ReadByte(); err == nil || os.IsTimeout(err) {
		t.Errorf("the connection goes on after the end: %v", err)
	}
}

// TestEnded refuses who comes after the end, though the caller's descriptor of the socket stays open.
func TestEnded(t *testing.T) {
	f, at := bound(t, unix.SOCK_STREAM)
	serve(t, Socket{File: f, Protocol: "tcp", To: func() []netip.AddrPort { return nil }})()
	c, err := net.DialTimeout("tcp4", at, 10*time.Second)
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a connection after the end: %v", err)
	}
}

func TestUDP(t *testing.T) {
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		b := make([]byte, 100)
		for {
			n, from, err := server.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = server.WriteTo([]byte(strings.ToUpper(string(b[:n]))), from)
		}
	}()
	f, at := bound(t, unix.SOCK_DGRAM)
	stop := serve(t, Socket{File: f, Protocol: "udp", To: func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort(server.LocalAddr().String())} }})
	defer stop()
	for _, who := range []string{"one", "two"} {
		c, err := net.Dial("udp4", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		for i := range 3 {
			text := fmt.Sprint(who, i)
			_, _ = io.WriteString(c, text)
			b := make([]byte, 100)
			n, err := c.Read(b)
			if err != nil || string(b[:n]) != strings.ToUpper(text) {
				t.Errorf("%s gave %q, %v", text, b[:n], err)
			}
		}
	}
}
