// Package retain removes tags that no rule keeps any more.
//
//	err := retain.Run(ctx, storage, retain.Options{Rules: rules, Last: tracker.Last, DryRun: true}, func(r retain.Removal) error { ... })
//
// A rule is about some tags of some repositories. A tag that a rule is about, and that none of these rules keeps, is removed; one that no rule is about
// stays. A tag that was removed can be brought back as long as its history lasts, and a sweep leaves alone what it was until then.
package retain

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/pattern"
	"github.com/camada/camada/internal/semver"
	"github.com/camada/camada/registry"
	"github.com/opencontainers/go-digest"
)

// Rule says what is kept. What one of its reasons keeps is kept.
type Rule struct {
	// Repositories and Tags are patterns (see pattern.Match) of what the rule is about; no Tags are all.
	Repositories, Tags []string
	// Keep are patterns of tags that are kept.
	Keep []string
	// Versions keeps the newest ones of the tags that are semantic versions, Newest those that moved last.
	Versions, Newest int
	// Moved and Pulled keep what was moved, or pulled, within a time.
	Moved, Pulled time.Duration
}

// Options of a Run.
type Options struct {
	Rules []Rule
	// Last tells when tags of a repository were pulled last; what was pulled before Since is not known, so that every tag counts as pulled then.
	Last  func(ctx context.Context, repository string) (map[string]time.Time, error)
	Since time.Time
	// Immutable tags are never removed; nil is none.
	Immutable func(repository, tag string) bool
	// DryRun removes nothing.
	DryRun bool
	// Now tells the time; nil is time.Now.
	Now func() time.Time
}

// Removal is a tag that is removed, or would be.
type Removal struct {
	Repository string        `json:"repository"`
	Tag        string        `json:"tag"`
	Digest     digest.Digest `json:"digest"`
	Moved      time.Time     `json:"moved"`
	// Pulled is when it was pulled last; zero is never, as far as it is known.
	Pulled time.Time `json:"pulled,omitzero"`
	// Why is for people.
	Why string `json:"why"`
}

// verb is what the logs of tags say.
const verb = "retain"

// Run removes the tags that no rule keeps, and tells fn of each of them.
func Run(ctx context.Context, storage registry.Storage, opts Options, fn func(Removal) error) error {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	for after := ""; ; {
		names, err := storage.ListRepositories(ctx, after, 1000)
		if err != nil || len(names) == 0 {
			return err
		}
		for _, name := range names {
			after = name
			if err := repository(ctx, storage, opts, name, fn); err != nil {
				return fmt.Errorf("retain what %s should keep: %w", name, err)
			}
		}
	}
}

// candidate is a tag of which it is not known yet whether it stays.
type candidate struct {
	registry.Tag

	version semver.Version
	valid   bool
	pulled  time.Time
	about   bool
	kept    bool
	why     []string
}

func repository(ctx context.Context, storage registry.Storage, opts Options, name string, fn func(Removal) error) error {
	rules := slices.DeleteFunc(slices.Clone(opts.Rules), func(r Rule) bool { return !pattern.Any(r.Repositories, name) })
	if len(rules) == 0 {
		return nil
	}
	all, err := candidates(ctx, storage, opts, name, rules)
	if err != nil {
		return err
	}
	for i := range rules {
		rules[i].apply(all, opts)
	}
	for _, c := range all {
		if !c.about || c.kept || opts.Immutable != nil && opts.Immutable(name, c.Name) {
			continue
		}
		if !opts.DryRun {
			// Whoever moved it meanwhile wants it.
			err := storage.MoveTag(ctx, name, c.Name, registry.Move{Expect: &c.Descriptor.Digest, Mover: registry.Mover{Verb: verb}})
			if errdefs.IsConflict(err) || errdefs.IsNotFound(err) {
				continue
			}
			if err != nil {
				return err
			}
		}
		r := Removal{Repository: name, Tag: c.Name, Digest: c.Descriptor.Digest, Moved: c.Updated, Pulled: c.pulled, Why: strings.Join(c.why, "; ")}
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

// candidates reads the tags of a repository.
func candidates(ctx context.Context, storage registry.Storage, opts Options, name string, rules []Rule) ([]*candidate, error) {
	var last map[string]time.Time
	if opts.Last != nil && slices.ContainsFunc(rules, func(r Rule) bool { return r.Pulled > 0 }) {
		var err error
		if last, err = opts.Last(ctx, name); err != nil {
			return nil, err
		}
	}
	var all []*candidate
	for after := ""; ; {
		tags, err := storage.ListTags(ctx, name, after, 1000)
		if err != nil || len(tags) == 0 {
			return all, err
		}
		for _, tag := range tags {
			after = tag
			t, err := storage.Tag(ctx, name, tag)
			if errdefs.IsNotFound(err) {
				continue
			}
			if err != nil {
				return nil, err
			}
			c := &candidate{Tag: t, pulled: last[tag]}
			c.version, c.valid = semver.Parse(tag)
			all = append(all, c)
		}
	}
}

// apply looks what a rule keeps, and notes why not.
func (r *Rule) apply(all []*candidate, opts Options) {
	var about []*candidate
	for _, c := range all {
		if len(r.Tags) == 0 || pattern.Any(r.Tags, c.Name) {
			c.about = true
			about = append(about, c)
		}
	}
	keep := func(c *candidate, keeps bool, why string, args ...any) {
		if keeps {
			c.kept = true
		} else {
			c.why = append(c.why, fmt.Sprintf(why, args...))
		}
	}
	now := opts.Now()
	for _, c := range about {
		if len(r.Keep) > 0 {
			keep(c, pattern.Any(r.Keep, c.Name), "it is not like %s", strings.Join(r.Keep, ", "))
		}
		if r.Moved > 0 {
			keep(c, now.Sub(c.Updated) <= r.Moved, "it was moved %s ago", days(now.Sub(c.Updated)))
		}
		if r.Pulled > 0 {
			// Nobody can tell what was pulled before it was noted, nor before it was moved.
			at := c.pulled
			for _, t := range []time.Time{c.Updated, opts.Since} {
				if t.After(at) {
					at = t
				}
			}
			keep(c, now.Sub(at) <= r.Pulled, "nobody pulled it for %s", days(now.Sub(at)))
		}
	}
	if r.Newest > 0 {
		slices.SortStableFunc(about, func(a, b *candidate) int { return b.Updated.Compare(a.Updated) })
		for i, c := range about {
			keep(c, i < r.Newest, "%d were moved later", i)
		}
	}
	if r.Versions > 0 {
		slices.SortStableFunc(about, func(a, b *candidate) int {
			switch {
			case a.valid != b.valid:
				return order(b.valid, a.valid)
			case !a.valid:
				return 0
			default:
				return b.version.Compare(a.version)
			}
		})
		for i, c := range about {
			if c.valid {
				keep(c, i < r.Versions, "%d versions are newer", i)
			} else {
				keep(c, false, "it is no version")
			}
		}
	}
}

// order orders false before true.
func order(a, b bool) int {
	if a == b {
		return 0
	}
	if b {
		return -1
	}
	return 1
}

// days writes a time for people.
func days(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}
