package engine

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/camada/camada/errdefs"
)

// The secrets that requests for files use, with the host behind them: the header Authorization, or a token of it.
const (
	httpHeaderSecret = "HTTP_AUTH_HEADER_"
	httpTokenSecret  = "HTTP_AUTH_TOKEN_"
)

// maxSocketName is how long the path of a socket may be: the kernel takes 107 bytes.
const maxSocketName = 107

// credentials are the secrets and agents of a build, for what is fetched.
type credentials struct {
	secrets secrets
	agents  agents

	mu   sync.Mutex
	sock string // of an agent that is served here
	stop func()
}

func (c *credentials) close() {
	if c.stop != nil {
		c.stop()
	}
}

// secret returns a secret of the build; false when there is none of that name, or none that can be read now.
func (c *credentials) secret(_ context.Context, id string) ([]byte, bool, error) {
	b, err := c.secrets.get(id)
	if errdefs.IsNotFound(err) {
		return nil, false, nil
	}
	return b, err == nil, err
}

// authorization is the header for requests to a host.
func (c *credentials) authorization(ctx context.Context, host string) (string, error) {
	for _, prefix := range []string{httpHeaderSecret, httpTokenSecret} {
		b, ok, err := c.secret(ctx, prefix+host)
		if err != nil {
			return "", err
		}
		v := strings.TrimSpace(string(b))
		if strings.ContainsAny(v, "\r\n\x00") {
			return "", errdefs.Invalid("secret %s has more than one line", prefix+host)
		}
		if ok && prefix == httpTokenSecret {
			v = "Bearer " + v
		}
		if ok {
			return v, nil
		}
	}
	return "", nil
}

// agentSocket is the socket of the agent for ssh: that of --ssh default, or else the user's own.
func (f *fetcher) agentSocket(ctx context.Context) (string, error) {
	c := f.cred
	a := c.agents["default"]
	if a == nil {
		return f.e.getenv("SSH_AUTH_SOCK"), nil
	}
	if a.socket != "" {
		return a.socket, nil
	}
	place, err := f.place(ctx)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sock != "" {
		return c.sock, nil
	}
	// The keys are in this process; the directory is its user's alone.
	short := ""
	if len(place) > maxSocketName {
		if short, err = os.MkdirTemp("", "camada-"); err != nil {
			return "", fmt.Errorf("serve the keys of --ssh default: %w", err)
		}
		place = filepath.Join(short, "agent")
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", place)
	if err != nil {
		return "", fmt.Errorf("serve the keys of --ssh default: %w", err)
	}
	served, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			wg.Go(func() { a.talk(served, conn) })
		}
	})
	c.sock, c.stop = place, func() {
		cancel()
		l.Close()
		wg.Wait()
		if short != "" {
			os.RemoveAll(short)
		}
	}
	return place, nil
}
