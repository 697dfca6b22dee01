package api

import (
	"net/url"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/access"
	"github.com/opencontainers/go-digest"
)

// maxLog is how many entries of a tag's log an answer has.
const maxLog = 1000

// tagLog answers with the log of a tag, the newest move first: GET <name>/_camada/history/<tag>?n=<integer>.
func (c *call) tagLog() {
	if !reference.ValidTag(c.ref) {
		c.fail(codeManifestInvalid, errdefs.Invalid("%.150q is not a tag", c.ref))
		return
	}
	_, n, ok := c.page()
	if !ok {
		return
	}
	log, err := c.storage.TagLog(c.r.Context(), c.repository, c.ref)
	if err != nil {
		c.fail(codeManifestUnknown, err)
		return
	}
	if log = log[:min(n, maxLog, len(log))]; log == nil {
		log = []registry.LogEntry{}
	}
	c.json(struct {
		Name    string              `json:"name"`
		Tag     string              `json:"tag"`
		History []registry.LogEntry `json:"history"`
	}{c.repository, c.ref, log})
}

// moveBack points a tag to something that it pointed to before: POST <name>/_camada/history/<tag>, with ?to=<digest>, or without it to
// what was there before the last move. A tag that was deleted comes back. Only what the log of the tag has is
// taken, so that nobody makes of it something that was never pushed as that tag. If-Match and If-None-Match are about what the tag is now.
func (c *call) moveBack() {
	if !reference.ValidTag(c.ref) {
		c.fail(codeManifestInvalid, errdefs.Invalid("%.150q is not a tag", c.ref))
		return
	}
	if c.opts.Immutable != nil && c.opts.Immutable(c.repository, c.ref) && !c.allowed(c.repository, access.Admin) {
		return
	}
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		c.fail(codeUnsupported, errdefs.With(errdefs.ErrInvalid, err))
		return
	}
	log, err := c.storage.TagLog(c.r.Context(), c.repository, c.ref)
	if err != nil {
		c.fail(codeManifestUnknown, err)
		return
	}
	var now digest.Digest
	if len(log) > 0 {
		now = log[0].To
	}
	if !c.holds(now) {
		c.fail(codeManifestUnknown, errPrecondition)
		return
	}
	to, err := target(log, digest.Digest(q.Get("to")))
	if err != nil {
		c.fail(codeManifestUnknown, err)
		return
	}
	if c.opts.Admit != nil { // what was good then may not be good now
		m, err := c.storage.Manifest(c.r.Context(), c.repository, to)
		if err == nil {
			err = c.admit(true, []string{c.ref}, m)
		}
		if err != nil {
			c.fail(codeManifestUnknown, err)
			return
		}
	}
	verb := "rollback"
	if now == "" {
		verb = "restore"
	}
	err = c.storage.MoveTag(c.r.Context(), c.repository, c.ref, registry.Move{To: to, Expect: &now, Mover: c.mover(verb)})
	if err != nil {
		c.fail(codeManifestUnknown, err)
		return
	}
	c.digest, c.tags = to.String(), []string{c.ref}
	c.w.Header()["Docker-Content-Digest"] = []string{c.digest}
	c.json(struct {
		Name   string        `json:"name"`
		Tag    string        `json:"tag"`
		Verb   string        `json:"verb"`
		Digest digest.Digest `json:"digest"`
		Before digest.Digest `json:"before,omitempty"`
	}{c.repository, c.ref, verb, to, now})
}

// target chooses what a tag goes back to: to when the log has it, and what was there before the last move when it is "".
func target(log []registry.LogEntry, to digest.Digest) (digest.Digest, error) {
	if to == "" {
		if len(log) == 0 || log[0].From == "" {
			return "", errdefs.NotFound("the tag was nothing before")
		}
		return log[0].From, nil
	}
	if err := content.CheckDigest(to); err != nil {
		return "", err
	}
	for _, e := range log {
		if e.To == to || e.From == to {
			return to, nil
		}
	}
	return "", errdefs.NotFound("the tag never was %s", to)
}

// more hands on what others answer.
func (c *call) more() {
	h := c.opts.More[c.ref]
	if h == nil {
		c.fail(codeUnsupported, errdefs.NotFound("no such endpoint"))
		return
	}
	c.longer()
	h.ServeHTTP(c.w, c.r)
}

// sweep removes what nothing leads to: POST /v2/_camada/registry/sweep, with ?dry-run=1 nothing is removed.
func (c *call) sweep() {
	c.longer()
	opts := c.opts.Sweep
	opts.DryRun = opts.DryRun || c.dryRun()
	began := time.Now()
	report, err := c.storage.Sweep(c.r.Context(), opts)
	if err != nil {
		c.fail(codeUnsupported, err)
		return
	}
	c.json(struct {
		registry.SweepReport
		DryRun  bool    `json:"dryRun"`
		Seconds float64 `json:"seconds"`
	}{report, opts.DryRun, time.Since(began).Seconds()})
}

// maxFound bounds the problems in an answer; all are counted.
const maxFound = 1000

// scrub reads all that the registry has: POST /v2/_camada/registry/scrub.
func (c *call) scrub() {
	c.longer()
	found := []registry.Problem{}
	report, err := c.storage.Scrub(c.r.Context(), func(p registry.Problem) error {
		if len(found) < maxFound {
			found = append(found, p)
		}
		return nil
	})
	if err != nil {
		c.fail(codeUnsupported, err)
		return
	}
	c.json(struct {
		registry.ScrubReport
		Found []registry.Problem `json:"found"`
	}{report, found})
}
