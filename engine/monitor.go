package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/attach"
	"github.com/camada/camada/container/cgroup/systemd"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/tasks"
	"github.com/camada/camada/userns"
	"golang.org/x/sys/unix"
)

// MonitorVerb is the verb under which this program runs again to look after a detached container.
const MonitorVerb = "container-monitor"

// statusFD is the descriptor on which the monitor tells what came of the start.
const statusFD = 3

// attachFD is the descriptor of who is attached from the start on.
const attachFD = 4

// order is what the monitor is told on its standard input.
type order struct {
	ID string
	// Attached is who is attached from the start on; nil is nobody.
	Attached *attach.Hello `json:",omitempty"`
	// Secrets are those of this start, which no record has.
	Secrets map[string][]byte `json:",omitempty"`
	// Timed asks where the time of the start goes.
	Timed bool `json:",omitempty"`
}

// outcome is what the monitor answers.
type outcome struct {
	Error string `json:"error,omitempty"`
	Class string `json:"class,omitempty"`
	// Code is that of a container.StartError.
	Code int `json:"code,omitempty"`
	// Notices are for the user.
	Notices []string `json:"notices,omitempty"`
	// Timings are the stages of the start, when they were asked for.
	Timings []Timing `json:"timings,omitempty"`
}

// detach starts the monitor of a container and waits until the container runs. The other end of attached, which may be nil, is
// attached from the start on.
func (e *Engine) detach(l *launch, hello *attach.Hello, attached *os.File) error {
	o := order{ID: l.c.Config.ID, Attached: hello, Secrets: l.secrets, Timed: l.opts.Timings != nil}
	text, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("start the monitor: %w", err)
	}
	return e.startMonitor(monitorStart{
		timings: l.opts.Timings,
		verb:    MonitorVerb, what: fmt.Sprintf("container %.12s", o.ID), order: text, env: withoutSecrets(os.Environ(), l.opts.Secrets), attached: attached,
	})
}

// monitorStart says which monitor is started.
type monitorStart struct {
	// verb is what it runs as; what is what it looks after.
	verb, what string
	order      []byte
	env        []string
	// attached is the other end of who is attached from the start on; nil is nobody.
	attached *os.File
	// timings takes the stages of the start; nil does not.
	timings *Timings
}

// startMonitor starts a monitor and waits until what it looks after runs.
func (e *Engine) startMonitor(m monitorStart) error {
	status, theirs, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start the monitor: %w", err)
	}
	defer status.Close()
	words, err := lastWords()
	if err != nil {
		theirs.Close()
		return err
	}
	defer words.Close()
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{"camada", "--root", e.root, "--storage-driver", e.driver, m.verb},
		Dir: "/", Env: m.env, Stderr: words, ExtraFiles: []*os.File{theirs}, SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if m.attached != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, m.attached)
	}
	stdin, err := cmd.StdinPipe()
	// What the caller's caller left open, a pipe perhaps that somebody reads to its end, must not stay open as long as the container runs.
	_ = unix.CloseRange(statusFD, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) // Linux 5.11
	if err == nil {
		err = cmd.Start()
	}
	theirs.Close()
	if err != nil {
		return fmt.Errorf("start the monitor: %w", err)
	}
	_, err = stdin.Write(m.order)
	if err = errors.Join(err, stdin.Close()); err != nil && !errors.Is(err, unix.EPIPE) { // one that has ended is known by its answer
		return fmt.Errorf("tell the monitor what to run: %w", err)
	}
	answer, err := io.ReadAll(status)
	if err != nil {
		return fmt.Errorf("hear from the monitor: %w", err)
	}
	var out outcome
	if err := json.Unmarshal(answer, &out); err != nil {
		_ = cmd.Wait()
		return endedEarly(m.what, words)
	}
	for _, text := range out.Notices {
		e.notice(text)
	}
	if out.Error != "" {
		_ = cmd.Wait()
		return out.err()
	}
	m.timings.take("start of the monitor", out.Timings)
	return cmd.Process.Release()
}

func (o outcome) err() error {
	err := errors.New(o.Error)
	if o.Class != "" {
		err = errdefs.With(errdefs.Class(o.Class), err)
	}
	if o.Code != 0 {
		return &container.StartError{Code: o.Code, Err: err}
	}
	return err
}

func outcomeOf(err error) outcome {
	if err == nil {
		return outcome{}
	}
	err = tasks.Explain(err)
	o := outcome{Error: err.Error()}
	var class errdefs.Class
	for _, c := range []errdefs.Class{errdefs.ErrNotFound, errdefs.ErrAlreadyExists, errdefs.ErrInvalid, errdefs.ErrConflict, errdefs.ErrPermission,
		errdefs.ErrCorrupt, errdefs.ErrLimit, errdefs.ErrUnsupported, errdefs.ErrUnavailable} {
		if errors.Is(err, c) {
			class = c
			break
		}
	}
	o.Class = string(class)
	o.Code, _ = StartCode(err)
	return o
}

// Monitor looks after one detached container: it is the whole life of the process that detach starts.
func (e *Engine) Monitor(ctx context.Context, in io.Reader) error {
	unix.CloseOnExec(statusFD) // whoever starts the container waits for the end of it: no helper may keep it open
	status := os.NewFile(statusFD, "status")
	var o order
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return errdefs.Invalid("the monitor's order: %w", err)
	}
	c, err := e.records.Get(ctx, o.ID)
	if err != nil {
		return err
	}
	l, err := launchOf(c)
	if err != nil {
		return err
	}
	l.opts.Detach, l.secrets = true, o.Secrets
	if o.Timed {
		l.opts.Timings = &Timings{last: time.Now()}
	}
	hub := attach.NewHub()
	if o.Attached != nil {
		if err := addAttached(hub, *o.Attached); err != nil {
			return err
		}
	} else {
		leaveService(ctx, l)
	}
	_, err = e.supervise(ctx, l, hub, func(err error) {
		out := outcomeOf(err)
		out.Notices = e.notices.list()
		out.Timings = l.opts.Timings.Stages()
		l.opts.Timings = nil
		b, _ := json.Marshal(out)
		_, _ = status.Write(b)
		status.Close()
		silent()
		time.AfterFunc(leanAfter, lean)
	})
	return err
}

// leaveService has systemd take this process out of the service that its starter belongs to: a job of cron or of a runner of CI that starts a
// container in the background, and ends, does not mean to end the container. Where it cannot be, the container ends with the service.
// When the machine is turned off, systemd gives the container its time.
func leaveService(ctx context.Context, l *launch) {
	if !systemd.InService() {
		return
	}
	const ending = 10 * time.Second // from the kill to the end of our own work
	stop := l.opts.stopTimeout(l.Image)
	if stop < 0 { // without end, which a machine that is turned off does not have
		stop = time.Minute
	}
	c := l.c.Config
	_ = systemd.Start(ctx, systemd.Scope{
		Name: "camada-" + c.ID[:12] + ".scope", Description: "camada, which looks after container " + c.Name,
		Pid: os.Getpid(), User: userns.Rootless() || os.Geteuid() != 0, Stops: true, StopTimeout: stop + ending,
	})
}

func addAttached(hub *attach.Hub, hello attach.Hello) error {
	unix.CloseOnExec(attachFD)
	f := os.NewFile(attachFD, "attached")
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return fmt.Errorf("attach to the container: %w", err)
	}
	hub.Add(conn, hello)
	return nil
}
