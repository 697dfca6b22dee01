package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
)

// ErrRefused is the class of errors of what a policy refuses; they are of the class ErrPermission too.
const ErrRefused errdefs.Class = "refused by policy"

// The verdicts on a rule.
const (
	Pass = "pass"
	Fail = "fail"
	// Unknown is a fact that cannot be found out.
	Unknown = "unknown"
	// Excepted is a rule that does not count for the image.
	Excepted = "excepted"
)

// Result is what one rule says of an image.
type Result struct {
	Rule        string
	Description string `json:",omitempty"`
	// File and Line are where the rule stands.
	File string
	Line int `json:",omitempty"`
	// Verdict is one of the above, Warn that it is only told.
	Verdict string
	Warn    bool `json:",omitempty"`
	// Message says why, and Fix what to do.
	Message string `json:",omitempty"`
	Fix     string `json:",omitempty"`
	// Checks are the conditions that were looked at.
	Checks []Check
}

// Refuses reports whether the rule refuses the image.
func (r *Result) Refuses() bool { return !r.Warn && r.troubles() }

// troubles reports whether there is something to tell.
func (r *Result) troubles() bool { return r.Verdict == Fail || r.Verdict == Unknown }

// Check is what one condition of a rule found.
type Check struct {
	// Condition is its key, Verdict Pass, Fail or Unknown.
	Condition string
	Verdict   string
	// Fact is what is the case, Reason why that is not enough.
	Fact   string `json:",omitempty"`
	Reason string `json:",omitempty"`
	fix    string
}

// Decision is what policies say of an image.
type Decision struct {
	Action Action
	// Image is what was asked for, Digest that of its manifest, where a rule looked at it.
	Image   string
	Digest  string `json:",omitempty"`
	Allowed bool
	Results []Result
}

// Judge asks all rules that are about what is wanted.
func Judge(ctx context.Context, policies []*Policy, q Request, f Facts) *Decision {
	d := &Decision{Action: q.Action, Allowed: true, Results: []Result{}}
	if len(q.Names) > 0 {
		d.Image = q.Names[0].Familiar()
	}
	facts := &asked{Facts: f, signed: map[string]answer[[]Signature]{}}
	for _, p := range policies {
		for _, r := range p.Rules {
			if !r.about(&q) {
				continue
			}
			j := &judge{policy: p, rule: r, q: &q, facts: facts}
			res := j.result(ctx)
			d.Allowed = d.Allowed && !res.Refuses()
			d.Results = append(d.Results, res)
		}
	}
	if facts.image.done && facts.image.err == nil {
		d.Digest = facts.image.value.Digest
	}
	return d
}

// Foregone is the refusal of what rules refuse by its name and by who asks, whatever the image is; nil when it depends on that. An image from where none may come needs
// no question there.
func Foregone(ctx context.Context, policies []*Policy, q Request) *Decision {
	d := &Decision{Action: q.Action, Results: []Result{}}
	if len(q.Names) > 0 {
		d.Image = q.Names[0].Familiar()
	}
	for _, p := range policies {
		facts := &asked{Facts: unseen{}, signed: map[string]answer[[]Signature]{}}
		for _, r := range p.Rules {
			if r.Warn || !r.about(&q) || slices.ContainsFunc(r.Exceptions, func(x Exception) bool { return len(x.Digests) > 0 }) {
				continue
			}
			j := &judge{policy: p, rule: r, q: &q, facts: facts}
			if res := j.result(ctx); res.Verdict == Fail {
				d.Results = append(d.Results, res)
			}
		}
	}
	if len(d.Results) == 0 {
		return nil
	}
	return d
}

// Concerns reports whether a rule is about what is wanted.
func Concerns(policies []*Policy, q Request) bool {
	return slices.ContainsFunc(policies, func(p *Policy) bool {
		return slices.ContainsFunc(p.Rules, func(r *Rule) bool { return r.about(&q) })
	})
}

// Unlooked is the decision on an image that could not be looked at, because of err: what all rules about it would want to know cannot be known, which those that only warn let pass.
func Unlooked(policies []*Policy, q Request, err error) *Decision {
	d := &Decision{Action: q.Action, Allowed: true, Results: []Result{}}
	if len(q.Names) > 0 {
		d.Image = q.Names[0].Familiar()
	}
	for _, p := range policies {
		for _, r := range p.Rules {
			if !r.about(&q) {
				continue
			}
			res := Result{Rule: r.Name, Description: r.Description, File: r.File, Line: r.Line, Warn: r.Warn, Verdict: Unknown, Message: joinTexts(r.Message, "cannot know: "+err.Error()),
				Fix: orElse(r.Fix, "try again, or see what is the matter with its registry"), Checks: []Check{}}
			if x, _ := r.exception(&q, ""); x != nil {
				res.Verdict, res.Message, res.Fix = Excepted, x.Reason, ""
			}
			d.Allowed = d.Allowed && !res.Refuses()
			d.Results = append(d.Results, res)
		}
	}
	return d
}

// judge is a rule and an image.
type judge struct {
	policy *Policy
	rule   *Rule
	q      *Request
	facts  *asked
}

// condition is one thing that has to hold.
type condition struct {
	key string
	// cost orders conditions: the cheap ones are looked at first.
	cost int
	// check says what is the case. A reason means that it does not hold.
	check func(ctx context.Context, j *judge) (finding, error)
}

// finding is what a condition found; without a reason it holds.
type finding struct{ fact, reason, fix string }

func (j *judge) result(ctx context.Context) Result {
	r := j.rule
	res := Result{Rule: r.Name, Description: r.Description, File: r.File, Line: r.Line, Warn: r.Warn, Verdict: Pass, Checks: []Check{}}
	counts, ended := j.exception(ctx)
	if counts != nil {
		res.Verdict, res.Message = Excepted, counts.Reason
		if !counts.Until.IsZero() {
			res.Message += " (until " + counts.Until.Format("2006-01-02") + ")"
		}
		return res
	}
	for _, c := range r.conditions {
		check := j.check(ctx, c)
		res.Checks = append(res.Checks, check)
		if check.Verdict == Pass {
			continue
		}
		if res.Verdict == Pass {
			res.Verdict = check.Verdict
			res.Message, res.Fix = joinTexts(r.Message, check.Reason), orElse(r.Fix, check.fix)
			if ended != nil {
				res.Message += "; the exception for it ended on " + ended.Until.Format("2006-01-02")
			}
		}
		if !j.q.Thorough {
			break
		}
	}
	return res
}

func (j *judge) exception(ctx context.Context) (counts, ended *Exception) {
	if len(j.rule.Exceptions) == 0 {
		return nil, nil
	}
	digest := ""
	for _, x := range j.rule.Exceptions {
		if len(x.Digests) > 0 {
			if img, err := j.facts.Image(ctx); err == nil {
				digest = img.Digest
			}
			break
		}
	}
	return j.rule.exception(j.q, digest)
}

func (j *judge) check(ctx context.Context, c condition) Check {
	f, err := c.check(ctx, j)
	out := Check{Condition: c.key, Verdict: Pass, Fact: f.fact, Reason: f.reason, fix: f.fix}
	switch {
	case err != nil:
		out.Verdict, out.Reason = Unknown, "cannot know: "+err.Error()
		if out.fix == "" {
			out.fix = "make it known, or make an exception with a reason"
		}
	case f.reason != "":
		out.Verdict = Fail
	}
	return out
}

func joinTexts(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + ": " + b
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// RefusedError says why an image was refused. It is of the classes ErrRefused and ErrPermission.
type RefusedError struct{ Decision *Decision }

// Unwrap returns the classes.
func (e *RefusedError) Unwrap() []error { return []error{ErrRefused, errdefs.ErrPermission} }

// Error names each rule that refuses.
func (e *RefusedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "refused by policy: %s of %s", e.Decision.Action, orElse(e.Decision.Image, orElse(e.Decision.Digest, "an image without a name")))
	for i := range e.Decision.Results {
		if r := &e.Decision.Results[i]; r.Refuses() {
			b.WriteString("\n  " + r.String())
		}
	}
	return b.String()
}

// String is one line: the rule, where it stands, why, and what to do.
func (r *Result) String() string {
	at := r.File
	if r.Line > 0 {
		at = fmt.Sprintf("%s:%d", at, r.Line)
	}
	s := fmt.Sprintf("rule %s (%s): %s", r.Rule, at, r.Message)
	if r.Fix != "" {
		s += "; to do: " + r.Fix
	}
	return s
}

// Add adds what a rule says of another image of the same name, unless it said the same before.
func (d *Decision) Add(r Result) {
	for i := range d.Results {
		if o := &d.Results[i]; o.Rule == r.Rule && o.File == r.File && o.Verdict == r.Verdict && o.Message == r.Message {
			return
		}
	}
	d.Results = append(d.Results, r)
}

// Err is a *RefusedError when the image is refused.
func (d *Decision) Err() error {
	if d.Allowed {
		return nil
	}
	return &RefusedError{d}
}

// Warnings are what rules have to say that do not refuse.
func (d *Decision) Warnings() []Result {
	var out []Result
	for i := range d.Results {
		if r := &d.Results[i]; r.Warn && r.troubles() {
			out = append(out, *r)
		}
	}
	return out
}

// Refused returns the decision of an error, nil when it is none.
func Refused(err error) *Decision {
	var r *RefusedError
	if errors.As(err, &r) {
		return r.Decision
	}
	return nil
}
