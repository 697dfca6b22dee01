package policy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/yamltree"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/vuln"
)

// Case is an image that the file describes, with what its rules shall say of it.
type Case struct {
	Name string
	Line int
	// Refused are the rules that refuse it, Warned those that warn; without both it is allowed by all.
	Refused, Warned []string

	request Request
	facts   given
}

// Check judges the case: nil when the rules say what they shall.
func (c *Case) Check(ctx context.Context, p *Policy) error {
	q := c.request
	q.Thorough = true
	d := Judge(ctx, []*Policy{p}, q, &c.facts)
	var refused, warned, why []string
	for i := range d.Results {
		r := &d.Results[i]
		switch {
		case r.Refuses():
			refused = append(refused, r.Rule)
		case r.troubles():
			warned = append(warned, r.Rule)
		default:
			continue
		}
		why = append(why, r.String())
	}
	slices.Sort(refused)
	slices.Sort(warned)
	if slices.Equal(refused, c.Refused) && slices.Equal(warned, c.Warned) {
		return nil
	}
	err := fmt.Errorf("%s:%d: %s: refused by %s, and should be by %s", p.File, c.Line, c.Name, some(refused), some(c.Refused))
	if !slices.Equal(warned, c.Warned) {
		err = fmt.Errorf("%w; warned of by %s, and should be by %s", err, some(warned), some(c.Warned))
	}
	if len(why) > 0 {
		err = fmt.Errorf("%w\n  %s", err, strings.Join(why, "\n  "))
	}
	return errdefs.With(errdefs.ErrConflict, err)
}

func some(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func (r *reader) cases(list []*yamltree.Section, rules map[string]bool) []Case {
	var out []Case
	for _, s := range list {
		c := Case{Name: s.Text("name"), Line: s.Line(s.Path), Refused: s.Texts("refused"), Warned: s.Texts("warned"),
			request: Request{Action: Action(s.Text("action")), Namespace: s.Text("namespace"), User: s.Text("user"), Now: s.Moment("now")}}
		if c.request.Action == "" {
			c.request.Action = Run
		} else if !slices.Contains(Actions(), c.request.Action) {
			s.Bad(s.Sub("action"), "%q: want %s", c.request.Action, actionNames())
		}
		if c.Name == "" {
			s.Bad(s.Path, "name is missing")
		}
		for _, name := range slices.Concat(c.Refused, c.Warned) {
			if !rules[name] {
				s.Bad(s.Path, "there is no rule %s", name)
			}
		}
		slices.Sort(c.Refused)
		slices.Sort(c.Warned)
		if c.request.Now.IsZero() {
			c.request.Now = time.Now()
		}
		r.given(s.Section("image"), &c)
		s.End()
		out = append(out, c)
	}
	return out
}

// given are the facts of a case. What the file does not say is not known.
type given struct {
	image      Image
	base       *Base
	packages   []Package
	scan       *Scan
	secrets    []Secret
	signatures []Signature
	has        map[string]bool
}

func (g *given) missing(key string) error {
	if g.has[key] {
		return nil
	}
	return errdefs.NotFound("the case says nothing of %s", key)
}

func (g *given) Image(context.Context) (*Image, error) { return &g.image, nil }
func (g *given) Base(context.Context) (*Base, error)   { return g.base, g.missing("base") }

// Confirm believes what the case says.
func (g *given) Confirm(_ context.Context, b *Base) (*Base, error) { return b, nil }
func (g *given) Packages(context.Context) ([]Package, error) {
	return g.packages, g.missing("packages")
}
func (g *given) Secrets(context.Context) ([]Secret, error) { return g.secrets, g.missing("secrets") }
func (g *given) Vulnerabilities(context.Context) (*Scan, error) {
	return g.scan, g.missing("vulnerabilities")
}

func (g *given) Signatures(_ context.Context, by Signer, predicate string) ([]Signature, error) {
	var out []Signature
	for _, s := range g.signatures {
		if s.Signer == by.Name && s.PredicateType == predicate {
			out = append(out, s)
		}
	}
	return out, g.missing("signatures")
}

// given reads the image of a case.
func (r *reader) given(s *yamltree.Section, c *Case) {
	g := &c.facts
	g.has = map[string]bool{}
	for key, v := range s.Values {
		g.has[key] = v != nil
	}
	if name := s.Text("reference"); name != "" {
		ref, err := reference.Parse(name)
		if err != nil {
			s.Bad(s.Sub("reference"), "%w", err)
		}
		c.request.Names = []reference.Reference{ref}
	}
	g.image = Image{Digest: s.Text("digest"), Size: s.Size("size"), Layers: int(min(s.Number("layers"), 1e6)), Created: s.Moment("created"), User: s.Text("user"),
		Labels: textMap(s.Section("labels")), Annotations: textMap(s.Section("annotations")), Env: s.Texts("env"), Entrypoint: s.Texts("entrypoint"), Cmd: s.Texts("cmd"),
		Ports: s.Texts("ports"), Volumes: s.Texts("volumes"), OS: "linux", Arch: "amd64"}
	if p := strings.Split(s.Text("platform"), "/"); len(p) > 1 {
		g.image.OS, g.image.Arch = p[0], p[1]
		if len(p) > 2 {
			g.image.Variant = p[2]
		}
	}
	if s.Has("base") {
		g.base = &Base{Name: s.Text("base"), Built: true} // the case knows it
	}
	for _, p := range s.Sections("packages") {
		g.packages = append(g.packages, Package{Name: p.Text("name"), Version: p.Text("version"), Type: p.Text("type"), License: p.Text("license")})
		p.End()
	}
	g.scan = &Scan{Database: c.request.Now, Packages: len(g.packages)}
	if s.Has("database") {
		g.scan.Database = s.Moment("database")
	}
	for _, v := range s.Sections("vulnerabilities") {
		severity, ok := vuln.ParseSeverity(v.Text("severity"))
		if !ok {
			v.Bad(v.Path, "severity is missing, or none: low, medium, high, critical")
		}
		g.scan.Findings = append(g.scan.Findings, Vulnerability{ID: v.Text("id"), Package: v.Text("package"), Version: v.Text("version"), Severity: severity, Fixed: v.Text("fixed"),
			Exploited: v.Flag("exploited"), EPSS: v.Number("epss"), Score: v.Number("score")})
		v.End()
	}
	for _, x := range s.Sections("secrets") {
		g.secrets = append(g.secrets, Secret{Rule: x.Text("rule"), Path: x.Text("path"), Where: "file"})
		x.End()
	}
	for _, x := range s.Sections("signatures") {
		if signer := x.Text("by"); r.policy.signers[signer].Name == "" {
			x.Bad(x.Path, "by: %q is not described in trust", signer)
		} else {
			t := x.Text("type")
			if known := predicates()[t]; len(known) > 0 {
				t = known[0]
			}
			g.signatures = append(g.signatures, Signature{Signer: signer, PredicateType: t, Identity: x.Text("identity"), Issuer: x.Text("issuer")})
		}
		x.End()
	}
	s.End()
}

func textMap(s *yamltree.Section) map[string]string {
	out := map[string]string{}
	for _, k := range slices.Sorted(maps.Keys(s.Values)) {
		out[k] = s.Text(k)
	}
	return out
}
