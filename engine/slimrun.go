package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/camada/camada/anatomy/slim"
	"github.com/camada/camada/container/trace"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/progress"
)

// SlimRun is a run of an image, and how it ended.
type SlimRun struct {
	Command  []string
	ExitCode int
	// Stopped says that it was ended when enough was seen: the exit code says nothing then.
	Stopped bool
	Execs   []SlimExec   `json:",omitempty"`
	Probes  []SlimAnswer `json:",omitempty"`
}

// SlimExec is a command that was executed in the container; Health says that it is the image's health check.
type SlimExec struct {
	Command  []string
	ExitCode int
	Health   bool `json:",omitempty"`
}

// SlimAnswer is what a port answered to a probe: Status is HTTP's, 0 for none.
type SlimAnswer struct {
	Port, Path string
	Status     int
}

// differs says in what a run of the slim image differs.
func (r *SlimRun) differs(by *SlimRun) []string {
	var out []string
	if r.Stopped != by.Stopped || !r.Stopped && r.ExitCode != by.ExitCode {
		out = append(out, fmt.Sprintf("%q %s, and %s before", strings.Join(r.Command, " "), by.end(), r.end()))
	}
	for i := range min(len(r.Execs), len(by.Execs)) {
		if a, b := r.Execs[i], by.Execs[i]; a.ExitCode != b.ExitCode {
			out = append(out, fmt.Sprintf("%q ended with %d, and with %d before", strings.Join(a.Command, " "), b.ExitCode, a.ExitCode))
		}
	}
	for i := range min(len(r.Probes), len(by.Probes)) {
		if a, b := r.Probes[i], by.Probes[i]; a.Status != b.Status {
			out = append(out, fmt.Sprintf("port %s answers %s with %d, and with %d before", a.Port, a.Path, b.Status, a.Status))
		}
	}
	return out
}

func (r *SlimRun) end() string {
	if r.Stopped {
		return "went on"
	}
	return "ended with " + strconv.Itoa(r.ExitCode)
}

// runs runs the commands on an image, one after the other.
func (s *slimmer) runs(ctx context.Context, verb string, img *image.Image, uses *slim.Uses) ([]SlimRun, error) {
	var mu sync.Mutex
	t := trace.New(func(e trace.Event) {
		mu.Lock()
		defer mu.Unlock()
		uses.Add(e)
	})
	defer t.Close()
	var out []SlimRun
	for i, args := range s.o.Runs {
		r := &slimRun{s: s, img: img, trace: t}
		ev := progress.Event{ID: "slim-" + verb + strconv.Itoa(i), Name: strings.TrimSpace(verb + " " + s.o.Image + " " + strings.Join(args, " "))}
		s.sink.Emit(ev)
		err := r.run(ctx, args)
		if ev.State, ev.Err = progress.Done, err; err != nil {
			ev.State = progress.Failed
		}
		s.sink.Emit(ev)
		if err != nil {
			return out, fmt.Errorf("%s %s: %w", verb, s.o.Image, err)
		}
		out = append(out, r.out)
	}
	return out, nil
}

// slimRun is one run.
type slimRun struct {
	s     *slimmer
	img   *image.Image
	trace *trace.Tracer
	id    string
	out   SlimRun
}

// slimEnd is how a container ended.
type slimEnd struct {
	res RunResult
	err error
}

func (r *slimRun) run(ctx context.Context, args []string) error {
	e, o := r.s.e, &r.s.o
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opts := o.Run
	opts.Image, opts.Args, opts.opened, opts.trace = o.Image, args, r.img, r.trace
	opts.Remove, opts.Detach, opts.Interactive, opts.TTY, opts.Health.Disable = true, false, false, false, true
	var err error
	if opts.Publish, err = r.publish(opts.Publish); err != nil {
		return err
	}
	l, err := e.create(ctx, opts)
	if err != nil {
		return err
	}
	r.id, r.out.Command = l.c.Config.ID, l.command()
	done := make(chan slimEnd, 1)
	go func() {
		res, err := e.launch(ctx, l)
		done <- slimEnd{res, err}
	}()
	acted := make(chan error, 1)
	go func() { acted <- r.act(ctx) }()
	end, err := r.wait(ctx, cancel, done, acted)
	r.out.ExitCode = end.res.ExitCode
	if code, ok := StartCode(end.err); ok && err == nil {
		r.out.ExitCode = code
		return fmt.Errorf("start it: %w", end.err)
	}
	return errors.Join(err, end.err)
}

// wait waits for the end of a run, and brings it about when enough was seen. The end of ctx ends it too, and is an error.
func (r *slimRun) wait(ctx context.Context, cancel func(), done <-chan slimEnd, acted <-chan error) (slimEnd, error) {
	o := &r.s.o
	var late <-chan time.Time
	if o.Duration > 0 {
		t := time.NewTimer(o.Duration)
		defer t.Stop()
		late = t.C
	}
	var failed error
	asked, ended := len(o.Execs)+len(o.Probes) > 0, ctx.Done()
	for {
		select {
		case end := <-done:
			early := asked && acted != nil && !r.out.Stopped && end.err == nil
			cancel()
			if acted != nil {
				err := <-acted
				if early && err != nil { // else all was done at the moment when it ended
					failed = errdefs.Conflict("it ended (exit code %d) before all probes and commands were done: %w", end.res.ExitCode, err)
				}
			}
			return end, failed
		case err := <-acted:
			acted = nil
			failed = err
			if err != nil || asked && o.After == SlimProbe {
				r.stop(ctx)
			}
		case <-late:
			late = nil
			r.stop(ctx)
		case <-o.Signals:
			r.stop(ctx)
		case <-ended:
			failed, ended = context.Cause(ctx), nil
			r.stop(ctx)
		}
	}
}

// stop asks the container to end, and kills it when it does not.
func (r *slimRun) stop(ctx context.Context) {
	r.out.Stopped = true
	ctx = context.WithoutCancel(ctx)
	go func() {
		if r.started(ctx) == nil { // its record goes when it ends
			_ = r.s.e.Stop(ctx, r.id, StopOptions{})
		}
	}()
}

// act does what was asked for while the container runs: the probes, which tell that it is ready, the commands, and the image's health check.
func (r *slimRun) act(ctx context.Context) error {
	o := &r.s.o
	if len(o.Execs)+len(o.Probes) == 0 {
		return nil
	}
	if err := r.started(ctx); err != nil {
		return err
	}
	if err := r.probe(ctx); err != nil {
		return err
	}
	for _, args := range o.Execs {
		if err := r.exec(ctx, args, false); err != nil {
			return err
		}
	}
	l := &launch{definition: definition{Image: r.img.Config.Config}}
	if h, ok := l.healthCheck(); ok {
		return r.exec(ctx, h.args, true)
	}
	return nil
}

// started waits until the container runs.
func (r *slimRun) started(ctx context.Context) error {
	for {
		c, err := r.s.e.records.Get(ctx, r.id)
		if err != nil {
			return err
		}
		if c.Running() {
			return nil
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// sleep waits, or until the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *slimRun) exec(ctx context.Context, args []string, health bool) error {
	run := &r.s.o.Run
	c, err := r.s.e.toExecIn(ctx, r.id)
	if err != nil {
		return err
	}
	opts := ExecOptions{Args: args, Stdout: run.Stdout, Stderr: run.Stderr, trace: r.trace}
	code, err := r.s.e.execProcess(ctx, c, opts, &streams{opts: RunOptions{Stdout: run.Stdout, Stderr: run.Stderr}}, nil)
	if err != nil {
		return fmt.Errorf("execute %q: %w", strings.Join(args, " "), err)
	}
	r.out.Execs = append(r.out.Execs, SlimExec{Command: args, ExitCode: code, Health: health})
	return nil
}

// parseProbe parts a probe PATH or :PORT/PATH; the port is "" for all.
func parseProbe(text string) (port, path string, err error) {
	if rest, ok := strings.CutPrefix(text, ":"); ok {
		port, path, ok = strings.Cut(rest, "/")
		if _, err := strconv.ParseUint(port, 10, 16); err != nil || !ok {
			return "", "", errdefs.Invalid("--http-probe %s: want /PATH or :PORT/PATH", text)
		}
		return port, "/" + path, nil
	}
	if !strings.HasPrefix(text, "/") {
		return "", "", errdefs.Invalid("--http-probe %s: want /PATH or :PORT/PATH", text)
	}
	return "", text, nil
}

// ports are those of the image, and of the probes, that are asked.
func (r *slimRun) ports() []string {
	var out []string
	for p := range r.img.Config.Config.ExposedPorts {
		if port, proto, _ := strings.Cut(p, "/"); proto == "" || proto == "tcp" {
			out = append(out, port)
		}
	}
	for _, p := range r.s.o.Probes {
		if port, _, _ := parseProbe(p); port != "" && !slices.Contains(out, port) {
			out = append(out, port)
		}
	}
	slices.Sort(out)
	return out
}

// publish adds the ports that are probed to those that the user publishes.
func (r *slimRun) publish(list []string) ([]string, error) {
	if len(r.s.o.Probes) == 0 {
		return list, nil
	}
	ports := r.ports()
	if len(ports) == 0 {
		return nil, errdefs.Invalid("the image exposes no port; say which one is to be probed: --http-probe :PORT/PATH")
	}
	list = slices.Clone(list)
	for _, p := range ports {
		list = append(list, "127.0.0.1::"+p)
	}
	return list, nil
}

const (
	// probeWait is how long a server may take until it answers, probeTimeout how long an answer.
	probeWait    = 60 * time.Second
	probeTimeout = 30 * time.Second
)

// probe asks for the paths. Of those without a port some port has to answer.
func (r *slimRun) probe(ctx context.Context) error {
	deadline := time.Now().Add(probeWait)
	client := &http.Client{Timeout: probeTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, text := range r.s.o.Probes {
		want, path, err := parseProbe(text)
		if err != nil {
			return err
		}
		ports := r.ports()
		if want != "" {
			ports = []string{want}
		}
		for {
			answers, any, err := r.ask(ctx, client, ports, path)
			if err != nil {
				return err
			}
			if any {
				r.out.Probes = append(r.out.Probes, answers...)
				break
			}
			if time.Now().After(deadline) {
				return errdefs.Unavailable("no port (%s) answered %s within %s", strings.Join(ports, ", "), path, probeWait)
			}
			if err := sleep(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// ask asks all ports once.
func (r *slimRun) ask(ctx context.Context, client *http.Client, ports []string, path string) (answers []SlimAnswer, any bool, err error) {
	published, err := r.s.e.Ports(ctx, r.id, "")
	if err != nil {
		return nil, false, err
	}
	for _, port := range ports {
		a := SlimAnswer{Port: port, Path: path}
		for _, p := range published {
			if p.Container != port+"/tcp" || !strings.HasPrefix(p.Host, "127.0.0.1:") {
				continue
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Host+path, nil)
			if err != nil {
				return nil, false, errdefs.Invalid("--http-probe %s: %w", path, err)
			}
			if resp, err := client.Do(req); err == nil {
				resp.Body.Close()
				a.Status, any = resp.StatusCode, true
			}
			break
		}
		answers = append(answers, a)
	}
	return answers, any, ctx.Err()
}
