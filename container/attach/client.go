package attach

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/camada/camada/errdefs"
)

// ErrDetached is returned by SendInput when the keys that detach were read.
var ErrDetached = errors.New("detached")

// Conn is the client's end.
type Conn struct {
	conn  net.Conn
	write sync.Mutex
}

// Dial attaches to the hub that listens on a socket. ErrConflict when nobody does.
func Dial(path string, hello Hello) (*Conn, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	nc, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: short(dir, path), Net: "unix"})
	if err != nil {
		return nil, notThere(err)
	}
	c := &Conn{conn: nc}
	b, err := json.Marshal(hello)
	if err == nil {
		err = c.send(frameHello, b)
	}
	if err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	return c, nil
}

// Pair makes a Conn and the other end of it, as a file, which a hub gets with Add. Both are the caller's to close.
func Pair() (*Conn, *os.File, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	nc, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return &Conn{conn: nc}, theirs, nil
}

// Close detaches.
func (c *Conn) Close() error { return c.conn.Close() }

func (c *Conn) send(kind byte, p []byte) error {
	c.write.Lock()
	defer c.write.Unlock()
	return writeFrame(c.conn, kind, p)
}

// Resize tells the size of the client's terminal in characters.
func (c *Conn) Resize(columns, rows int) error {
	return c.send(frameSize, []byte{byte(columns >> 8), byte(columns), byte(rows >> 8), byte(rows)})
}

// Leave tells that the client goes of its own will, so that what runs goes on: Hub.Lost tells of the others.
func (c *Conn) Leave() error { return c.send(frameLeave, nil) }

// SendInput passes on what r has, to its end. ErrDetached when keys, which may be none, were read: they are not passed on.
func (c *Conn) SendInput(r io.Reader, keys []byte) error {
	buf := make([]byte, 4<<10)
	k := keyFilter{keys: keys}
	for {
		n, err := r.Read(buf)
		p, detached := k.filter(buf[:n])
		if len(p) > 0 {
			if err := c.send(frameStdin, p); err != nil {
				return err
			}
		}
		switch {
		case detached:
			return ErrDetached
		case errors.Is(err, io.EOF):
			if held := k.rest(); len(held) > 0 {
				if err := c.send(frameStdin, held); err != nil {
					return err
				}
			}
			return c.send(frameStdin, nil)
		case err != nil:
			return err
		}
	}
}

// Receive passes the output on until the process ends. ErrUnavailable when the hub went away before. A nil writer takes nothing.
func (c *Conn) Receive(stdout, stderr io.Writer) (End, error) {
	buf := make([]byte, maxFrame)
	for {
		kind, p, err := readFrame(c.conn, buf)
		if errors.Is(err, io.EOF) {
			return End{}, errdefs.Unavailable("the process that looks after the container went away")
		}
		if err != nil {
			return End{}, err
		}
		var w io.Writer
		switch kind {
		case frameStdout:
			w = stdout
		case frameStderr:
			w = stderr
		case frameEnd:
			var e End
			if err := json.Unmarshal(p, &e); err != nil {
				return End{}, errdefs.Corrupt("the end of a container: %w", err)
			}
			return e, nil
		}
		if w != nil {
			if _, err := w.Write(p); err != nil {
				return End{}, fmt.Errorf("pass the container's output on: %w", err)
			}
		}
	}
}
