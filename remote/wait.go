package remote

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/camada/camada/progress"
)

const (
	// maxAsked bounds how long a server may ask for patience, at once and all in all for one piece of work: who wants more gets no answer from us.
	maxAsked = 5 * time.Minute
	// maxWaits is how often that is no try: a server that asks for a second again and again is not well.
	maxWaits = 20
	// maxGrow bounds the pause that we choose ourselves.
	maxGrow = 10 * time.Second
	// shown is how long a pause is that is worth telling.
	shown = time.Second
)

// refusal is an answer that is an error.
type refusal struct {
	status int
	// after is how long the server asks to be left alone; 0 when it does not say.
	after time.Duration
	err   error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// statusOf is the status that an error comes from; 0 when it is no answer.
func statusOf(err error) int {
	var r *refusal
	if errors.As(err, &r) {
		return r.status
	}
	return 0
}

// askedFor is how long the server of an error asks to be left alone.
func askedFor(err error) time.Duration {
	var r *refusal
	if errors.As(err, &r) {
		return r.after
	}
	return 0
}

// retryAfter reads the header of that name (RFC 9110, 10.2.3); 0 when there is none.
func retryAfter(v string) time.Duration {
	if s, err := strconv.ParseInt(v, 10, 64); err == nil && s > 0 {
		return time.Duration(min(s, 366*24*3600)) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(t))
	}
	return 0
}

// patience is what is left of the tries of one piece of work.
type patience struct {
	tries  int
	failed int
	// asked is how long the server asked to wait, all in all, and waits how often.
	asked time.Duration
	waits int
}

// wait waits before the next try after err, and returns nil; or err when there is none. What the server asks for is waited for without counting as
// a try, as long as it is not too much.
func (c *Client) wait(ctx context.Context, p *patience, who string, err error) error {
	asked := askedFor(err)
	if asked > maxAsked {
		return fmt.Errorf("%w; it asks to be left alone for %s", err, asked.Round(time.Second))
	}
	if asked > 0 && p.asked+asked <= maxAsked && p.waits < maxWaits {
		p.asked += asked
		p.waits++
	} else if p.failed++; p.failed >= p.tries {
		return err
	}
	d := asked
	if d <= 0 {
		d = min(c.opts.Backoff<<min(max(p.failed-1, 0), 10), maxGrow)
		d += rand.N(d/2 + 1) // so that many do not come back at the same moment
	}
	return c.sleep(ctx, d, who, err)
}

// sleep waits, and tells why when it takes long.
func (c *Client) sleep(ctx context.Context, d time.Duration, who string, why error) error {
	if d >= shown && c.opts.Progress != nil {
		ev := progress.Event{ID: "wait-" + who, Name: fmt.Sprintf("wait %s for %s: %v", d.Round(time.Second), who, why)}
		c.opts.Progress.Emit(ev)
		defer func() {
			ev.State = progress.Done
			c.opts.Progress.Emit(ev)
		}()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// hold keeps all from asking the host until it wants to be asked again.
func (h *host) hold(d time.Duration, why error) {
	if d <= 0 || d > maxAsked {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if until := time.Now().Add(d); until.After(h.heldUntil) {
		h.heldUntil, h.heldWhy = until, why
	}
}

// held waits as long as the host asked others of this process to wait.
func (h *host) held(ctx context.Context) error {
	h.mu.Lock()
	d, why := time.Until(h.heldUntil), h.heldWhy
	h.mu.Unlock()
	if d <= 0 {
		return nil
	}
	return h.c.sleep(ctx, d, h.name, why)
}
