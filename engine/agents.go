package engine

import (
	"context"
	"net"
	"os"
	"sync"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/sshagent"
	"github.com/camada/camada/mount"
)

// agents are what --ssh gives, by ID.
type agents map[string]*agent

// agent is a socket of an agent, or keys.
type agent struct {
	socket string
	keys   sshagent.Keys
}

// newAgents opens the keys. A path is a socket, or a file of a key.
func newAgents(list []BuildAgent) (agents, error) {
	out := agents{}
	for _, b := range list {
		if _, twice := out[b.ID]; twice {
			return nil, errdefs.Invalid("--ssh %s: given twice", b.ID)
		}
		a := &agent{}
		for _, name := range b.Paths {
			if err := a.add(b.ID, name); err != nil {
				return nil, err
			}
		}
		if a.socket == "" && len(a.keys) == 0 {
			return nil, errdefs.Invalid("--ssh %s: SSH_AUTH_SOCK is not set; start an agent, or name its socket or a key with --ssh %s=PATH", b.ID, b.ID)
		}
		out[b.ID] = a
	}
	return out, nil
}

func (a *agent) add(id, name string) error {
	st, err := os.Stat(name)
	switch {
	case err != nil:
		return classOf(err, "--ssh "+id)
	case a.socket != "" || len(a.keys) > 0 && st.Mode()&os.ModeSocket != 0:
		return errdefs.Invalid("--ssh %s: want one socket, or keys", id)
	case st.Mode()&os.ModeSocket != 0:
		a.socket = name
		return nil
	}
	data, err := readSmallFile(name, sshagent.MaxKeyFile)
	if err != nil {
		return err
	}
	key, err := sshagent.ParseKey(data)
	if err != nil {
		return errdefs.Invalid("--ssh %s: %s: %w", id, name, err)
	}
	a.keys = append(a.keys, key)
	return nil
}

// serve answers requests over a socket that is in memory only until stop is called. name is a mount of it.
func (a *agent) serve(ctx context.Context, mode os.FileMode, uid, gid int) (name *os.File, stop func(), err error) {
	name, file, err := mount.MemorySocket(mode, uid, gid)
	if err != nil {
		return nil, nil, err
	}
	l, err := net.FileListener(file)
	file.Close()
	if err != nil {
		name.Close()
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			wg.Go(func() { a.talk(ctx, c) })
		}
	})
	return name, func() {
		cancel()
		l.Close()
		wg.Wait()
	}, nil
}

// talk serves one client. What goes wrong ends the connection, as an agent's end does.
func (a *agent) talk(ctx context.Context, c net.Conn) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if a.socket == "" {
		_ = sshagent.Serve(c, a.keys)
		return
	}
	var d net.Dialer
	up, err := d.DialContext(ctx, "unix", a.socket)
	if err != nil {
		return
	}
	defer up.Close()
	defer context.AfterFunc(ctx, func() { up.Close() })()
	_ = sshagent.Serve(c, sshagent.Forward{Agent: up})
}
