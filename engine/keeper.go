package engine

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/attach"
	"github.com/camada/camada/container/record"
	"github.com/camada/camada/event"
	"golang.org/x/sys/unix"
)

// attachSocket is the socket of a container's keeper, in the directory of its record.
const attachSocket = "attach"

// keeper looks after one container: from its first start to its last end.
type keeper struct {
	e   *Engine
	l   *launch
	hub *attach.Hub
	// restarts is what the policy did since the user started it.
	restarts restarts
	// again is set by a health check that wants the container to be started again.
	again atomic.Bool
}

// run starts the container, again and again when its policy says so, and notes each end. started is told what came of the first start.
func (k *keeper) run(ctx context.Context, started func(error)) (container.ExitStatus, error) {
	defer func() { _ = k.l.c.SetHealth(nil) }()
	for {
		begun, before := time.Now(), k.l.c.State
		s := &streams{opts: k.l.opts, c: k.l.c, hub: k.hub}
		status, err := k.e.runToEnd(ctx, k, s, started)
		s.finish()
		started = nil
		var left *leftError
		if errors.As(err, &left) {
			k.l.c.State.Error = left.Error()
			k.e.notice(left.Error())
		} else if err != nil {
			k.failed(ctx, before, err)
			return status, err
		}
		ran := time.Since(begun)
		k.tellEnd(ctx, status, ran)
		delay, again := k.next(status, ran)
		if again && ctx.Err() == nil {
			if err = k.note(status, record.Restarting); err != nil {
				return status, err
			}
			k.hub.End(attach.End{Code: status.Code})
			again = k.pause(ctx, delay) && k.reload(ctx)
		}
		if !again || ctx.Err() != nil {
			return status, k.note(status, record.Exited)
		}
	}
}

// leftError is that a container ended, and could not be taken away whole. Its end is what counts.
type leftError struct{ err error }

func (e *leftError) Error() string {
	return "the container ended, and something of it is left: " + e.err.Error()
}

func (e *leftError) Unwrap() error { return e.err }

// note notes an end.
func (k *keeper) note(status container.ExitStatus, how record.Status) error {
	st := k.l.c.State
	if st.Status == record.Running {
		st.Finished = time.Now().UTC()
	}
	st.Status, st.ExitCode, st.OOMKilled, st.RestartCount = how, status.Code, status.OOMKilled, k.restarts.count
	return k.l.c.SetState(st)
}

// failed notes a start that failed: the container is as it was before, but for the error. One that was given up (the end of ctx) failed by nothing.
func (k *keeper) failed(ctx context.Context, st record.State, err error) {
	if st.Status != record.Created {
		st.Status = record.Exited
		if ctx.Err() != nil {
			_ = k.l.c.SetState(st)
			return
		}
	}
	st.Error, st.ExitCode, st.RestartCount = err.Error(), 125, k.restarts.count
	if code, ok := StartCode(err); ok {
		st.ExitCode = code
	}
	_ = k.l.c.SetState(st) // the error itself is told to the caller
}

// next decides whether the container is started again. The policy is read anew: it can be changed while the container runs.
func (k *keeper) next(status container.ExitStatus, ran time.Duration) (time.Duration, bool) {
	wanted := k.again.Swap(false)
	if k.l.c.StopRequested() {
		return 0, false
	}
	if wanted {
		return k.restarts.again(ran), true
	}
	c, err := k.e.records.Get(context.Background(), k.l.c.Config.ID)
	if err != nil {
		return 0, false
	}
	p, err := parsePolicy(c.Config.Restart)
	if err != nil {
		return 0, false
	}
	return k.restarts.next(p, status.Code, ran)
}

// reload takes over what an update changed meanwhile; false when the container is gone.
func (k *keeper) reload(ctx context.Context) bool {
	c, err := k.e.records.Get(ctx, k.l.c.Config.ID)
	if err != nil {
		return false
	}
	l, err := launchOf(c)
	if err != nil {
		return false
	}
	k.l.c.Config = c.Config
	k.l.opts.RunLimits, k.l.opts.Restart = l.opts.RunLimits, l.opts.Restart
	return true
}

// pause waits before the next start; false when the user does not want it any more.
func (k *keeper) pause(ctx context.Context, d time.Duration) bool {
	const look = 50 * time.Millisecond
	end := time.Now().Add(d)
	for {
		if k.l.c.StopRequested() {
			return false
		}
		left := time.Until(end)
		if left <= 0 {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(min(left, look)):
		}
	}
}

// tellEnd notes the events of an end.
func (k *keeper) tellEnd(ctx context.Context, status container.ExitStatus, ran time.Duration) {
	ctx = context.WithoutCancel(ctx)
	if status.OOMKilled {
		k.e.noteContainer(ctx, k.l.c, "oom", nil)
	}
	k.e.noteContainer(ctx, k.l.c, "die", map[string]string{
		"exitCode": strconv.Itoa(status.Code), "execDuration": strconv.Itoa(int(ran / time.Second)),
	})
}

// listen opens the socket for those who attach. Without one nobody can, and all else works.
func (k *keeper) listen() {
	_ = k.hub.Listen(filepath.Join(k.l.c.Dir(), attachSocket))
}

// noteContainer notes an event of a container, with what is known of it.
func (e *Engine) noteContainer(ctx context.Context, c *record.Container, action string, more map[string]string) {
	attrs := make(map[string]string, len(c.Config.Labels)+len(more)+2)
	maps.Copy(attrs, c.Config.Labels)
	attrs["image"], attrs["name"] = c.Config.ImageName, c.Config.Name
	maps.Copy(attrs, more)
	e.note(ctx, event.Event{Type: event.Container, Action: action, ID: c.Config.ID, Attributes: attrs})
}

// note notes an event. What happened has happened, also when that cannot be noted.
func (e *Engine) note(ctx context.Context, ev event.Event) {
	_ = e.events().Note(context.WithoutCancel(ctx), ev)
}

func (e *Engine) events() *event.Log { return event.Open(filepath.Join(e.root, "events")) }

// endWith stops the container in the background when the process that looks after it is told to end (the end of ctx), as all are when the machine
// is turned off. That is not the user's wish: its policy does not start it again now, and StartAll does. In the foreground the container gets
// the signal itself. The returned function is called when the container has ended.
func (k *keeper) endWith(ctx context.Context, proc *container.Process) func() {
	if !k.l.opts.Detach {
		return func() {}
	}
	stop := context.AfterFunc(ctx, func() { k.stopNow(proc) })
	return func() { stop() }
}

// stopNow ends a container as its user would: its signal, its time, and SIGKILL. It is for the keeper itself.
func (k *keeper) stopNow(proc *container.Process) {
	sig, err := parseSignal(orElse(k.l.c.Config.StopSignal, "SIGTERM"))
	if err == nil {
		err = proc.Signal(sig)
	}
	if c, err := k.e.records.Get(context.Background(), k.l.c.Config.ID); err == nil {
		_ = thaw(c) // without a control group nothing is paused
	}
	if d := k.l.opts.stopTimeout(k.l.Image); d >= 0 && err == nil {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-proc.Done():
			return
		case <-t.C:
		}
	} else if err == nil {
		return
	}
	_ = proc.Signal(unix.SIGKILL)
}
