package engine

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"time"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/attach"
	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// ExecMonitorVerb is the verb under which this program runs again to look after a program that was executed in a container and outlives whoever
// asked for it.
const ExecMonitorVerb = "exec-monitor"

// execOrder is what such a monitor is told on its standard input.
type execOrder struct {
	Options ExecOptions
	// Attached is who is attached from the start on; nil is nobody.
	Attached *attach.Hello `json:",omitempty"`
}

// execInBackground starts a program with a monitor and returns when it runs.
func (e *Engine) execInBackground(opts ExecOptions, hello *attach.Hello, attached *os.File) error {
	text, err := json.Marshal(execOrder{Options: opts, Attached: hello})
	if err != nil {
		return errdefs.Invalid("start the monitor: %w", err)
	}
	return e.startMonitor(monitorStart{verb: ExecMonitorVerb, what: "the program", order: text, env: os.Environ(), attached: attached})
}

// execAttached starts a program with a monitor and a terminal, and stays attached to it until it ends or the user's keys leave it.
func (e *Engine) execAttached(ctx context.Context, c *record.Container, opts ExecOptions) (int, error) {
	keys, err := attach.Keys(opts.DetachKeys)
	if err != nil {
		return 0, err
	}
	conn, theirs, err := attach.Pair()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	hello := attach.Hello{Stdin: true, Stdout: true, Stderr: true, Once: true}
	err = e.execInBackground(opts, &hello, theirs)
	theirs.Close()
	if err != nil {
		return 0, err
	}
	s := &session{conn: conn, c: c, stdin: opts.Stdin, stdout: opts.Stdout, stderr: opts.Stderr, terminal: opts.Stdin, tty: true, keys: keys, signals: opts.Signals, leaves: true}
	return s.run(ctx)
}

// ExecMonitor looks after one such program: it is the whole life of the process that execInBackground starts.
func (e *Engine) ExecMonitor(ctx context.Context, in io.Reader) error {
	unix.CloseOnExec(statusFD)
	status := os.NewFile(statusFD, "status")
	var o execOrder
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return errdefs.Invalid("the monitor's order: %w", err)
	}
	hub := attach.NewHub()
	if o.Attached != nil {
		if err := addAttached(hub, *o.Attached); err != nil {
			return err
		}
	}
	tell := func(err error) {
		if status == nil {
			return
		}
		b, _ := json.Marshal(outcomeOf(err))
		_, _ = status.Write(b)
		status.Close()
		silent()
		status = nil
		time.AfterFunc(leanAfter, lean)
	}
	c, err := e.toExecIn(ctx, o.Options.Container)
	if err != nil {
		tell(err)
		return err
	}
	s := &streams{opts: RunOptions{TTY: o.Options.TTY, Interactive: o.Options.Interactive, Detach: true}, hub: hub}
	code, err := e.execProcess(ctx, c, o.Options, s, func(proc *container.Process, err error) {
		tell(err)
		if err == nil && o.Attached != nil { // as when a terminal is gone
			hub.Lost(func() { _ = proc.Signal(unix.SIGHUP) })
		}
	})
	end := attach.End{Code: code}
	if err != nil {
		end.Error = err.Error()
	}
	hub.End(end)
	return err
}
