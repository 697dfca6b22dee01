package ssh

import (
	"errors"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"github.com/camada/camada/errdefs"
)

const (
	// farewell is how long ssh may take to end by itself once its input ended.
	farewell = 5 * time.Second
	// failed is the exit code of ssh itself (ssh(1)); others are those of what was executed.
	failed = 255
)

// conn is a connection to a program. When it breaks, its errors say what the program said.
type conn struct {
	net.Conn
	host string
	cmd  *exec.Cmd
	said tail
	// exit is how the program ended, once ended is closed.
	exit   error
	ended  chan struct{}
	closed atomic.Bool
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && n == 0 {
		err = c.why(err)
	}
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		err = c.why(err)
	}
	return n, err
}

// Close ends the program.
func (c *conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	err := c.Conn.Close()
	select {
	case <-c.ended:
	case <-time.After(farewell):
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
	return err
}

// why says why the connection broke.
func (c *conn) why(err error) error {
	if c.closed.Load() {
		return err
	}
	select {
	case <-c.ended:
	case <-time.After(farewell):
		return err
	}
	var exit *exec.ExitError
	if !errors.As(c.exit, &exit) {
		return io.EOF // it was ended in order, at the other end
	}
	said := c.said.last()
	switch code := exit.ExitCode(); {
	case code == failed && (strings.Contains(said, "Permission denied") || strings.Contains(said, "verification failed") || strings.Contains(said, "Too many authentication failures")):
		return errdefs.Permission("ssh to %s: %s", c.host, said)
	case code == failed:
		return errdefs.Unavailable("ssh to %s: %s", c.host, orElse(said, "the connection broke"))
	case code == 126 || code == 127:
		return errdefs.NotFound("ssh to %s: camada is not in the PATH that commands have there: %s", c.host, said)
	default:
		return errdefs.Unavailable("at %s: %s", c.host, orElse(said, exit.String()))
	}
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
