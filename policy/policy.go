// Package policy says which images may be pulled, run, pushed, built, stored and deployed.
//
//	p, err := policy.Read("policy.yaml", data)
//	d := policy.Judge(ctx, []*policy.Policy{p}, policy.Request{Action: policy.Run, Names: names, Now: time.Now()}, facts)
//	if err := d.Err(); err != nil {
//		return err // names the rule, what is wrong, and what to do
//	}
//
// A policy is a list of rules in YAML:
//
//	rules:
//	  - name: no-latest
//	    on: [run, deploy]
//	    tag-not: latest
//	  - name: no-critical
//	    max-severity: high
//	    fixable-only: true
//	    fix: rebuild on the newest base image
//	  - name: small
//	    match: registry.example.com/edge/**
//	    cel: image.size < 50 * 1000 * 1000 && packages.all(p, p.type != "rpm")
//	    exceptions:
//	      - match: registry.example.com/edge/legacy
//	        reason: is replaced in spring
//	        until: 2027-03-01
//
// All conditions of a rule have to hold, and all rules that are about an image. docs/policy.md has every key.
//
// The package knows neither a store nor a network: what a rule needs to know of an image is asked of Facts when it is needed, and once. What cannot be found
// out holds for no rule: the image is refused, and the verdict says that it is not known.
package policy

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/internal/pattern"
	"github.com/camada/camada/reference"
)

// Action is what is about to be done with an image.
type Action string

// The actions.
const (
	// Pull fetches an image from a registry, for a base image too; a registry's own answer to a pull is one as well.
	Pull Action = "pull"
	// Run makes a container.
	Run Action = "run"
	// Push sends an image to a registry.
	Push Action = "push"
	// Build names or sends the result of a build.
	Build Action = "build"
	// Deploy lets a Kubernetes have a pod.
	Deploy Action = "deploy"
	// Store is a registry that takes an image.
	Store Action = "store"
)

// Actions are all.
func Actions() []Action { return []Action{Pull, Run, Push, Build, Deploy, Store} }

// Policy is a file that was read. It is not changed.
type Policy struct {
	// File is its name in messages.
	File string
	// Digest is the SHA-256 of the text, in hexadecimal digits.
	Digest string
	Rules  []*Rule
	// Cases are those that the file has of itself.
	Cases []Case

	signers map[string]Signer
}

// Files are those that the policy names: keys and certificates, sorted.
func (p *Policy) Files() []string {
	var out []string
	for _, s := range p.signers {
		for _, f := range []string{s.Key, s.Roots} {
			if f != "" && !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	slices.Sort(out)
	return out
}

// Signers are those that the policy describes, by name.
func (p *Policy) Signers() []Signer {
	return slices.SortedFunc(maps.Values(p.signers), func(a, b Signer) int { return strings.Compare(a.Name, b.Name) })
}

// Rule is one rule.
type Rule struct {
	// Name is unique in the file; File and Line are where it stands.
	Name        string
	Description string
	File        string
	Line        int
	// On are the actions that it is about, Match patterns of names, Namespaces patterns of those of a Kubernetes; empty ones are all. What Unless matches it is not about.
	On         []Action
	Match      []string
	Unless     []string
	Namespaces []string
	// Warn only tells.
	Warn bool
	// Message is said first, and Fix instead of what the condition has to say; both may be empty.
	Message, Fix string
	Exceptions   []Exception

	conditions []condition
	// partial accepts that some packages cannot be looked up.
	partial bool
	// within is how old the advisory database may be.
	within time.Duration
}

// Conditions are the keys of the conditions, in the order in which they are looked at.
func (r *Rule) Conditions() []string {
	out := make([]string, len(r.conditions))
	for i, c := range r.conditions {
		out[i] = c.key
	}
	return out
}

// Exception is what a rule does not count for.
type Exception struct {
	// Match are patterns of names, Digests those of manifests; one is enough.
	Match   []string
	Digests []string
	Reason  string
	// Until is when it ends; zero is never.
	Until time.Time
}

// Signer is somebody whose signature is asked for: the owner of a key, or somebody whom a certificate names.
type Signer struct {
	Name string
	// Key is the file of a public key.
	Key string
	// Roots is a file of what certificates are believed by: certificates in PEM, or a trusted root of sigstore's. Identity is a pattern (see package pattern) of who the certificate names,
	// Issuer who has vouched for that.
	Roots, Identity, Issuer string
}

// Request is what somebody wants to do.
type Request struct {
	Action Action
	// Names are those of the image. One that has a digest, and those of an image that was asked for by its ID, have no tag. There may be none.
	Names []reference.Reference
	// Namespace is that of a Kubernetes; User who asks, where that is known.
	Namespace, User string
	// RunAs is the user that a container gets instead of the image's; "" is the image's.
	RunAs string
	Now   time.Time
	// Thorough looks at all conditions of a rule, also after one that does not hold.
	Thorough bool
}

// about reports whether the rule is about what is asked.
func (r *Rule) about(q *Request) bool {
	if len(r.On) > 0 && !slices.Contains(r.On, q.Action) {
		return false
	}
	if len(r.Namespaces) > 0 && (q.Action != Deploy || !pattern.Any(r.Namespaces, q.Namespace)) {
		return false
	}
	// An image without a name may be any.
	if len(r.Match) > 0 && len(q.Names) > 0 && !slices.ContainsFunc(q.Names, func(n reference.Reference) bool { return named(r.Match, n) || named(r.Match, plain(n)) }) {
		return false
	}
	return len(r.Unless) == 0 || !named(r.Unless, q.Names...)
}

// plain is a name with its host as it is written most of the time: REGISTRY.example.com:443 is the registry registry.example.com too. Only rules become more of it, and never
// what is allowed or excepted.
func plain(n reference.Reference) reference.Reference {
	host := strings.ToLower(n.Host)
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		switch port := strings.TrimLeft(host[i+1:], "0"); port {
		case "80", "443":
			host = host[:i]
		default:
			host = host[:i+1] + port
		}
	}
	if p, err := reference.Parse(host + "/" + n.Repository); err == nil {
		n.Host, n.Repository = p.Host, p.Repository
	}
	return n
}

// named reports whether there are names and each of them matches one of the patterns: HOST/REPOSITORY, or as docker writes it, with and without the tag.
func named(patterns []string, names ...reference.Reference) bool {
	for _, n := range names {
		forms := []string{n.Name(), n.FamiliarName()}
		if n.Tag != "" {
			forms = append(forms, n.Name()+":"+n.Tag, n.FamiliarName()+":"+n.Tag)
		}
		if !slices.ContainsFunc(forms, func(f string) bool { return pattern.Any(patterns, f) }) {
			return false
		}
	}
	return len(names) > 0
}

// exception is one that counts; ended is the first one that would have.
func (r *Rule) exception(q *Request, digest string) (counts, ended *Exception) {
	for i := range r.Exceptions {
		x := &r.Exceptions[i]
		if !slices.Contains(x.Digests, digest) && !named(x.Match, q.Names...) {
			continue
		}
		if x.Until.IsZero() || q.Now.Before(x.Until) {
			return x, ended
		}
		if ended == nil {
			ended = x
		}
	}
	return nil, ended
}
