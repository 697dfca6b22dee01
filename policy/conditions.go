package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/pattern"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/vuln"
	"github.com/docker/go-units"
)

// What conditions cost, by what they have to look at.
const (
	costName = iota
	costManifest
	costSignature
	costBase
	costPackages
	costScan
	costSecrets
)

func sizeText(n int64) string { return units.HumanSizeWithPrecision(float64(n), 3) }

// names says what the image is called.
func (q *Request) names() string {
	out := make([]string, len(q.Names))
	for i, n := range q.Names {
		out[i] = n.Familiar()
	}
	return strings.Join(out, ", ")
}

// allowed wants the image to be called like one of the patterns.
func allowed(patterns []string) condition {
	return condition{"allowed", costName, func(ctx context.Context, j *judge) (finding, error) {
		if len(j.q.Names) == 0 {
			return finding{}, errdefs.NotFound("the image has no name")
		}
		f := finding{fact: "the name is " + j.q.names()}
		if !named(patterns, j.q.Names...) {
			f.reason, f.fix = f.fact+", which is none of "+strings.Join(patterns, ", "), "take the image from an allowed place"
		}
		return f, nil
	}}
}

func tagNot(patterns []string) condition {
	return condition{"tag-not", costName, func(ctx context.Context, j *judge) (finding, error) {
		f := finding{fact: "there is no tag"}
		for _, n := range j.q.Names {
			if n.Tag == "" || n.Digest != "" { // the digest says which image it is
				continue
			}
			f.fact = "the tag is " + n.Tag
			if pattern.Any(patterns, n.Tag) {
				f.reason, f.fix = f.fact, "name a version, such as "+n.FamiliarName()+":1.2, or a digest"
				break
			}
		}
		return f, nil
	}}
}

func pinned() condition {
	return condition{"pinned", costName, func(ctx context.Context, j *judge) (finding, error) {
		f := finding{fact: "the name has a digest"}
		if len(j.q.Names) > 0 && !slices.ContainsFunc(j.q.Names, func(n reference.Reference) bool { return n.Digest != "" }) {
			f = finding{"the name has no digest", j.q.names() + " has no digest", "write NAME@sha256:…; \"camada inspect\" shows it"}
		}
		return f, nil
	}}
}

// ofImage is a condition that needs manifest and config alone.
func ofImage(key string, check func(j *judge, img *Image) finding) condition {
	return condition{key, costManifest, func(ctx context.Context, j *judge) (finding, error) {
		img, err := j.facts.Image(ctx)
		if err != nil {
			return finding{}, err
		}
		return check(j, img), nil
	}}
}

func maxSize(limit int64) condition {
	return ofImage("max-size", func(_ *judge, img *Image) finding {
		f := finding{fact: "the layers have " + sizeText(img.Size)}
		if img.Size > limit {
			f.reason, f.fix = fmt.Sprintf("%s, more than %s", f.fact, sizeText(limit)), "see what is in it with \"camada layers\""
		}
		return f
	})
}

func maxLayers(limit int) condition {
	return ofImage("max-layers", func(_ *judge, img *Image) finding {
		f := finding{fact: fmt.Sprintf("there are %d layers", img.Layers)}
		if img.Layers > limit {
			f.reason, f.fix = fmt.Sprintf("%s, more than %d", f.fact, limit), "do in one step what belongs together"
		}
		return f
	})
}

func maxAge(limit time.Duration) condition {
	return ofImage("max-age", func(j *judge, img *Image) finding {
		f := finding{fact: "it was made on " + img.Created.UTC().Format(time.DateOnly)}
		if img.Created.IsZero() {
			f.fact = "it does not say when it was made"
		}
		if j.q.Now.Sub(img.Created) > limit || img.Created.After(j.q.Now.Add(24*time.Hour)) {
			f.reason, f.fix = fmt.Sprintf("%s, and may be %s old", f.fact, ageText(limit)), "build it anew"
		}
		return f
	})
}

func ageText(d time.Duration) string {
	if day := 24 * time.Hour; d >= day && d%day == 0 {
		return fmt.Sprintf("%d days", d/day)
	}
	return d.String()
}

func userNotRoot() condition {
	return ofImage("user-not-root", func(j *judge, img *Image) finding {
		user := orElse(j.q.RunAs, img.User)
		f := finding{fact: fmt.Sprintf("the user is %.200s", orElse(user, "root, as nothing else is said"))}
		name, _, _ := strings.Cut(user, ":")
		if name == "root" || strings.Trim(name, "+-0") == "" { // a sign is a part of a number to all that run images
			f.reason, f.fix = f.fact, "add USER to the Dockerfile, with a number such as 65532"
		}
		return f
	})
}

// maxWord is how long a text of an image may be that is compared with a pattern, in bytes.
const maxWord = 4096

// fits is pattern.Match for what an image says of itself, as long as it likes: the time grows with the square of that.
func fits(p, s string) bool { return len(s) <= maxWord && pattern.Match(p, s) }

func labelled(want map[string]string, order []string) condition {
	return ofImage("labels", func(_ *judge, img *Image) finding {
		for _, name := range order {
			v, ok := img.Labels[name]
			switch {
			case !ok:
				return finding{"there is no label " + name, "there is no label " + name, "add LABEL " + name + "=… to the Dockerfile"}
			case want[name] != "" && !fits(want[name], v):
				return finding{fmt.Sprintf("the label %s is %.200q", name, v), fmt.Sprintf("the label %s is %.200q, and should be like %s", name, v, want[name]), "correct LABEL " + name + " in the Dockerfile"}
			}
		}
		return finding{fact: "there are " + strings.Join(order, ", ")}
	})
}

func platforms(patterns []string) condition {
	return ofImage("platforms", func(_ *judge, img *Image) finding {
		p := img.Platform()
		f := finding{fact: fmt.Sprintf("it is for %.200s", p)}
		if !slices.ContainsFunc(patterns, func(want string) bool { return fits(want, p) }) {
			f.reason, f.fix = f.fact+", and not for "+strings.Join(patterns, ", "), "build it with --platform"
		}
		return f
	})
}

// baseAllowed wants one of the names, which its registry confirms: a registry that the rule does not allow is not asked. A digest is enough by itself for what was built here.
func baseAllowed(patterns []string) condition {
	return condition{"base-allowed", costBase, func(ctx context.Context, j *judge) (finding, error) {
		b, err := j.facts.Base(ctx)
		if err != nil {
			return finding{fix: "build it with camada, or with a builder that notes the base image in annotations"}, err
		}
		f := finding{fact: "it is built from " + b.Name}
		if b.Built && b.Digest != "" && slices.Contains(patterns, b.Digest) {
			return f, nil
		}
		fits, err := isBase(patterns, b)
		if err == nil && fits {
			if b, err = j.facts.Confirm(ctx, b); err == nil {
				f.fact = "it is built from " + b.Name
				fits, err = isBase(patterns, b)
			} else {
				f.fix = "build FROM what the registry of that name has, or allow the base image by its digest"
			}
		}
		if err != nil || fits {
			return f, err
		}
		f.reason, f.fix = f.fact+", which is none of "+strings.Join(patterns, ", "), "build FROM an allowed image"
		return f, nil
	}}
}

// isBase reports whether a base is called like one of the patterns. A tag beside a digest says nothing.
func isBase(patterns []string, b *Base) (bool, error) {
	if b.Name == "scratch" {
		return pattern.Any(patterns, b.Name), nil
	}
	ref, err := reference.Parse(b.Name)
	if err != nil {
		return false, err
	}
	if ref.Digest != "" {
		ref.Tag = ""
	}
	return named(patterns, ref), nil
}

func noSecrets() condition {
	return condition{"no-secrets", costSecrets, func(ctx context.Context, j *judge) (finding, error) {
		list, err := j.facts.Secrets(ctx)
		if err != nil || len(list) == 0 {
			return finding{fact: "there are no secrets"}, err
		}
		s := list[0]
		f := finding{fact: fmt.Sprintf("there are %d secrets", len(list)), fix: "take it out of the build (RUN --mount=type=secret), make the secret worthless, and see \"camada secrets\""}
		f.reason = fmt.Sprintf("there is a secret: %s in %s", s.Rule, strings.TrimSpace(s.Where+" "+s.Path))
		if len(list) > 1 {
			f.reason += fmt.Sprintf(", and %d more", len(list)-1)
		}
		return f, nil
	}}
}

// scan returns what was looked up, all of it unless the rule accepts less.
func (j *judge) scan(ctx context.Context) (*Scan, error) {
	s, err := j.facts.Vulnerabilities(ctx)
	switch {
	case err != nil:
		return nil, err
	case s.Incomplete != nil && !j.rule.partial:
		return nil, s.Incomplete
	case j.old(s):
		return nil, errdefs.Unavailable("the advisory database is of %s, older than %s", s.Database.UTC().Format(time.DateOnly), ageText(j.rule.within))
	}
	return s, nil
}

// old reports whether the database is older than the rule accepts. One of the future says nothing either.
func (j *judge) old(s *Scan) bool {
	age := j.q.Now.Sub(s.Database)
	return age > j.rule.within || age < -24*time.Hour
}

func scannedWithin(limit time.Duration) condition {
	return condition{"scanned-within", costScan, func(ctx context.Context, j *judge) (finding, error) {
		s, err := j.facts.Vulnerabilities(ctx)
		if err == nil && s.Incomplete != nil && !j.rule.partial {
			err = s.Incomplete
		}
		if err != nil {
			return finding{fix: "make or renew the database with \"camada db update\""}, err
		}
		f := finding{fact: fmt.Sprintf("%d packages were looked up in advisories of %s", s.Packages, s.Database.UTC().Format("2006-01-02 15:04"))}
		if j.old(s) {
			f.reason, f.fix = f.fact+", older than "+ageText(limit), "renew the database with \"camada db update\""
		}
		return f, nil
	}}
}

// maxSeverity wants no finding worse than limit.
func maxSeverity(limit vuln.Severity, fixableOnly bool, ignore []string) condition {
	return condition{"max-severity", costScan, func(ctx context.Context, j *judge) (finding, error) {
		s, err := j.scan(ctx)
		if err != nil {
			return finding{fix: "make or renew the database with \"camada db update\""}, err
		}
		var bad []Vulnerability
		for _, v := range s.Findings {
			if v.Severity > limit && (!fixableOnly || v.Fixed != "") && !slices.Contains(ignore, v.ID) && !slices.ContainsFunc(v.Aliases, func(a string) bool { return slices.Contains(ignore, a) }) {
				bad = append(bad, v)
			}
		}
		f := finding{fact: fmt.Sprintf("%d findings in %d packages, none worse than %s", len(s.Findings), s.Packages, limit)}
		if len(bad) == 0 {
			return f, nil
		}
		worst := slices.MaxFunc(bad, func(a, b Vulnerability) int { return int(a.Severity) - int(b.Severity) })
		f.fact = fmt.Sprintf("%d findings are worse than %s", len(bad), limit)
		f.reason = fmt.Sprintf("%s in %s %s is %s", worst.ID, worst.Package, worst.Version, worst.Severity)
		f.fix = "nothing repairs it yet; see \"camada scan\""
		if worst.Fixed != "" {
			f.reason += ", and repaired in " + worst.Fixed
			f.fix = "update it to " + worst.Fixed + ", or build on a newer base image; see \"camada scan\""
		}
		if len(bad) > 1 {
			f.reason += fmt.Sprintf("; and %d more", len(bad)-1)
		}
		return f, nil
	}}
}

func signedBy(signers []Signer) condition {
	return condition{"signed-by", costSignature, func(ctx context.Context, j *judge) (finding, error) {
		return j.signed(ctx, signers, []string{""}, "signature", "sign it with \"camada sign\"")
	}}
}

func attested(types []string, signers []Signer) condition {
	return condition{"attested", costSignature, func(ctx context.Context, j *judge) (finding, error) {
		return j.signed(ctx, signers, types, "attestation "+strings.Join(types, " or "), "attach one with \"camada attest\"")
	}}
}

func (j *judge) signed(ctx context.Context, signers []Signer, types []string, what, fix string) (finding, error) {
	var unknown error
	for _, by := range signers {
		for _, t := range types {
			list, err := j.facts.Signatures(ctx, by, t)
			if err != nil {
				unknown = errors.Join(unknown, err)
			}
			if len(list) > 0 {
				return finding{fact: fmt.Sprintf("there is a %s of %s", what, by.Name)}, nil
			}
		}
	}
	if unknown != nil {
		return finding{}, unknown
	}
	names := make([]string, len(signers))
	for i, s := range signers {
		names[i] = s.Name
	}
	no := fmt.Sprintf("there is no %s of %s", what, strings.Join(names, " or "))
	return finding{no, no, fix}, nil
}
