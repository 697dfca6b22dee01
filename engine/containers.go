package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/network"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// usedBy returns the name of a container that was made from an image, or "".
func (e *Engine) usedBy(ctx context.Context, d digest.Digest) (string, error) {
	list, err := e.records.List(ctx)
	if err != nil {
		return "", err
	}
	for _, c := range list {
		if c.Config.Image.Digest == d {
			return c.Config.Name, nil
		}
	}
	return "", nil
}

// Logs writes what a container wrote.
func (e *Engine) Logs(ctx context.Context, name string, opts LogOptions) error {
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return err
	}
	switch c.Config.LogDriver {
	case logNone:
		return errdefs.Unsupported("container %s has log driver none: what it wrote was not kept", name)
	case logJournald:
		return errdefs.Unsupported("container %s has log driver journald: read it with journalctl CONTAINER_NAME=%s", name, c.Config.Name)
	}
	ro := record.ReadOptions{Tail: opts.Tail, Follow: opts.Follow, Since: opts.Since, Until: opts.Until}
	return c.ReadLog(ctx, ro, func(l record.Line) error {
		w := opts.Stdout
		if l.Stream == "stderr" {
			w = opts.Stderr
		}
		text := l.Log
		if opts.Details {
			text = details(l.Attrs) + " " + text
		}
		if opts.Timestamps {
			text = l.Time.Format("2006-01-02T15:04:05.000000000Z07:00") + " " + text
		}
		_, err := w.Write([]byte(text))
		return err
	})
}

// details are the attributes of a line, sorted by name.
func details(attrs map[string]string) string {
	texts := make([]string, 0, len(attrs))
	for k, v := range attrs {
		texts = append(texts, k+"="+v)
	}
	slices.Sort(texts)
	return strings.Join(texts, ",")
}

// Kill sends a signal, by name or number, to a container's first process.
func (e *Engine) Kill(ctx context.Context, name, signal string) error {
	sig, err := parseSignal(signal)
	if err != nil {
		return err
	}
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return err
	}
	if !c.Running() {
		return errdefs.Conflict("container %s is not running", name)
	}
	if sig == unix.SIGKILL || sig == stopSignal(c) { // its end is wanted
		if err := c.RequestStop(); err != nil {
			return err
		}
	}
	return e.signal(ctx, c, sig)
}

// signal sends a signal, and notes that.
func (e *Engine) signal(ctx context.Context, c *record.Container, sig unix.Signal) error {
	e.noteContainer(ctx, c, "kill", map[string]string{"signal": strconv.Itoa(int(sig))})
	if sent, err := e.signalFirst(ctx, c, sig); sent {
		return errors.Join(err, obey(c, sig))
	}
	return send(c, sig)
}

// stopSignal is the one that asks a container to end.
func stopSignal(c *record.Container) unix.Signal {
	sig, err := parseSignal(orElse(c.Config.StopSignal, "SIGTERM"))
	if err != nil {
		return unix.SIGTERM
	}
	return sig
}

// send signals the first process, which is certain to be the container's: the descriptor holds it while it is compared.
func send(c *record.Container, sig unix.Signal) error {
	fd, err := unix.PidfdOpen(c.State.Pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("signal container %s: %w", c.Config.Name, err)
	}
	defer unix.Close(fd)
	if err := c.Refresh(); err != nil || !c.Running() {
		return err
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal container %s: %w", c.Config.Name, err)
	}
	return obey(c, sig)
}

// obey lets a paused container go on that got a signal to end.
func obey(c *record.Container, sig unix.Signal) error {
	if sig != unix.SIGKILL && sig != stopSignal(c) {
		return nil
	}
	return thaw(c)
}

// parseSignal reads KILL, SIGKILL or 9.
func parseSignal(s string) (unix.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n < 65 {
		return unix.Signal(n), nil
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if sig := unix.SignalNum(name); sig != 0 {
		return sig, nil
	}
	return 0, errdefs.Invalid("%q is not a signal", s)
}

// StopOptions say how a container is stopped.
type StopOptions struct {
	// Timeout is how long it has; negative is without end, nil what the container was made with.
	Timeout *time.Duration
	// Signal asks it to end; "" is what the container was made with.
	Signal string
}

// Stop asks a container to end, and ends it after the timeout. It is not started again by itself then.
func (e *Engine) Stop(ctx context.Context, name string, opts StopOptions) error {
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return err
	}
	if !c.Active() {
		return nil
	}
	sig := stopSignal(c)
	if opts.Signal != "" {
		if sig, err = parseSignal(opts.Signal); err != nil {
			return err
		}
	}
	if err := c.RequestStop(); err != nil {
		return err
	}
	if err := e.stop(ctx, c, sig, timeoutOf(c, opts.Timeout)); err != nil {
		return err
	}
	e.noteContainer(ctx, c, "stop", nil)
	return nil
}

// timeoutOf is how long a container has to end.
func timeoutOf(c *record.Container, given *time.Duration) time.Duration {
	if given != nil {
		return *given
	}
	l, err := launchOf(c)
	if err != nil {
		return LifeOptions{}.stopTimeout(image.ExecConfig{})
	}
	return l.Options.stopTimeout(l.Image)
}

func (e *Engine) stop(ctx context.Context, c *record.Container, sig unix.Signal, timeout time.Duration) error {
	if c.Running() { // and not just between two starts
		if err := e.signal(ctx, c, sig); err != nil {
			return err
		}
	}
	wait := ctx
	if timeout >= 0 {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	if _, err := c.Wait(wait); err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	return e.end(ctx, c)
}

// end kills a container and waits until whoever looks after it is done.
func (e *Engine) end(ctx context.Context, c *record.Container) error {
	if err := c.RequestStop(); err != nil {
		return err
	}
	if err := c.Refresh(); err != nil {
		return err
	}
	if c.Running() {
		if err := e.signal(ctx, c, unix.SIGKILL); err != nil {
			return err
		}
	}
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := c.Wait(wait); err != nil {
		return fmt.Errorf("container %s did not end: %w", c.Config.Name, err)
	}
	return nil
}

// EndAll kills those of the containers that run; names of none are passed over. It returns the names of those that are gone with
// their end.
func (e *Engine) EndAll(ctx context.Context, names []string) (gone []string, err error) {
	for _, n := range names {
		c, err := e.records.Get(ctx, n)
		if err != nil || !c.Active() {
			continue
		}
		err = e.end(ctx, c)
		if c.Config.Remove && (err == nil || errdefs.IsNotFound(err)) {
			if _, err := e.records.Get(ctx, c.Config.ID); errdefs.IsNotFound(err) {
				gone = append(gone, n)
				continue
			}
		}
		if err != nil {
			return gone, err
		}
	}
	return gone, nil
}

// RemoveContainer removes a container; one that runs only with force, which ends it first. With volumes, those go too that nobody named and
// no other container uses.
func (e *Engine) RemoveContainer(ctx context.Context, name string, force, volumes bool) error {
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return err
	}
	for ended := false; ; {
		keep, ok, err := c.TryKeep()
		if errdefs.IsNotFound(err) && ended {
			return nil // whoever looked after it was to remove it at its end
		}
		if err != nil {
			return err
		}
		if ok { // nobody starts it any more
			defer keep.Close()
			if err := e.cleanup(ctx, c); err != nil {
				return err
			}
			return e.discard(ctx, c, volumes)
		}
		if err := c.Refresh(); err != nil {
			return err
		}
		switch {
		case c.Active() && !force:
			return errdefs.Conflict("container %s is running: stop it first, or remove it with -f", name)
		case c.Active():
			ended = true
			if err := e.end(ctx, c); err != nil && !errdefs.IsNotFound(err) {
				return err
			}
		default: // it is at its first or last lines
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

// cleanup takes away what a container can leave when the process that looked after it was killed.
func (e *Engine) cleanup(ctx context.Context, c *record.Container) error {
	id := c.Config.ID
	return errors.Join(e.forget(ctx, c), container.Cleanup(ctx, id, orElse(c.Config.CgroupsPath, e.cgroupsPath(id))), network.Teardown(ctx, e.networkDir(), id))
}

func isGone(err error) bool { return errdefs.IsNotFound(err) || errors.Is(err, fs.ErrNotExist) }
