package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/camada/camada/admission"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/pattern"
	"github.com/camada/camada/policy"
	"github.com/camada/camada/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// AdmissionOptions say how a Kubernetes is answered.
type AdmissionOptions struct {
	// Addr is HOST:PORT, Cert and Key are files in PEM.
	Addr, Cert, Key string
	Mutate          bool
	// Exempt are patterns of namespaces.
	Exempt  []string
	Timeout time.Duration
	// Ready is told once requests are answered, and where.
	Ready func(url string)
	// Fault is told of errors that end nothing. It is called by many goroutines.
	Fault func(error)
}

// strangerTime is how long a registry of which no image was judged yet may take to give one, when a Kubernetes does not wait any more.
const strangerTime = 2 * time.Minute

// ServeAdmission answers the reviews of a Kubernetes until ctx is done.
func ServeAdmission(ctx context.Context, cfg Config, o AdmissionOptions) error {
	if o.Fault == nil {
		o.Fault = func(error) {}
	}
	for _, p := range o.Exempt {
		if err := pattern.Check(p); err != nil {
			return err
		}
	}
	certs, err := newCertificates(o.Cert, o.Key)
	if err != nil {
		return err
	}
	e, err := Open(ctx, cfg)
	if err != nil {
		return err
	}
	j := newAdmissionJudge(e, o)
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	j.background = work
	err = j.serve(ctx, certs, o)
	stop()
	j.working.Wait()
	return errors.Join(err, e.Close())
}

func (j *admissionJudge) serve(ctx context.Context, certs *certificates, o AdmissionOptions) error {
	if _, err := j.policies(); err != nil {
		return err
	}
	h := admission.New(j, admission.Options{Mutate: o.Mutate, Exempt: o.Exempt, Timeout: o.Timeout, Fault: o.Fault})
	server := &http.Server{Handler: h, ReadHeaderTimeout: headTime, ReadTimeout: bodyTime, WriteTimeout: bodyTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHead,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certs.get},
		// What net/http would log is of clients that do not speak TLS.
		ErrorLog: stdlog.New(io.Discard, "", 0)} //nolint:forbidigo // a logger that drops all
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", o.Addr)
	if err != nil {
		return fmt.Errorf("answer a Kubernetes: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(l, "", "") }()
	if o.Ready != nil {
		o.Ready("https://" + l.Addr().String())
	}
	select {
	case <-ctx.Done():
	case err := <-ended:
		return fmt.Errorf("answer a Kubernetes: %w", err)
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), serveGrace)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		return server.Close()
	}
	return nil
}

// admissionJudge judges images where their registries have them. A judgement that takes longer than a Kubernetes waits goes on, and is known when it asks again.
type admissionJudge struct {
	e          *Engine
	fault      func(error)
	background context.Context //nolint:containedctx // of what outlives a request
	set        policySet
	turns      *turns
	// digests tells that they are asked for also when no rule is about an image; timeout is how long a review takes at most.
	digests bool
	timeout time.Duration
	working sync.WaitGroup

	mu      sync.Mutex
	flights map[string]*judgement
}

func newAdmissionJudge(e *Engine, o AdmissionOptions) *admissionJudge {
	j := &admissionJudge{e: e, fault: o.Fault, digests: o.Mutate, timeout: o.Timeout, flights: map[string]*judgement{}}
	if j.timeout <= 0 {
		j.timeout = admission.DefaultTimeout
	}
	j.turns = newTurns(j.timeout)
	return j
}

// judgement is one that is under way, or was made.
type judgement struct {
	done     chan struct{}
	digest   string
	decision *policy.Decision
	err      error
}

func (j *admissionJudge) policies() ([]*policy.Policy, error) {
	return j.set.again(j.e.policyFiles(), j.fault)
}

// Judge implements admission.Judge. What cannot be looked at, in time, is for the rules to let in or to refuse.
func (j *admissionJudge) Judge(ctx context.Context, name string, w admission.Who) (string, *policy.Decision, error) {
	list, err := j.policies()
	if err != nil {
		return "", nil, err
	}
	ref, err := reference.Parse(name)
	if err != nil {
		return "", nil, err
	}
	at := ref.Tag
	if ref.Digest != "" {
		at, ref.Tag = ref.Digest.String(), ""
	}
	q := policy.Request{Action: policy.Deploy, Names: []reference.Reference{ref}, Namespace: w.Namespace, User: w.User, Now: time.Now()}
	// Whoever makes a pod does not choose whom this machine speaks to when the policy says from where images may come.
	if d := policy.Foregone(ctx, list, q); d != nil {
		d.Image = name
		return "", d, nil
	}
	if !j.digests && !policy.Concerns(list, q) {
		return "", &policy.Decision{Action: q.Action, Image: name, Allowed: true}, nil
	}
	key := sumOf(append([]string{name, w.Namespace, w.User}, j.e.judgedBy(list)...))
	f, err := j.await(ctx, key, ref.Host, func() (string, *policy.Decision, error) { return j.find(list, q, name, at) })
	if err == nil {
		return f.digest, f.decision, nil
	}
	j.fault(fmt.Errorf("judge %q: %w", name, err)) // whoever makes a pod chooses the name
	d := policy.Unlooked(list, q, err)
	d.Image = name
	return "", d, nil
}

// await is a judgement that ends in time.
func (j *admissionJudge) await(ctx context.Context, key, host string, find func() (string, *policy.Decision, error)) (*judgement, error) {
	if ctx.Err() != nil { // other images of the object took the time: nothing begins that nobody waits for
		return nil, errdefs.Unavailable("the registry %s was not asked: the %s that there are were over", host, j.timeout)
	}
	f := j.flight(key, find)
	select {
	case <-f.done:
		return f, f.err
	case <-ctx.Done():
		return nil, errdefs.Unavailable("the registry %s did not give all that is asked for in the %s that there are", host, j.timeout)
	}
}

// flight begins to judge, unless the same is under way by the same policies.
func (j *admissionJudge) flight(key string, find func() (string, *policy.Decision, error)) *judgement {
	j.mu.Lock()
	defer j.mu.Unlock()
	f := j.flights[key]
	if f == nil {
		f = &judgement{done: make(chan struct{})}
		j.flights[key] = f
		j.working.Go(func() {
			f.digest, f.decision, f.err = find()
			j.mu.Lock()
			delete(j.flights, key)
			j.mu.Unlock()
			close(f.done)
		})
	}
	return f
}

// find looks an image up when it is its registry's turn. What a registry says at first, it has to say before a Kubernetes ceases to wait.
func (j *admissionJudge) find(list []*policy.Policy, q policy.Request, name, at string) (dgst string, d *policy.Decision, err error) {
	ref := q.Names[0]
	soon, cancel := context.WithTimeout(j.background, j.timeout)
	defer cancel()
	work, stop := context.WithCancelCause(j.background)
	defer stop(nil)
	turn, err := j.turns.take(soon, ref.Host, stop)
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil && work.Err() != nil {
			err = context.Cause(work)
		}
		turn.end(conductOf(err))
	}()
	limit := judgeTime
	if turn.stranger {
		limit = strangerTime
	}
	ctx, cancelWork := context.WithTimeout(work, limit)
	defer cancelWork()
	repo := j.e.registries().Repository(ref)
	first, cancelFirst := context.WithTimeout(ctx, j.timeout)
	defer cancelFirst()
	top, err := repo.Resolve(first, at)
	if err == nil {
		err = onlyManifests(first, repo, top)
	}
	if err != nil {
		return "", nil, pullError(ref, err)
	}
	d, err = j.all(ctx, list, q, repo, top)
	if err != nil {
		return "", nil, err
	}
	d.Image = name
	return top.Digest.String(), d, nil
}

// all judges all that an image has for any platform: which one a node takes is not known.
func (j *admissionJudge) all(ctx context.Context, list []*policy.Policy, q policy.Request, repo content.Provider, top ocispec.Descriptor) (*policy.Decision, error) {
	all := &policy.Decision{Action: policy.Deploy, Digest: top.Digest.String(), Allowed: true}
	images := 0
	err := j.e.eachImage(ctx, repo, top, func(at located) error {
		images++
		d, err := j.e.decide(ctx, list, q, at, nil)
		if err != nil {
			return err
		}
		all.Allowed = all.Allowed && d.Allowed
		for _, r := range d.Results { // what is said of several platforms is said once
			all.Add(r)
		}
		return nil
	})
	if err == nil && images == 0 {
		err = errdefs.Unsupported("there is no image behind the name")
	}
	return all, err
}
