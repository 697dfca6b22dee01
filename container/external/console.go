package external

import (
	"fmt"
	"net"
	"os"
	"time"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// consoleSocket is where a runtime sends the master of a container's terminal.
type consoleSocket struct {
	path string
	l    *net.UnixListener
}

func listen(path string) (*consoleSocket, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen for the terminal: %w", err)
	}
	return &consoleSocket{path: path, l: l}, nil
}

func (c *consoleSocket) close() { _ = c.l.Close() }

// receive takes the terminal, which was sent before the runtime ended.
func (c *consoleSocket) receive() (*os.File, error) {
	if err := c.l.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	conn, err := c.l.AcceptUnix()
	if err != nil {
		return nil, fmt.Errorf("take the terminal: %w", err)
	}
	defer conn.Close()
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(buf, oob)
	if err != nil {
		return nil, fmt.Errorf("take the terminal: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return nil, errdefs.Invalid("the runtime sent no terminal")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errdefs.Invalid("the runtime sent no terminal")
	}
	unix.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), "terminal"), nil
}
