package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/pattern"
	"github.com/camada/camada/internal/yamltree"
	"github.com/camada/camada/policy/cel"
	"github.com/camada/camada/vuln"
	"github.com/opencontainers/go-digest"
)

// The bounds of a file.
const (
	// MaxFile is the size of a policy, in bytes.
	MaxFile = 1 << 20
	// DefaultAge is how old the advisory database may be when a rule does not say it.
	DefaultAge = 7 * 24 * time.Hour
	// maxRules is how many rules one may have.
	maxRules = 500
)

// Read reads a policy. name is that of its file, which messages show and at whose directory other files begin. Everything that is wrong is told at once, each with
// NAME:LINE; errors are of class ErrInvalid or ErrLimit.
func Read(name string, data []byte) (*Policy, error) {
	if len(data) > MaxFile {
		return nil, errdefs.Limit("policy %s: %d bytes, more than %d", name, len(data), MaxFile)
	}
	top, err := yamltree.Top(data)
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", name, err)
	}
	sum := sha256.Sum256(data)
	r := &reader{policy: &Policy{File: name, Digest: hex.EncodeToString(sum[:]), signers: map[string]Signer{}}, variables: Variables()}
	r.read(top)
	if err := top.Err(); err != nil {
		return nil, fmt.Errorf("policy %s: %w", name, err)
	}
	return r.policy, nil
}

type reader struct {
	policy    *Policy
	variables map[string]*cel.Type
	warn      bool
}

func (r *reader) read(top *yamltree.Section) {
	r.warn = mode(top)
	trust := top.Section("trust")
	for _, name := range slices.Sorted(maps.Keys(trust.Values)) {
		r.policy.signers[name] = r.signer(name, trust.Section(name))
	}
	trust.End()
	seen := map[string]bool{}
	rules := top.Sections("rules")
	if len(rules) > maxRules {
		top.Bad("rules", "more than %d rules", maxRules)
		return
	}
	for _, s := range rules {
		rule := r.rule(s)
		if seen[rule.Name] && rule.Name != "" {
			s.Bad(s.Sub("name"), "there are two rules of the name %s", rule.Name)
		}
		seen[rule.Name] = true
		r.policy.Rules = append(r.policy.Rules, rule)
	}
	if len(rules) == 0 {
		top.Bad("rules", "there are no rules, so everything would be allowed")
	}
	r.policy.Cases = r.cases(top.Sections("tests"), seen)
	top.End()
}

// mode reads whether a rule only warns.
func mode(s *yamltree.Section) bool {
	switch m := s.Text("mode"); m {
	case "", "enforce":
		return false
	case "warn":
		return true
	default:
		s.Bad(s.Sub("mode"), "%q: want enforce or warn", m)
		return false
	}
}

func (r *reader) file(name string) string {
	if name == "" || filepath.IsAbs(name) || strings.Contains(name, "://") { // a key that a program has
		return name
	}
	return filepath.Join(filepath.Dir(r.policy.File), name)
}

func (r *reader) signer(name string, s *yamltree.Section) Signer {
	out := Signer{Name: name, Key: r.file(s.Text("key")), Roots: r.file(s.Text("roots")), Identity: s.Text("identity"), Issuer: s.Text("issuer")}
	switch {
	case out.Key != "" && (out.Roots != "" || out.Identity != "" || out.Issuer != ""):
		s.Bad(s.Path, "want either key, or roots and identity")
	case out.Key == "" && (out.Roots == "" || out.Identity == ""):
		s.Bad(s.Path, "want key, a file, or roots, a file, and identity")
	case out.Identity != "":
		if err := pattern.Check(out.Identity); err != nil {
			s.Bad(s.Sub("identity"), "%w", err)
		} else if strings.Trim(out.Identity, "*/") == "" {
			s.Bad(s.Sub("identity"), "%s is everybody", out.Identity)
		}
	}
	s.End()
	return out
}

func patterns(s *yamltree.Section, key string) []string {
	list := s.Texts(key)
	if len(list) == 0 && s.Values[key] != nil {
		s.Bad(s.Sub(key), "want a pattern at least")
	}
	for _, p := range list {
		if err := pattern.Check(p); err != nil {
			s.Bad(s.Sub(key), "%w", err)
		}
	}
	return list
}

func (r *reader) rule(s *yamltree.Section) *Rule {
	rule := &Rule{Name: s.Text("name"), Description: s.Text("description"), File: r.policy.File, Line: s.Line(s.Path), Match: patterns(s, "match"), Unless: patterns(s, "unless"),
		Namespaces: patterns(s, "namespaces"), Warn: r.warn, Message: s.Text("message"), Fix: s.Text("fix"), partial: s.Flag("partial")}
	if s.Has("mode") {
		rule.Warn = mode(s)
	}
	if rule.Name == "" {
		s.Bad(s.Path, "name is missing")
	}
	for _, a := range s.Texts("on") {
		if !slices.Contains(Actions(), Action(a)) {
			s.Bad(s.Sub("on"), "%q: want %s", a, actionNames())
		}
		rule.On = append(rule.On, Action(a))
	}
	if len(rule.Namespaces) > 0 && len(rule.On) > 0 && !slices.Contains(rule.On, Deploy) {
		s.Bad(s.Sub("namespaces"), "only what is deployed has a namespace, and on does not have it")
	}
	for _, x := range s.Sections("exceptions") {
		rule.Exceptions = append(rule.Exceptions, exception(x))
	}
	r.conditions(s, rule)
	if len(rule.conditions) == 0 && !s.Has("cel") { // what is wrong with an expression is said already
		s.Bad(s.Path, "there is no condition: want one of %s", strings.Join(conditionKeys(), ", "))
	}
	slices.SortStableFunc(rule.conditions, func(a, b condition) int { return a.cost - b.cost })
	s.End()
	return rule
}

func actionNames() string {
	var out []string
	for _, a := range Actions() {
		out = append(out, string(a))
	}
	return strings.Join(out, ", ")
}

func exception(s *yamltree.Section) Exception {
	x := Exception{Match: patterns(s, "match"), Digests: s.Texts("digests"), Reason: s.Text("reason")}
	if s.Text("until") != "never" {
		x.Until = s.Moment("until")
	}
	if len(x.Match)+len(x.Digests) == 0 {
		s.Bad(s.Path, "want match or digests: what the exception is for")
	}
	for _, d := range x.Digests {
		if err := digest.Digest(d).Validate(); err != nil {
			s.Bad(s.Sub("digests"), "%q is no digest", d)
		}
	}
	if x.Reason == "" {
		s.Bad(s.Path, "reason is missing")
	}
	if !s.Has("until") {
		s.Bad(s.Path, "until is missing: a date such as 2030-01-31, or never")
	}
	s.End()
	return x
}

// conditionKeys are the keys of conditions.
func conditionKeys() []string {
	return []string{"allowed", "tag-not", "pinned", "max-size", "max-layers", "max-age", "user-not-root", "labels", "platforms", "signed-by", "attested", "base-allowed", "licenses",
		"scanned-within", "max-severity", "no-secrets", "cel"}
}

// conditions reads those of a rule.
func (r *reader) conditions(s *yamltree.Section, rule *Rule) {
	add := func(c condition) { rule.conditions = append(rule.conditions, c) }
	if s.Has("allowed") {
		add(allowed(patterns(s, "allowed")))
	}
	if s.Has("tag-not") {
		add(tagNot(patterns(s, "tag-not")))
	}
	if isTrue(s, "pinned") {
		add(pinned())
	}
	if s.Has("max-size") {
		add(maxSize(s.Size("max-size")))
	}
	if s.Has("max-layers") {
		add(maxLayers(int(min(s.Number("max-layers"), 1e6))))
	}
	if s.Has("max-age") {
		add(maxAge(s.Duration("max-age")))
	}
	if isTrue(s, "user-not-root") {
		add(userNotRoot())
	}
	if s.Has("labels") {
		add(readLabels(s))
	}
	if s.Has("platforms") {
		add(platforms(patterns(s, "platforms")))
	}
	r.signatures(s, add)
	if s.Has("base-allowed") {
		add(baseAllowed(patterns(s, "base-allowed")))
	}
	if s.Has("licenses") {
		add(readLicenses(s.Section("licenses")))
	}
	rule.within = DefaultAge
	if s.Has("scanned-within") {
		rule.within = s.Duration("scanned-within")
		add(scannedWithin(rule.within))
	}
	readSeverity(s, add)
	if isTrue(s, "no-secrets") {
		add(noSecrets())
	}
	if s.Has("cel") {
		r.expression(s, add)
	}
}

// isTrue reads a condition that is there or not; false would read as if it meant the opposite.
func isTrue(s *yamltree.Section, key string) bool {
	if !s.Has(key) {
		return false
	}
	if !s.Flag(key) {
		s.Bad(s.Sub(key), "want true, or no such key")
	}
	return true
}

func readLabels(s *yamltree.Section) condition {
	want, order := map[string]string{}, []string{}
	if m, ok := s.Get("labels").(map[string]any); ok {
		labels := s.As(s.Sub("labels"), m)
		for _, name := range slices.Sorted(maps.Keys(m)) {
			order, want[name] = append(order, name), labels.Text(name)
			if err := pattern.Check(want[name]); err != nil {
				s.Bad(labels.Sub(name), "%w", err)
			}
		}
	} else {
		order = s.Texts("labels")
	}
	if len(order) == 0 {
		s.Bad(s.Sub("labels"), "want a label at least")
	}
	return labelled(want, order)
}

func readLicenses(s *yamltree.Section) condition {
	l := licenseRule{allow: patterns(s, "allow"), deny: patterns(s, "deny"), unknown: s.Flag("unknown")}
	if len(l.allow)+len(l.deny) == 0 {
		s.Bad(s.Path, "want allow or deny")
	}
	s.End()
	return l.condition()
}

func readSeverity(s *yamltree.Section, add func(condition)) {
	fixable, ignore := s.Flag("fixable-only"), s.Texts("ignore")
	if !s.Has("max-severity") {
		if fixable || len(ignore) > 0 {
			s.Bad(s.Path, "fixable-only and ignore belong to max-severity, which is missing")
		}
		return
	}
	limit, ok := vuln.ParseSeverity(s.Text("max-severity"))
	if !ok || limit == vuln.Unknown {
		s.Bad(s.Sub("max-severity"), "want none, low, medium or high: the worst that is accepted")
	}
	if limit == vuln.Critical {
		s.Bad(s.Sub("max-severity"), "nothing is worse than critical, so everything would be accepted")
	}
	add(maxSeverity(limit, fixable, ignore))
}

// signatures reads who must have signed.
func (r *reader) signatures(s *yamltree.Section, add func(condition)) {
	if s.Has("signed-by") {
		add(signedBy(r.signers(s, "signed-by")))
	}
	if !s.Has("attested") {
		return
	}
	a := s.Section("attested")
	types := a.Texts("type")
	if len(types) == 0 {
		a.Bad(a.Path, "type is missing: a URI, or one of %s", strings.Join(slices.Sorted(maps.Keys(predicates())), ", "))
	}
	var uris []string
	for _, t := range types {
		known := predicates()[t]
		if len(known) == 0 && !strings.Contains(t, ":") {
			a.Bad(a.Sub("type"), "%q: want a URI, or one of %s", t, strings.Join(slices.Sorted(maps.Keys(predicates())), ", "))
		}
		if known == nil {
			known = []string{t}
		}
		uris = append(uris, known...)
	}
	by := r.signers(a, "by")
	if len(by) == 0 {
		a.Bad(a.Path, "by is missing: names below trust")
	}
	a.End()
	add(attested(uris, by))
}

// predicates are the types of attestations by cosign's short names.
func predicates() map[string][]string {
	return map[string][]string{
		"slsaprovenance": {"https://slsa.dev/provenance/v1", "https://slsa.dev/provenance/v0.2"},
		"spdx":           {"https://spdx.dev/Document"},
		"cyclonedx":      {"https://cyclonedx.org/bom"},
		"vuln":           {"https://cosign.sigstore.dev/attestation/vuln/v1"},
		"openvex":        {"https://openvex.dev/ns"},
	}
}

func (r *reader) signers(s *yamltree.Section, key string) []Signer {
	var out []Signer
	names := s.Texts(key)
	if len(names) == 0 && s.Values[key] != nil {
		s.Bad(s.Sub(key), "want a name of trust at least")
	}
	for _, name := range names {
		signer, ok := r.policy.signers[name]
		if !ok {
			s.Bad(s.Sub(key), "%q is not described in trust", name)
		}
		out = append(out, signer)
	}
	return out
}

func (r *reader) expression(s *yamltree.Section, add func(condition)) {
	p, err := cel.Compile(strings.TrimSpace(s.Text("cel")), r.variables)
	switch {
	case err != nil:
		s.Bad(s.Sub("cel"), "%w", err)
	case p.Type != cel.Bool && p.Type != cel.Dyn:
		s.Bad(s.Sub("cel"), "the expression is of type %s, not bool", p.Type)
	default:
		add(expression(p))
	}
}
