package access

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Limit is on how many manifests somebody pulls, pushes or deletes: a manifest is what an image counts as, as it does with Docker Hub.
type Limit struct {
	// Repositories and Users are as in a Rule.
	Repositories, Users []string
	// Actions that are counted, together.
	Actions Action
	// Count is how many in the time Every; 0 is without a limit.
	Count int
	Every time.Duration
}

func (l *Limit) buckets() *buckets {
	if l.Count == 0 || l.Every <= 0 {
		return nil
	}
	return newBuckets(float64(l.Count)/l.Every.Seconds(), l.Count)
}

// Use is what somebody is about to do.
type Use struct {
	// Who does it, "" for somebody unknown, and where.
	Who, Repository string
	// Action is that on a manifest, Pull, Push or Delete; 0 is none.
	Action Action
	// Look is about a manifest that is not sent: it says what is left, and is not counted.
	Look bool
	// Upload is true when bytes of a blob are sent.
	Upload bool
}

// Begin counts a use; a *WaitError is one too many. The header gets what is left (as Docker Hub has it: RateLimit-Limit, RateLimit-Remaining). What it
// returns is called at the end.
func (g *Gate) Begin(r *http.Request, use Use, h http.Header) (end func(), err error) {
	nothing := func() {}
	if use.Action != 0 && len(g.limits) > 0 {
		return nothing, g.meter(r, use, h)
	}
	if !use.Upload || g.opts.Uploads == 0 {
		return nothing, nil
	}
	c, _ := g.counted(r, use.Who)
	if !g.uploads.begin(c, g.opts.Uploads) {
		return nothing, &WaitError{Seconds: 1}
	}
	return func() { g.uploads.end(c) }, nil
}

// counted is who is counted, and what he is told of it.
func (g *Gate) counted(r *http.Request, who string) (client, string) {
	if who != "" {
		return client{user: who}, who
	}
	c := clientAt(g.client(r))
	return c, c.addr.String()
}

// meter counts by the first limit that is about the use.
func (g *Gate) meter(r *http.Request, use Use, h http.Header) error {
	for i, l := range g.opts.Limits {
		rule := Rule{Repositories: l.Repositories, Users: l.Users}
		if l.Actions&use.Action == 0 || !rule.names(use.Who) || !rule.covers(use.Who, use.Repository) {
			continue
		}
		if g.limits[i] == nil {
			return nil
		}
		c, name := g.counted(r, use.Who)
		n := 1.0
		if use.Look {
			n = 0
		}
		left, err := g.limits[i].count(c, n)
		window := ";w=" + strconv.Itoa(int(l.Every/time.Second))
		h.Set("RateLimit-Limit", strconv.Itoa(l.Count)+window)
		h.Set("RateLimit-Remaining", strconv.Itoa(left)+window)
		h.Set("Docker-RateLimit-Source", name)
		if use.Look {
			return nil
		}
		return err
	}
	return nil
}

// uploads counts how many clients send at once.
type uploads struct {
	mu   sync.Mutex
	busy map[client]int
}

func newUploads() *uploads { return &uploads{busy: map[client]int{}} }

func (u *uploads) begin(c client, most int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.busy[c] >= most {
		return false
	}
	u.busy[c]++
	return true
}

func (u *uploads) end(c client) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.busy[c]--; u.busy[c] <= 0 {
		delete(u.busy, c)
	}
}
