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
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/pattern"
	"github.com/camada/camada/policy"
	"github.com/camada/camada/reference"
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

// judging is how many images are looked into at the same time.
const judging = 4

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
	j := &admissionJudge{e: e, fault: o.Fault, slots: make(chan struct{}, judging), flights: map[string]*judgement{}}
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
	slots      chan struct{}
	working    sync.WaitGroup

	mu      sync.Mutex
	flights map[string]*judgement
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

// Judge implements admission.Judge.
func (j *admissionJudge) Judge(ctx context.Context, name string, w admission.Who) (string, *policy.Decision, error) {
	key := name + "\x00" + w.Namespace + "\x00" + w.User
	j.mu.Lock()
	f := j.flights[key]
	if f == nil {
		f = &judgement{done: make(chan struct{})}
		j.flights[key] = f
		j.working.Go(func() {
			f.digest, f.decision, f.err = j.find(name, w)
			j.mu.Lock()
			delete(j.flights, key)
			j.mu.Unlock()
			close(f.done)
		})
	}
	j.mu.Unlock()
	select {
	case <-f.done:
		return f.digest, f.decision, f.err
	case <-ctx.Done():
		return "", nil, errdefs.Unavailable("it is still being looked into; try again")
	}
}

// find looks an image up and judges all that it has for any platform: which one a node takes is not known.
func (j *admissionJudge) find(name string, w admission.Who) (string, *policy.Decision, error) {
	ctx, cancel := context.WithTimeout(j.background, judgeTime)
	defer cancel()
	select {
	case j.slots <- struct{}{}:
		defer func() { <-j.slots }()
	case <-ctx.Done():
		return "", nil, errdefs.Unavailable("too many images at once")
	}
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
	repo := j.e.registries().Repository(ref)
	top, err := repo.Resolve(ctx, at)
	if err != nil {
		return "", nil, pullError(ref, err)
	}
	all := &policy.Decision{Action: policy.Deploy, Image: name, Digest: top.Digest.String(), Allowed: true}
	images := 0
	if err := onlyManifests(ctx, repo, top); err != nil {
		return "", nil, err
	}
	err = eachImage(ctx, repo, top, func(at located) error {
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
	return top.Digest.String(), all, err
}
