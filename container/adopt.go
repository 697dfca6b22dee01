package container

import (
	"context"
	"errors"
	"os"
	"time"
)

// Adopt looks after the first process of a container that another runtime has started, a child of this process. after, when it is
// not nil, is called at the end of the process, before Wait returns.
func Adopt(pid int, console *os.File, after func(context.Context) error) *Process {
	p := &Process{Console: console, pid: pid, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		ws, err := p.reap()
		p.note(ws, err)
		if after == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		p.err = errors.Join(p.err, after(ctx))
	}()
	return p
}
