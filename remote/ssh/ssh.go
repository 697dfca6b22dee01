// Package ssh reaches registries at the other end of ssh: over the standard input and output of "ssh HOST camada serve --stdio".
//
//	c := remote.New(remote.Options{Pipes: ssh.Dialer{}})
//	repo := c.Repository(ref) // of ssh://me@host/app:1
//
// Keys, passwords, known hosts and jumps are those of the program ssh and its configuration. Nothing listens at the other end, and nothing of what
// is sent is seen by anybody in between.
package ssh

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/reference"
	"golang.org/x/sys/unix"
)

// remoteCommand is what is executed at the other end. A key that is restricted there (authorized_keys(5), command=) gets something else.
const remoteCommand = "camada serve --stdio"

// Dialer starts ssh. The zero value works.
type Dialer struct {
	// Command is the program with arguments of the user's; empty is "ssh".
	Command []string
	// Owner is who the user is where this process is root of a user namespace of his; nil is who this process is. ssh finds keys and
	// known hosts by that.
	Owner *Owner
}

// Owner are IDs of a user outside of a user namespace.
type Owner struct{ UID, GID int }

// Pipe implements remote.Pipes. The connection lasts until it is closed, whatever becomes of ctx.
func (d Dialer) Pipe(ctx context.Context, host string) (net.Conn, error) {
	if err := reference.CheckSSH(host); err != nil {
		return nil, err
	}
	words := d.Command
	if len(words) == 0 {
		words = []string{"ssh"}
	}
	path, err := exec.LookPath(words[0])
	if err != nil {
		return nil, errdefs.Unsupported("a registry over ssh needs the program %s: install the package openssh-client: %w", words[0], err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), path, append(words[1:len(words):len(words)], arguments(host)...)...)
	if d.Owner != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: d.Owner.UID, Size: 1}}, GidMappings: []syscall.SysProcIDMap{{ContainerID: d.Owner.GID, Size: 1}}}
	}
	return start(cmd, strings.TrimPrefix(host, reference.SSH))
}

// arguments are those for a host that was checked.
func arguments(host string) []string {
	// A line that is dead ends ssh within a minute.
	args := []string{"-T", "-x", "-a", "-o", "ServerAliveInterval=15"}
	user, name, ok := strings.Cut(strings.TrimPrefix(host, reference.SSH), "@")
	if !ok {
		user, name = "", user
	}
	if user != "" {
		args = append(args, "-l", user)
	}
	if h, port, err := net.SplitHostPort(name); err == nil {
		name, args = h, append(args, "-p", port)
	}
	return append(args, "--", strings.Trim(name, "[]"), remoteCommand)
}

// start starts the program with one socket as its standard input and output.
func start(cmd *exec.Cmd, host string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, errdefs.With(errdefs.ErrUnavailable, errors.Join(errors.New("start ssh"), err))
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ssh"), os.NewFile(uintptr(fds[1]), "ssh")
	defer theirs.Close()
	sock, err := net.FileConn(ours) // a duplicate
	ours.Close()
	if err != nil {
		return fail(err)
	}
	c := &conn{Conn: sock, host: host, cmd: cmd, ended: make(chan struct{})}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, &c.said
	if err := cmd.Start(); err != nil {
		sock.Close()
		return fail(err)
	}
	go func() {
		c.exit = cmd.Wait()
		close(c.ended)
	}()
	return c, nil
}

// maxSaid bounds what is kept of what the program says, in bytes.
const maxSaid = 4 << 10

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-maxSaid):]
	return len(p), nil
}

// last is the last line, without what could write more than text to a terminal.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.text)), "\n")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, lines[len(lines)-1])
}
