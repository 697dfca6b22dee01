package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/camada/camada/container/attach"
	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// ErrDetached says that the user's keys left a container that goes on.
var ErrDetached = errors.New("read escape sequence")

// AttachOptions say how Attach joins the caller and a container.
type AttachOptions struct {
	// NoStdin passes no input on.
	NoStdin bool
	// NoSigProxy passes no signals on.
	NoSigProxy bool
	// DetachKeys leave the container; "" is Docker's.
	DetachKeys            string
	Stdin, Stdout, Stderr *os.File
	Signals               <-chan os.Signal
}

// Attach joins the caller's streams and those of a running container, until that ends, whose exit code is returned, or until ErrDetached.
func (e *Engine) Attach(ctx context.Context, name string, opts AttachOptions) (int, error) {
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return 0, err
	}
	switch {
	case c.State.Status == record.Restarting:
		return 0, errdefs.Conflict("container %s is being restarted: wait until it runs", name)
	case !c.Running():
		return 0, errdefs.Conflict("container %s does not run: start it (camada start -a)", name)
	}
	l, err := launchOf(c)
	if err != nil {
		return 0, err
	}
	keys, err := attach.Keys(opts.DetachKeys)
	if err != nil {
		return 0, err
	}
	hello := attach.Hello{Stdin: l.Options.Interactive && !opts.NoStdin, Stdout: true, Stderr: true, Once: l.Options.Interactive && !l.Options.Detach}
	conn, err := attach.Dial(filepath.Join(c.Dir(), attachSocket), hello)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	e.noteContainer(ctx, c, "attach", nil)
	s := &session{conn: conn, c: c, stdout: opts.Stdout, stderr: opts.Stderr, terminal: opts.Stdin, tty: c.Config.TTY, keys: keys, redraw: true}
	if hello.Stdin {
		s.stdin = opts.Stdin
	}
	if !opts.NoSigProxy {
		s.signals = opts.Signals
	}
	code, err := s.run(ctx)
	if errors.Is(err, ErrDetached) {
		e.noteContainer(ctx, c, "detach", nil)
	}
	return code, err
}

// outlives reports whether the container can go on after its first end, which a caller in the foreground waits for.
func (l *launch) outlives() bool {
	p, err := parsePolicy(l.c.Config.Restart)
	return err == nil && p.name != policyNo || l.opts.Health.OnFailure == HealthRestart
}

// attached starts a container with a monitor, and stays attached to it until it ends or the user's keys leave it.
func (e *Engine) attached(ctx context.Context, l *launch) (int, error) {
	keys, err := attach.Keys(l.opts.DetachKeys)
	if err != nil {
		return 0, err
	}
	conn, theirs, err := attach.Pair()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	o := l.opts
	hello := attach.Hello{Stdin: o.Interactive && o.Stdin != nil, Stdout: o.Stdout != nil, Stderr: o.Stderr != nil, Once: true}
	err = e.detach(l, &hello, theirs)
	theirs.Close()
	if err != nil {
		if o.Remove {
			err = errors.Join(err, e.discard(context.WithoutCancel(ctx), l.c, true))
		}
		return 0, err
	}
	s := &session{conn: conn, c: l.c, stdout: o.Stdout, stderr: o.Stderr, terminal: o.Stdin, tty: o.TTY, keys: keys}
	if hello.Stdin {
		s.stdin = o.Stdin
	}
	if !o.NoSigProxy {
		s.signals = o.Signals
	}
	return s.run(ctx)
}

// session is a caller who is attached to a container.
type session struct {
	conn *attach.Conn
	c    *record.Container
	// stdin is nil when no input is passed on. terminal is the caller's, if it is one.
	stdin, stdout, stderr, terminal *os.File
	tty                             bool
	keys                            []byte
	// signals are passed on; without them the end of the context ends the session.
	signals <-chan os.Signal
	// leaves tells the other end that the user's keys were read; without that it is as if the caller was killed. Signals end the session then, as they are
	// not the container's.
	leaves bool
	// redraw makes the program draw its screen anew.
	redraw bool
}

// run passes streams on until the container has ended or was left.
func (s *session) run(ctx context.Context) (int, error) {
	done := make(chan struct{})
	defer close(done)
	isTerminal := s.tty && s.terminal != nil && term.IsTerminal(int(s.terminal.Fd()))
	if isTerminal {
		if s.redraw {
			s.resize(1)
		}
		s.resize(0)
	}
	if isTerminal && s.stdin != nil {
		if raw, err := term.MakeRaw(int(s.stdin.Fd())); err == nil {
			defer func() { _ = term.Restore(int(s.stdin.Fd()), raw) }()
		}
	}
	left := make(chan struct{})
	if s.stdin != nil {
		keys := s.keys
		if !s.tty {
			keys = nil // bytes of a file are no keys
		}
		go func() { // it ends with this process
			if errors.Is(s.conn.SendInput(s.stdin, keys), attach.ErrDetached) {
				close(left)
			}
		}()
	}
	interrupted := ctx.Done()
	switch {
	case s.signals != nil && s.leaves:
		go s.pass(done)
	case s.signals != nil:
		interrupted = nil
		go s.pass(done)
	}
	type result struct {
		end attach.End
		err error
	}
	ended := make(chan result, 1)
	go func() {
		var r result
		r.end, r.err = s.receive()
		ended <- r
	}()
	select {
	case r := <-ended:
		if r.err == nil && r.end.Error != "" {
			r.err = errors.New(r.end.Error)
		}
		return r.end.Code, r.err
	case <-left:
		if s.leaves {
			_ = s.conn.Leave()
		}
		return 0, ErrDetached
	case <-interrupted:
		return 0, context.Cause(ctx)
	}
}

// receive takes the output. Writers that are nil files must be nil interfaces.
func (s *session) receive() (attach.End, error) {
	switch {
	case s.stdout == nil && s.stderr == nil:
		return s.conn.Receive(nil, nil)
	case s.stdout == nil:
		return s.conn.Receive(nil, s.stderr)
	case s.stderr == nil:
		return s.conn.Receive(s.stdout, nil)
	}
	return s.conn.Receive(s.stdout, s.stderr)
}

// pass gives the caller's signals to the container; a change of the window's size goes to its terminal.
func (s *session) pass(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case sig := <-s.signals:
			n, ok := sig.(unix.Signal)
			switch {
			case !ok:
			case n == unix.SIGWINCH:
				s.resize(0)
			case s.leaves:
			default:
				if s.c.Refresh() == nil && s.c.Running() {
					_ = send(s.c, n)
				}
			}
		}
	}
}

// resize tells the size of the caller's terminal, with so many more rows.
func (s *session) resize(more int) {
	if s.terminal == nil {
		return
	}
	if w, h, err := term.GetSize(int(s.terminal.Fd())); err == nil {
		_ = s.conn.Resize(w, h+more)
	}
}
