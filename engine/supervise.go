package engine

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/attach"
	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// supervise starts a container, looks after it to its end, and notes how it ended. started, when it is not nil, is called once with
// what came of the start. The caller of Run gets the exit status. hub, when it is not nil, has who is attached from the start.
//
// From the start on, the end of ctx does not end the work: it stops a container in the background, in order, and its end is ours. In the
// foreground, signals go to the container.
func (e *Engine) supervise(ctx context.Context, l *launch, hub *attach.Hub, started func(error)) (container.ExitStatus, error) {
	if hub == nil {
		hub = attach.NewHub()
	}
	keep, err := l.c.Keep(ctx)
	if err != nil {
		if started != nil {
			started(err)
		}
		return container.ExitStatus{}, err
	}
	defer keep.Close()
	end, err := e.stay()
	if err != nil {
		return container.ExitStatus{}, err
	}
	defer end()
	if err := e.again(ctx, l.c); err != nil {
		if started != nil {
			started(err)
		}
		return container.ExitStatus{}, err
	}
	k := &keeper{e: e, l: l, hub: hub}
	k.listen()
	defer hub.Close()
	status, err := k.run(ctx, started)
	if l.opts.Remove {
		err = errors.Join(err, e.discard(context.WithoutCancel(ctx), l.c, true))
	}
	l.opts.Timings.Mark("clean up")
	last := attach.End{Code: status.Code}
	if err != nil {
		last.Error = err.Error()
	}
	hub.End(last)
	return status, err
}

// again clears the way for a container that ran before: what a killed process left of it goes.
func (e *Engine) again(ctx context.Context, c *record.Container) error {
	if err := c.Refresh(); err != nil || c.State.Status == record.Created {
		return err
	}
	if c.Running() {
		return errdefs.Conflict("container %s is running", c.Config.Name)
	}
	return e.cleanup(ctx, c)
}

func (e *Engine) runToEnd(ctx context.Context, k *keeper, s *streams, started func(error)) (container.ExitStatus, error) {
	l := k.l
	tell := func(err error) {
		if started != nil {
			started(err)
		}
	}
	defer l.release()
	cfg, net, err := e.config(ctx, l)
	if err == nil {
		cfg.Stdin, cfg.Stdout, cfg.Stderr, err = s.open()
	}
	if err != nil {
		tell(err)
		return container.ExitStatus{}, err
	}
	defer net.disconnect()
	l.opts.Timings.Mark("spec, network files, log")
	cfg.Created = func(_ context.Context, pid int) error {
		st := record.Started(pid)
		st.RestartCount = k.restarts.count
		if net.connected {
			st.Address, st.Gateway, st.MAC = net.result.Address.String(), net.result.Gateway.String(), net.result.MAC.String()
			for _, p := range net.result.Ports {
				st.Ports = append(st.Ports, p.String())
			}
		}
		return l.c.SetState(st)
	}
	if err := e.lease.Pin(ctx, cgroupResource(cfg.ID)); err != nil {
		tell(err)
		return container.ExitStatus{}, err
	}
	proc, err := e.startProcess(ctx, l, cfg)
	l.release()
	s.started(err)
	checked := func() {}
	if err == nil {
		e.noteContainer(ctx, l.c, "start", nil)
		checked = k.check(ctx, proc) // who is told of the start finds its health
	}
	tell(err)
	if err != nil {
		return container.ExitStatus{}, err
	}
	if net.connected {
		e.noteNetwork(ctx, l.c, "connect")
		defer e.noteNetwork(ctx, l.c, "disconnect")
	}
	stop := s.attach(proc)
	defer stop()
	defer checked()
	defer k.endWith(ctx, proc)()
	status, err := proc.Wait(context.WithoutCancel(ctx))
	l.opts.Timings.Mark(StageProgram)
	if err != nil {
		err = &leftError{err}
	}
	return status, err
}

// discard removes a container that does not run, with its snapshot, and the volumes that nobody named when volumes is set. Record and snapshot are
// removed side by side, because the caller waits for both.
func (e *Engine) discard(ctx context.Context, c *record.Container, volumes bool) error {
	snaps, err := e.snapshots(ctx)
	if err != nil {
		return err
	}
	_, gone := os.Lstat(c.Dir())
	if volumes { // while the record tells of them
		if err := e.dropVolumes(ctx, c); err != nil {
			return err
		}
	}
	removed := make(chan error, 1)
	go func() {
		err := snaps.Remove(ctx, c.Config.Snapshot)
		if isGone(err) {
			err = nil
		}
		removed <- err
	}()
	err = e.records.Remove(ctx, c.Config.ID)
	if err = errors.Join(<-removed, err); err == nil && gone == nil {
		e.noteContainer(ctx, c, "destroy", nil)
	}
	return err
}

// streams are the standard streams of a container, between its process, the caller and the log.
type streams struct {
	opts RunOptions
	// c has the log; nil for none.
	c *record.Container
	// hub has those who attach; nil for none.
	hub   *attach.Hub
	input io.WriteCloser // the other end of the container's input, when those who attach have it
	log   *record.Log
	given []*os.File // the container's ends of pipes
	taken []*os.File // our ends of its output
	work  sync.WaitGroup
	reads []func()
	raw   *term.State
}

// open decides who gets what. A container that is removed at its end needs no log: it is given the caller's own streams,
// as long as they are no terminal, which a container must not get hold of. With a terminal of its own it gets none of them:
// the console comes with the process. Other runtimes get pipes: one with a kernel of its own writes to the beginning of a file.
func (s *streams) open() (stdin, stdout, stderr *os.File, err error) {
	o := s.opts
	if o.Interactive && !o.TTY {
		if stdin, err = s.stdin(); err != nil {
			return nil, nil, nil, err
		}
	}
	if s.c != nil && (!o.Remove || o.Detach) {
		if s.log, err = openLog(s.c, o.LifeOptions); err != nil {
			return nil, nil, nil, err
		}
	}
	if o.TTY {
		return nil, nil, nil, nil
	}
	if stdout, err = s.pipe("stdout", o.Stdout); err != nil {
		return nil, nil, nil, err
	}
	stderr, err = s.pipe("stderr", o.Stderr)
	return stdin, stdout, stderr, err
}

// stdin is the caller's, or in the background a pipe that those who attach write to.
func (s *streams) stdin() (*os.File, error) {
	if !s.opts.Detach || s.hub == nil {
		return s.opts.Stdin, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.given = append(s.given, r)
	s.input = w
	return r, nil
}

func (s *streams) pipe(name string, to *os.File) (*os.File, error) {
	if s.opts.Detach {
		to = nil
	} else if s.log == nil && s.opts.Runtime == "" && (to == nil || !term.IsTerminal(int(to.Fd()))) {
		return to, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.given, s.taken = append(s.given, w), append(s.taken, r)
	s.reads = append(s.reads, func() {
		s.copy(name, r, to)
		r.Close()
	})
	return w, nil
}

// copy moves output to the log, and to the caller where there is one.
func (s *streams) copy(name string, r io.Reader, to *os.File) {
	var tee io.Writer
	if to != nil {
		tee = to
	}
	if s.hub != nil {
		stream := attach.Stdout
		if name == "stderr" {
			stream = attach.Stderr
		}
		tee = both(tee, s.hub.Output(stream))
	}
	if s.log != nil {
		_ = s.log.Copy(name, r, tee)
		return
	}
	if tee == nil {
		tee = io.Discard
	}
	_, _ = io.Copy(tee, r)
}

// both writes to a and b; a may be nil, and its error ends nothing.
func both(a, b io.Writer) io.Writer {
	if a == nil {
		return b
	}
	return &tee{a, b}
}

type tee struct{ a, b io.Writer }

func (t *tee) Write(p []byte) (int, error) {
	if t.a != nil {
		if _, err := t.a.Write(p); err != nil {
			t.a = nil // nobody listens there any more
		}
	}
	return t.b.Write(p)
}

// started closes what belongs to the container now. What a start wrote that failed is not passed on when it was another runtime's: the error tells it.
func (s *streams) started(err error) {
	for _, f := range s.given {
		f.Close()
	}
	if err != nil && s.opts.Runtime != "" {
		for _, f := range s.taken {
			f.Close()
		}
		return
	}
	for _, read := range s.reads {
		s.work.Go(read)
	}
}

// attach joins the terminal and the signals with the process; the returned function ends that.
func (s *streams) attach(proc *container.Process) func() {
	done := make(chan struct{})
	switch {
	case proc.Console != nil:
		s.console(proc)
	case s.hub != nil:
		s.hub.Begin(s.input, nil)
	}
	var signals sync.WaitGroup
	if s.opts.Signals != nil {
		signals.Go(func() {
			for {
				select {
				case <-done:
					return
				case sig := <-s.opts.Signals:
					s.pass(proc, sig)
				}
			}
		})
	}
	return func() {
		close(done)
		signals.Wait()
		if s.raw != nil {
			_ = term.Restore(int(s.opts.Stdin.Fd()), s.raw)
		}
	}
}

// pass gives a signal to the container; a change of the window's size goes to its terminal.
func (s *streams) pass(proc *container.Process, sig os.Signal) {
	n, ok := sig.(unix.Signal)
	if !ok {
		return
	}
	if n == unix.SIGWINCH {
		s.resize(proc)
		return
	}
	_ = proc.Signal(n)
}

func (s *streams) resize(proc *container.Process) {
	if proc.Console == nil || s.opts.Stdout == nil {
		return
	}
	if w, h, err := term.GetSize(int(s.opts.Stdout.Fd())); err == nil {
		_ = proc.Resize(w, h)
	}
}

// console copies between the caller's terminal and the container's.
func (s *streams) console(proc *container.Process) {
	to := s.opts.Stdout
	if s.opts.Detach {
		to = nil
		if s.hub != nil {
			s.hub.Begin(terminalInput{proc.Console}, func(columns, rows int) { _ = proc.Resize(columns, rows) })
		}
	} else {
		s.resize(proc)
		if s.opts.Stdin != nil && term.IsTerminal(int(s.opts.Stdin.Fd())) {
			s.raw, _ = term.MakeRaw(int(s.opts.Stdin.Fd()))
		}
		if s.opts.Interactive && s.opts.Stdin != nil {
			go func() { _, _ = io.Copy(proc.Console, s.opts.Stdin) }() // it ends with this process
		}
	}
	s.work.Go(func() {
		s.copy("stdout", proc.Console, to)
		proc.Console.Close()
	})
}

// terminalInput is the input side of a terminal, which ends with the process and not before.
type terminalInput struct{ io.Writer }

func (terminalInput) Close() error { return nil }

// finish waits until all output was passed on.
func (s *streams) finish() {
	s.work.Wait()
	if s.log != nil {
		_ = s.log.Close()
	}
}
