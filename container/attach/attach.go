// Package attach joins people and the streams of a container that another process looks after.
//
// The process that looks after the container has a Hub; it listens on a socket that only the container's owner may open:
//
//	hub := attach.NewHub()
//	err := hub.Listen(filepath.Join(dir, "attach"))
//	hub.Begin(stdin, resize)             // a process runs
//	io.Copy(hub.Output(attach.Stdout), r)
//	hub.End(attach.End{Code: code})      // all that are attached are told
//
// Whoever attaches has a Conn:
//
//	c, err := attach.Dial(path, attach.Hello{Stdin: true, Stdout: true, Stderr: true})
//	go c.SendInput(os.Stdin, keys)
//	end, err := c.Receive(os.Stdout, os.Stderr)
package attach

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/camada/camada/errdefs"
)

// Hello is what a client wants.
type Hello struct {
	Stdin  bool `json:"stdin,omitempty"`
	Stdout bool `json:"stdout,omitempty"`
	Stderr bool `json:"stderr,omitempty"`
	// Once ends the container's input with the client's.
	Once bool `json:"once,omitempty"`
}

// End is how the process ended.
type End struct {
	Code  int    `json:"code"`
	Error string `json:"error,omitempty"`
}

// Stream is an output of a container.
type Stream byte

// The outputs.
const (
	Stdout = Stream(frameStdout)
	Stderr = Stream(frameStderr)
)

// maxClients may be attached at once.
const maxClients = 64

// Hub passes a container's streams to all that are attached. Output waits for each of them, as a terminal lets a program wait.
type Hub struct {
	mu       sync.Mutex
	clients  map[*client]bool
	stdin    io.WriteCloser
	resize   func(columns, rows int)
	size     [2]int // what was asked for before there was a process
	lost     func()
	gone     bool // a client was lost before that was asked for
	listener *net.UnixListener
	name     string
}

type client struct {
	conn  net.Conn
	hello Hello
	write sync.Mutex
}

// NewHub makes a hub with nobody attached.
func NewHub() *Hub { return &Hub{clients: map[*client]bool{}} }

// Listen takes connections on a socket. What is there under its name goes: it was left by a process that was killed.
func (h *Hub) Listen(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	dir, err := os.Open(filepath.Dir(path)) // names of sockets are short, those of directories are not
	if err != nil {
		return err
	}
	defer dir.Close()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: short(dir, path), Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(err, l.Close())
	}
	h.listener, h.name = l, path
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go h.take(conn)
		}
	}()
	return nil
}

func short(dir *os.File, path string) string {
	return "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + filepath.Base(path)
}

// Close takes no more connections.
func (h *Hub) Close() {
	if h.listener != nil {
		os.Remove(h.name)
		h.listener.Close()
	}
}

// take reads what a new client wants.
func (h *Hub) take(conn net.Conn) {
	kind, p, err := readFrame(conn, nil)
	var hello Hello
	if err != nil || kind != frameHello || json.Unmarshal(p, &hello) != nil {
		conn.Close()
		return
	}
	h.Add(conn, hello)
}

// Add attaches a client, and returns at once.
func (h *Hub) Add(conn net.Conn, hello Hello) {
	c := &client{conn: conn, hello: hello}
	h.mu.Lock()
	full := len(h.clients) >= maxClients
	if !full {
		h.clients[c] = true
	}
	h.mu.Unlock()
	if full {
		conn.Close()
		return
	}
	go h.serve(c)
}

// Lost has f called when a client is gone that did not Leave, as one that was killed; at once when one is gone already.
func (h *Hub) Lost(f func()) {
	h.mu.Lock()
	h.lost = f
	gone := h.gone
	h.mu.Unlock()
	if gone {
		f()
	}
}

// drop forgets a client. It reports whether that was attached.
func (h *Hub) drop(c *client) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.clients[c]
	delete(h.clients, c)
	c.conn.Close()
	return was
}

// end forgets a client that sends no more.
func (h *Hub) end(c *client, left bool) {
	was := h.drop(c)
	if !was || left {
		return
	}
	h.mu.Lock()
	lost := h.lost
	h.gone = h.gone || lost == nil
	h.mu.Unlock()
	if lost != nil {
		lost()
	}
}

// serve passes on what a client sends.
func (h *Hub) serve(c *client) {
	buf := make([]byte, 4<<10)
	left := false
	for {
		kind, p, err := readFrame(c.conn, buf)
		if err != nil {
			h.end(c, left)
			return
		}
		switch {
		case kind == frameLeave:
			left = true
		case kind == frameStdin && c.hello.Stdin:
			h.input(p, c.hello.Once)
		case kind == frameSize && len(p) == 4:
			h.setSize(int(p[0])<<8|int(p[1]), int(p[2])<<8|int(p[3]))
		}
	}
}

func (h *Hub) setSize(columns, rows int) {
	h.mu.Lock()
	h.size = [2]int{columns, rows}
	resize := h.resize
	h.mu.Unlock()
	if resize != nil {
		resize(columns, rows)
	}
}

func (h *Hub) input(p []byte, once bool) {
	h.mu.Lock()
	in := h.stdin
	h.mu.Unlock()
	switch {
	case in == nil:
	case len(p) > 0:
		_, _ = in.Write(p) // a process that does not read any more
	case once:
		in.Close()
	}
}

// Begin is called when a process runs: stdin takes its input and resize changes its terminal's size; nil without them.
func (h *Hub) Begin(stdin io.WriteCloser, resize func(columns, rows int)) {
	h.mu.Lock()
	h.stdin, h.resize = stdin, resize
	size := h.size
	h.mu.Unlock()
	if resize != nil && size != [2]int{} { // it came before the process did
		resize(size[0], size[1])
	}
}

// End is called when the process has ended and its output is read: all that are attached are told and let go.
func (h *Hub) End(e End) {
	h.mu.Lock()
	in := h.stdin
	h.stdin, h.resize = nil, nil
	all := h.clients
	h.clients = map[*client]bool{}
	h.mu.Unlock()
	if in != nil {
		in.Close()
	}
	b, err := json.Marshal(e)
	for c := range all {
		if err == nil {
			c.write.Lock()
			_ = writeFrame(c.conn, frameEnd, b)
			c.write.Unlock()
		}
		c.conn.Close()
	}
}

// Output is a writer to all that want the stream. Its Write never fails.
func (h *Hub) Output(s Stream) io.Writer { return output{h, s} }

type output struct {
	h *Hub
	s Stream
}

func (o output) Write(p []byte) (int, error) {
	o.h.mu.Lock()
	var to []*client
	for c := range o.h.clients {
		if o.s == Stdout && c.hello.Stdout || o.s == Stderr && c.hello.Stderr {
			to = append(to, c)
		}
	}
	o.h.mu.Unlock()
	for _, c := range to {
		if err := c.send(byte(o.s), p); err != nil {
			o.h.drop(c)
		}
	}
	return len(p), nil
}

func (c *client) send(kind byte, p []byte) error {
	c.write.Lock()
	defer c.write.Unlock()
	for {
		n := min(len(p), maxFrame)
		if err := writeFrame(c.conn, kind, p[:n]); err != nil {
			return err
		}
		if p = p[n:]; len(p) == 0 {
			return nil
		}
	}
}

// notThere says that nobody listens.
func notThere(err error) error {
	return errdefs.With(errdefs.ErrConflict, err)
}
