package container

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"

	"github.com/camada/camada/container/internal/program"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A filter whose action for some call is SCMP_ACT_NOTIFY asks a program outside, the agent, what to do. The process that
// loads it gets a descriptor, which the parent takes from it and sends to the agent's socket (config-linux.md, seccomp,
// listenerPath), before the process goes on.

// notice is what the agent is told.
type notice struct {
	path string
	text specs.ContainerProcessState
	// agent takes the descriptor in place of the program at path.
	agent agent
}

// agent is Config.Agent.
type agent = func(ctx context.Context, listener *os.File) error

// noticeOf gives what the agent of a profile is told; the pids are filled in later.
func noticeOf(own agent, profile *specs.LinuxSeccomp, id, bundle string, status specs.ContainerState, annotations map[string]string) (*notice, error) {
	if own != nil {
		return &notice{agent: own, path: "of the caller"}, nil
	}
	if profile.ListenerPath == "" {
		return nil, errdefs.Invalid("seccomp profile: the action SCMP_ACT_NOTIFY needs a listenerPath")
	}
	return &notice{path: profile.ListenerPath, text: specs.ContainerProcessState{
		Version: specs.Version, Fds: []string{specs.SeccompFdName}, Metadata: profile.ListenerMetadata,
		State: specs.State{Version: specs.Version, ID: id, Status: status, Bundle: bundle, Annotations: annotations},
	}}, nil
}

// loadFilter appends the loading of the filter at once; what follows runs under it.
func (c *confinement) loadFilter() {
	if c.listen == nil {
		c.p.LoadFilter(c.filter, c.filterFlags)
		return
	}
	fd := c.p.Slot()
	c.p.LoadFilter(c.filter, c.filterFlags|unix.SECCOMP_FILTER_FLAG_NEW_LISTENER).Into(fd)
	c.p.Stage("wait for the seccomp agent")
	c.p.Listener(fd)
	c.listen()
}

// handOver takes the descriptor fd of process pid and sends it to the agent.
func (n *notice) handOver(ctx context.Context, pid, first, fd int) error {
	n.text.Pid, n.text.State.Pid = pid, first
	mine, err := takeListener(pid, fd)
	if err != nil {
		return fmt.Errorf("seccomp agent %s: %w", n.path, err)
	}
	if n.agent != nil {
		return n.agent(ctx, mine)
	}
	err = n.send(ctx, int(mine.Fd()))
	mine.Close()
	if err != nil {
		return fmt.Errorf("seccomp agent %s: %w", n.path, err)
	}
	return nil
}

// takeListener copies the descriptor fd of process pid.
func takeListener(pid, fd int) (*os.File, error) {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	defer unix.Close(process)
	mine, err := unix.PidfdGetfd(process, fd, 0)
	if err != nil {
		return nil, fmt.Errorf("take the notifications of process %d: %w", pid, err)
	}
	return os.NewFile(uintptr(mine), "seccomp notifications"), nil
}

func (n *notice) send(ctx context.Context, mine int) error {
	text, err := json.Marshal(n.text)
	if err != nil {
		return fmt.Errorf("describe the container: %w", err)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", n.path)
	if err != nil {
		return errdefs.Unavailable("%w", err)
	}
	defer conn.Close()
	sent, _, err := conn.(*net.UnixConn).WriteMsgUnix(text, unix.UnixRights(mine), nil)
	if err == nil && sent < len(text) {
		_, err = conn.Write(text[sent:])
	}
	return err
}

// next gives the child's next event; a listener is handed over before.
func (n *notice) next(ctx context.Context, child *program.Child, pid, first int, goOn func() error) (program.Event, error) {
	for {
		ev, err := child.Next()
		if err != nil || ev.Listener == 0 || n == nil {
			return ev, err
		}
		if err := n.handOver(ctx, pid, first, ev.Listener); err != nil {
			return ev, err
		}
		if err := goOn(); err != nil {
			return ev, err
		}
	}
}
