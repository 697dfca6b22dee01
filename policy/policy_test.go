package policy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/reference"
)

func readTestdata(t testing.TB) (*Policy, []byte) {
	t.Helper()
	data, err := os.ReadFile("testdata/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Read("testdata/policy.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	return p, data
}

// TestCases judges the images that the file describes: each condition refuses one and accepts one.
func TestCases(t *testing.T) {
	p, _ := readTestdata(t)
	refuses, accepts := map[string]bool{}, map[string]bool{}
	for i := range p.Cases {
		c := &p.Cases[i]
		if err := c.Check(t.Context(), p); err != nil {
			t.Error(err)
		}
		q := c.request
		for _, r := range Judge(t.Context(), []*Policy{p}, q, &c.facts).Results {
			refuses[r.Rule] = refuses[r.Rule] || r.Verdict == Fail || r.Verdict == Unknown
			accepts[r.Rule] = accepts[r.Rule] || r.Verdict == Pass
		}
	}
	for _, r := range p.Rules {
		if !refuses[r.Name] || !accepts[r.Name] {
			t.Errorf("no case shows that the rule %s refuses (%v) and accepts (%v)", r.Name, refuses[r.Name], accepts[r.Name])
		}
	}
}

// A case that says something else than the rules is told.
func TestWrongCase(t *testing.T) {
	p, err := Read("p.yaml", []byte("rules: [{name: a, tag-not: latest}]\ntests:\n- {name: x, image: {reference: app}}\n- {name: y, image: {reference: 'app:1'}, refused: a}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"p.yaml:3: x: refused by a, and should be by none\n  rule a (p.yaml:1): the tag is latest; to do: name a version", "p.yaml:4: y: refused by none, and should be by a"} {
		if err := p.Cases[i].Check(t.Context(), p); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestRead(t *testing.T) {
	for text, want := range map[string]string{
		"": "rules: there are no rules", "rules: [": "policy p.yaml: line 1", "rules:\n- name: a\n  tag-not: x\n  max-sise: 5\n": "line 4: rules[0].max-sise: there is no such key",
		"rules:\n- tag-not: x\n": "line 2: rules[0]: name is missing", "rules: [{name: a, tag-not: x}, {name: a, tag-not: y}]": "two rules of the name a", "rules: [{name: a}]": "there is no condition",
		"rules: [{name: a, tag-not: x, on: fly}]": `"fly": want pull, run`, "rules: [{name: a, tag-not: x, mode: maybe}]": "want enforce or warn", "rules: [{name: a, no-secrets: false}]": "want true, or no such key",
		"rules: [{name: a, max-size: big}]": "want a size", "rules: [{name: a, max-severity: bad}]": "want none, low", "rules: [{name: a, max-severity: critical}]": "nothing is worse",
		"rules: [{name: a, tag-not: x, fixable-only: true}]": "belong to max-severity", "rules: [{name: a, signed-by: me}]": `"me" is not described in trust`, "rules: [{name: a, tag-not: []}]": "want a pattern at least",
		"rules: [{name: a, labels: []}]": "want a label at least", "rules: [{name: a, labels: {}}]": "want a label at least",
		"trust: {a: {}}\nrules: [{name: a, tag-not: x}]": "want key, a file", "trust: {a: {key: k, identity: x}}\nrules: [{name: a, tag-not: x}]": "want either key",
		"trust: {a: {roots: k, identity: '**'}}\nrules: [{name: a, tag-not: x}]": "is everybody", "rules: [{name: a, attested: {type: foo, by: x}}]": "want a URI, or one of",
		"rules:\n- name: a\n  cel: image.sise > 5\n": "line 3: rules[0].cel: 1:7: image has no field sise", "rules: [{name: a, cel: image.size}]": "is of type int, not bool", "rules: [{name: a, licenses: {}}]": "want allow or deny",
		"rules: [{name: a, tag-not: x, exceptions: [{match: y, until: never}]}]": "reason is missing", "rules: [{name: a, tag-not: x, exceptions: [{match: y, reason: z}]}]": "until is missing",
		"rules: [{name: a, tag-not: x, exceptions: [{reason: z, until: never}]}]": "want match or digests", "rules: [{name: a, tag-not: x, exceptions: [{digests: y, reason: z, until: never}]}]": "is no digest",
		"rules: [{name: a, tag-not: x, on: run, namespaces: y}]": "only what is deployed has a namespace", "rules: [{name: a, tag-not: x}]\nrule: 5": "rule: there is no such key",
		"rules: [{name: a, tag-not: 'a['}]": "want [CHARACTERS]", "mode: warn\nrules: 5": "want a list of maps", "rules: [{name: a, tag-not: x}]\n---\n{}": "more than one document",
	} {
		_, err := Read("p.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || !errdefs.IsInvalid(err) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	if _, err := Read("p.yaml", make([]byte, MaxFile+1)); !errdefs.IsLimit(err) {
		t.Errorf("a long file: %v", err)
	}
}

// counting are facts that note what is asked.
type counting struct {
	given
	asked []string
}

func (c *counting) Image(ctx context.Context) (*Image, error) {
	c.asked = append(c.asked, "image")
	return c.given.Image(ctx)
}

func (c *counting) Vulnerabilities(context.Context) (*Scan, error) {
	c.asked = append(c.asked, "vulnerabilities")
	return &Scan{Database: time.Now()}, nil
}

func (c *counting) Secrets(context.Context) ([]Secret, error) {
	c.asked = append(c.asked, "secrets")
	return nil, errdefs.Unavailable("the layers are gone")
}

// What no rule needs is not asked for, and what several need only once; what fails cheaply is not looked into any further.
func TestLazy(t *testing.T) {
	ref, err := reference.Parse("app:1")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]string{
		"rules: [{name: a, tag-not: latest}, {name: b, allowed: app}]":                                                      nil,
		"rules: [{name: a, max-severity: low, tag-not: '1'}]":                                                               nil,
		"rules: [{name: a, max-severity: low, user-not-root: true}, {name: b, on: push, no-secrets: true}]":                 {"image"},
		"rules: [{name: a, max-severity: low}, {name: b, scanned-within: 5h}, {name: c, cel: vulnerabilities.size() == 0}]": {"vulnerabilities"},
		"rules: [{name: a, cel: 'image.tag == \"1\" || secrets.size() == 0'}]":                                              {"image"},
		"rules: [{name: a, cel: 'request.action == \"run\" || secrets.size() == 0'}]":                                       nil,
		"rules: [{name: a, no-secrets: true}, {name: b, no-secrets: true, mode: warn}]":                                     {"secrets"},
	} {
		p, err := Read("p.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		f := &counting{}
		Judge(t.Context(), []*Policy{p}, Request{Action: Run, Names: []reference.Reference{ref}, Now: time.Now()}, f)
		if !slices.Equal(f.asked, want) {
			t.Errorf("%s: asked for %v, want %v", text, f.asked, want)
		}
	}
}

// based says what it was built from, and is believed.
type based struct {
	given
	base  Base
	asked int
}

func (b *based) Base(context.Context) (*Base, error) { return &b.base, nil }

func (b *based) Confirm(_ context.Context, base *Base) (*Base, error) {
	b.asked++
	return base, nil
}

// An expression has no registry asked that an image names, unless it is its own.
func TestBaseOfAnotherRegistry(t *testing.T) {
	ref, err := reference.Parse("registry.example.com/team/app:1")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Read("p.yaml", []byte("rules: [{name: a, cel: 'base.name != \"\"'}]"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		base  Base
		names []reference.Reference
		asked int
		why   string
	}{
		{Base{Name: "registry.example.com/base:1"}, []reference.Reference{ref}, 1, ""},
		{Base{Name: "scratch"}, []reference.Reference{ref}, 1, ""},
		{Base{Name: "evil.example.com/base:1", Built: true}, []reference.Reference{ref}, 1, ""},
		{Base{Name: "evil.example.com/base:1"}, []reference.Reference{ref}, 0, "the registry evil.example.com is not asked"},
		{Base{Name: "registry.example.com/base:1"}, nil, 0, "base-allowed asks the registries that it allows"},
		{Base{Name: "NO NAME"}, []reference.Reference{ref}, 0, "the base image that it names"},
	} {
		f := &based{base: tc.base}
		d := Judge(t.Context(), []*Policy{p}, Request{Action: Deploy, Names: tc.names, Now: time.Now()}, f)
		if r := d.Results[0]; f.asked != tc.asked || d.Allowed != (tc.why == "") || !strings.Contains(r.Message, tc.why) || tc.why != "" && r.Verdict != Unknown {
			t.Errorf("%+v: asked %d times, %+v", tc.base, f.asked, r)
		}
	}
}

// What a name and who asks decide needs no image; what an image may change is left open.
func TestForegone(t *testing.T) {
	ref, err := reference.Parse("evil.example.com/app:1")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"rules: [{name: a, allowed: registry.example.com/**}]": true, "rules: [{name: a, no-secrets: true, allowed: registry.example.com/**}]": true, "rules: [{name: a, tag-not: '1', cel: image.size < 5}]": true,
		"rules: [{name: a, cel: request.user == \"me\" && image.size < 5}]": true, "rules: [{name: a, allowed: evil.example.com/**}]": false, "rules: [{name: a, tag-not: '1', mode: warn}]": false,
		"rules: [{name: a, cel: image.host == \"x\"}]": false, "rules: [{name: a, user-not-root: true, max-severity: low, no-secrets: true, base-allowed: scratch}]": false,
		"trust: {a: {key: k}}\nrules: [{name: a, signed-by: a}]": false, "rules: [{name: a, on: push, tag-not: '1'}]": false,
		"rules: [{name: a, tag-not: '1', exceptions: [{digests: 'sha256:" + strings.Repeat("a", 64) + "', reason: b, until: never}]}]": false,
		"rules: [{name: a, tag-not: '1', exceptions: [{match: evil.example.com/app, reason: b, until: never}]}]":                       false,
	} {
		p, err := Read("p.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		d := Foregone(t.Context(), []*Policy{p}, Request{Action: Deploy, Names: []reference.Reference{ref}, Now: time.Now()})
		if (d != nil) != want || d != nil && d.Err() == nil {
			t.Errorf("%s: %+v", text, d)
		}
	}
}

func TestRefusedError(t *testing.T) {
	p, err := Read("p.yaml", []byte("rules:\n- {name: a, tag-not: latest, message: we want to know what runs, fix: ask Ann}\n- {name: b, no-secrets: true}\n- {name: c, tag-not: latest, mode: warn}\n"))
	if err != nil {
		t.Fatal(err)
	}
	ref, err := reference.Parse("app")
	if err != nil {
		t.Fatal(err)
	}
	d := Judge(t.Context(), []*Policy{p}, Request{Action: Run, Names: []reference.Reference{ref}, Now: time.Now()}, &counting{})
	want := "refused by policy: run of app:latest\n" +
		"  rule a (p.yaml:2): we want to know what runs: the tag is latest; to do: ask Ann\n" +
		"  rule b (p.yaml:3): cannot know: the layers are gone; to do: make it known, or make an exception with a reason"
	if err = d.Err(); err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if !errors.Is(err, ErrRefused) || !errdefs.IsPermission(err) || Refused(err) != d {
		t.Errorf("the classes of %v", err)
	}
	if w := d.Warnings(); len(w) != 1 || w[0].Rule != "c" {
		t.Errorf("warnings %v", w)
	}
}

// Several policies count together: the second one cannot take back what the first one says.
func TestSeveral(t *testing.T) {
	strict, err1 := Read("strict.yaml", []byte("rules: [{name: a, tag-not: latest}]"))
	loose, err2 := Read("loose.yaml", []byte("rules: [{name: a, cel: 'true'}]"))
	ref, err3 := reference.Parse("app")
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]*Policy{{strict, loose}, {loose, strict}} {
		if Judge(t.Context(), list, Request{Action: Run, Names: []reference.Reference{ref}}, &counting{}).Allowed {
			t.Errorf("allowed by %s and %s", list[0].File, list[1].File)
		}
	}
}

// What an image says of itself is not compared, nor repeated, at any length.
func TestLongTexts(t *testing.T) {
	p, err := Read("p.yaml", []byte("rules: [{name: a, labels: {x: '**a*b'}}, {name: b, platforms: '**'}, {name: c, user-not-root: true, labels: y}]"))
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("a", 1<<20)
	d := Judge(t.Context(), []*Policy{p}, Request{Action: Run}, &given{image: Image{Labels: map[string]string{"x": long + "b"}, OS: long, User: long}})
	for _, r := range d.Results {
		if r.Verdict != Fail || len(r.Message) > 1000 || len(r.Checks[0].Fact) > 1000 {
			t.Errorf("rule %s: %s, with a message of %d bytes", r.Rule, r.Verdict, len(r.Message))
		}
	}
}

// signed are facts that know the signatures of one identity.
type signed struct {
	given
	identity string
}

func (s *signed) Signatures(_ context.Context, by Signer, _ string) ([]Signature, error) {
	if by.Identity != s.identity {
		return nil, nil
	}
	return []Signature{{Signer: by.Name, Identity: by.Identity}}, nil
}

// A signer of the same name in another policy is somebody else.
func TestSameSigner(t *testing.T) {
	text := "trust: {ci: {roots: /roots.pem, identity: %s, issuer: https://ci.example.com}}\nrules: [{name: %s, signed-by: ci}]"
	loose, err1 := Read("/etc/loose.yaml", fmt.Appendf(nil, text, "everybody@example.com", "loose"))
	strict, err2 := Read("/etc/strict.yaml", fmt.Appendf(nil, text, "me@example.com", "strict"))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	d := Judge(t.Context(), []*Policy{loose, strict}, Request{Action: Run}, &signed{identity: "everybody@example.com"})
	if d.Allowed || d.Results[0].Verdict != Pass || d.Results[1].Verdict != Fail {
		t.Errorf("the signature that one policy accepts counts for the other one: %+v", d.Results)
	}
}

func TestLicenses(t *testing.T) {
	l := licenseRule{allow: []string{"MIT", "Apache-2.0", "GPL-2.0-only WITH *"}, deny: []string{"AGPL*"}}
	for text, want := range map[string]bool{
		"MIT": true, "GPL-3.0": false, "MIT OR GPL-3.0": true, "MIT AND GPL-3.0": false, "MIT AND (GPL-3.0 OR Apache-2.0)": true, "mit": false, "MIT, Apache-2.0": true,
		"GPL-2.0-only WITH Classpath-exception-2.0": true, "AGPL-3.0 OR AGPL-1.0": false, "MIT OR": false, "(MIT": false, "MIT)": false, "": false, "MIT and Apache-2.0": true,
		"AND": false, "MIT (GPL)": false, strings.Repeat("(", 100) + "MIT" + strings.Repeat(")", 100): false, "MIT OR (": false,
	} {
		if got := l.accepts(text); got != want {
			t.Errorf("%.40q: %v", text, got)
		}
	}
}

func FuzzRead(f *testing.F) {
	_, data := readTestdata(f)
	f.Add(string(data))
	f.Add("rules: [{name: a, licenses: {deny: x}, cel: 'image.size > 5', exceptions: [{match: a, reason: b, until: 2030-01-01}]}]\ntests: [{name: t, image: {packages: [{license: 'A OR (B AND C)'}]}}]")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Read("p.yaml", []byte(text))
		if err != nil {
			if !errdefs.IsInvalid(err) && !errdefs.IsLimit(err) && !errdefs.IsUnsupported(err) {
				t.Fatalf("no class: %v", err)
			}
			return
		}
		for i := range p.Cases {
			_ = p.Cases[i].Check(t.Context(), p)
		}
	})
}
