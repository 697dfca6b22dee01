package secret

import (
	_ "embed" // the rules
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"

	"github.com/camada/camada/errdefs"
	"github.com/pelletier/go-toml/v2"
)

//go:embed rules/gitleaks.toml
var gitleaksRules []byte

//go:embed rules/camada.toml
var ownRules []byte

// document is a file of rules, in gitleaks' form.
type document struct {
	Allowlist allowlist `toml:"allowlist"`
	Rules     []*rule   `toml:"rules"`
	// Near is that of rules of gitleaks.
	Near map[string][]string `toml:"near"`
	// Keywords are others for rules of gitleaks, Weak rules whose expression says little of the secret itself.
	Keywords map[string][]string `toml:"keywords"`
	Weak     []string            `toml:"weak"`
	// Regexes are other expressions than those of gitleaks.
	Regexes map[string]string `toml:"regexes"`
}

// rule says what a kind of secret looks like. The names are gitleaks'.
type rule struct {
	ID          string      `toml:"id"`
	Description string      `toml:"description"`
	Regex       string      `toml:"regex"`
	Path        string      `toml:"path"`
	Entropy     float64     `toml:"entropy"`
	Group       int         `toml:"secretGroup"`
	Keywords    []string    `toml:"keywords"`
	Allowlists  []allowlist `toml:"allowlists"`
	// Near are words of which one has to follow the keyword within Within bytes (128).
	Near   []string `toml:"near"`
	Within int      `toml:"within"`

	// weak: the name before a value says that it is a secret, and not the value. Such rules look only at text.
	weak bool
	// own rules come before those of gitleaks where both find something, and those of the catalog of services after them.
	own, catalog bool

	once  sync.Once
	err   error
	regex *regexp.Regexp
	path  *regexp.Regexp
	allow []allowed
	// reach is how long a match can be, at most maxReach.
	reach int
	// name is the expression for the name before a value.
	name string
	// follows is what has to come after the keyword that the expression begins with.
	literal string
	follows *[256]bool
	count   int
}

// allowlist says what is no secret.
type allowlist struct {
	Condition string   `toml:"condition"`
	Target    string   `toml:"regexTarget"`
	Regexes   []string `toml:"regexes"`
	Paths     []string `toml:"paths"`
	Stopwords []string `toml:"stopwords"`
}

// allowed is an allowlist that was compiled.
type allowed struct {
	and            bool
	target         string
	regexes, paths []*regexp.Regexp
	stopwords      []string
}

// afterName is how gitleaks' rules go on after the name of what a value is for.
const afterName = `(?:=|>|:{1,3}=|\|\||:|=>|\?=|,)`

// theirEnd is what has to follow a secret that has a form of its own. It can stand in XML, in URLs and in calls as well.
const (
	theirEnd = `(?:[\x60'"\s;]|\\[nr]|$)`
	ourEnd   = `(?:[\x60'"\s;<>,)&|\]}\\]|$)`

	theirOtherEnd = `(?:$|[\\'"\x60\s<),])`
	ourOtherEnd   = `(?:$|[\\'"\x60\s<),;>&|\]}])`
)

func (s *Scanner) load() error {
	var theirs, ours document
	if err := toml.Unmarshal(gitleaksRules, &theirs); err != nil {
		return errdefs.Corrupt("gitleaks.toml: %w", err)
	}
	if err := toml.Unmarshal(ownRules, &ours); err != nil {
		return errdefs.Corrupt("camada.toml: %w", err)
	}
	mine := map[string]bool{}
	for _, r := range ours.Rules {
		r.own, mine[r.ID] = true, true
	}
	more, names, err := loadCatalog()
	if err != nil {
		return err
	}
	s.services.text = names
	s.rules = slices.Concat(ours.Rules, more)
	for _, r := range theirs.Rules {
		if mine[r.ID] {
			continue
		}
		if k, ok := ours.Keywords[r.ID]; ok {
			r.Keywords = k
		}
		if x, ok := ours.Regexes[r.ID]; ok {
			r.Regex = x
		}
		if n, ok := ours.Near[r.ID]; ok {
			r.Near, r.Within = n, 512
		}
		if !strings.Contains(r.Regex, afterName) {
			r.Regex = strings.NewReplacer(theirEnd, ourEnd, theirOtherEnd, ourOtherEnd).Replace(r.Regex)
		}
		s.rules = append(s.rules, r)
	}
	slices.SortFunc(s.rules, func(a, b *rule) int { return strings.Compare(a.ID, b.ID) })
	var words []string
	for _, r := range s.rules {
		r.weak = r.weak || slices.Contains(ours.Weak, r.ID) || strings.Contains(r.Regex, afterName) && !r.own
		for _, a := range r.Allowlists {
			words = append(words, longWords(a.Stopwords)...)
		}
	}
	s.stops = sync.OnceValue(func() *search { return newSearch(words) })
	// The rest of the global list is in lookalike.go.
	s.allowed, err = compileList(allowlist{Paths: append(theirs.Allowlist.Paths, ours.Allowlist.Paths...)})
	s.index()
	return err
}

// longWords are those words that are long enough not to be in a random text, if they can be in one of lower case.
func longWords(words []string) (out []string) {
	for _, w := range words {
		if len(w) >= 4 && w == strings.ToLower(w) {
			out = append(out, w)
		}
	}
	return out
}

// index makes the search for all keywords.
func (s *Scanner) index() {
	var words []string
	for _, r := range s.rules {
		if r.Regex == "" {
			s.byPath = append(s.byPath, r)
			continue
		}
		for i, k := range r.Keywords {
			r.Keywords[i] = strings.ToLower(k)
			words = append(words, r.Keywords[i])
		}
	}
	slices.Sort(words)
	words = slices.Compact(words)
	s.search = newSearch(words)
	s.search.rules = make([][]*rule, len(words))
	for _, r := range s.rules {
		for _, k := range r.Keywords {
			if i, ok := slices.BinarySearch(words, k); ok && r.Regex != "" {
				s.search.rules[i] = append(s.search.rules[i], r)
			}
		}
	}
	s.search.words = words
}

// compile is called before the rule is first used.
func (r *rule) compile() error {
	r.once.Do(func() { r.err = r.prepare() })
	if r.err != nil {
		return errdefs.Corrupt("rule %s: %w", r.ID, r.err)
	}
	return nil
}

func (r *rule) prepare() (err error) {
	if r.Path != "" {
		if r.path, err = regexp.Compile(r.Path); err != nil {
			return err
		}
	}
	for _, a := range r.Allowlists {
		l, err := compileList(a)
		if err != nil {
			return err
		}
		r.allow = append(r.allow, l)
	}
	if r.Regex == "" {
		return nil
	}
	if r.regex, err = regexp.Compile(r.Regex); err != nil {
		return err
	}
	tree, err := syntax.Parse(r.Regex, syntax.Perl)
	if err != nil {
		return err
	}
	r.reach = min(longest(tree), maxReach)
	if name, _, ok := strings.Cut(r.Regex, afterName); ok && r.weak {
		r.name = strings.ToLower(name)
	}
	r.begins(tree)
	return nil
}

func compileList(a allowlist) (allowed, error) {
	out := allowed{and: a.Condition == "AND", target: a.Target, stopwords: a.Stopwords}
	for _, l := range []struct {
		from []string
		to   *[]*regexp.Regexp
	}{{a.Regexes, &out.regexes}, {a.Paths, &out.paths}} {
		for _, e := range l.from {
			re, err := regexp.Compile(e)
			if err != nil {
				return out, err
			}
			*l.to = append(*l.to, re)
		}
	}
	return out, nil
}

// longest is how many bytes an expression matches at most; more than maxReach for no limit.
func longest(e *syntax.Regexp) int {
	const none = maxReach + 1
	switch e.Op {
	case syntax.OpLiteral:
		return len(string(e.Rune))
	case syntax.OpCharClass:
		if n := len(e.Rune); n > 0 && e.Rune[n-1] < 0x80 {
			return 1
		}
		return 4
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return 4
	case syntax.OpCapture, syntax.OpQuest:
		return longest(e.Sub[0])
	case syntax.OpStar, syntax.OpPlus:
		return none
	case syntax.OpRepeat:
		if e.Max < 0 {
			return none
		}
		return min(none, e.Max*longest(e.Sub[0]))
	case syntax.OpConcat:
		n := 0
		for _, sub := range e.Sub {
			n += longest(sub)
		}
		return min(none, n)
	case syntax.OpAlternate:
		n := 0
		for _, sub := range e.Sub {
			n = max(n, longest(sub))
		}
		return n
	}
	return 0
}

// begins notes the literal that an expression begins with, and which characters follow it how often at least: so most places are seen to be none before it is tried.
func (r *rule) begins(e *syntax.Regexp) {
	var parts []*syntax.Regexp
	var flat func(*syntax.Regexp)
	flat = func(e *syntax.Regexp) {
		switch e.Op {
		case syntax.OpConcat:
			for _, sub := range e.Sub {
				flat(sub)
			}
		case syntax.OpCapture:
			flat(e.Sub[0])
		case syntax.OpWordBoundary, syntax.OpEmptyMatch:
		default:
			parts = append(parts, e)
		}
	}
	flat(e)
	if len(parts) == 0 || parts[0].Op != syntax.OpLiteral {
		return
	}
	r.literal = strings.ToLower(string(parts[0].Rune))
	if len(parts) < 2 {
		return
	}
	next, n := parts[1], 1
	switch next.Op {
	case syntax.OpRepeat:
		next, n = next.Sub[0], next.Min
	case syntax.OpPlus:
		next = next.Sub[0]
	}
	if next.Op != syntax.OpCharClass || n == 0 {
		return
	}
	r.follows, r.count = &[256]bool{}, n
	for i := 0; i+1 < len(next.Rune); i += 2 {
		for c := next.Rune[i]; c <= next.Rune[i+1]; c++ {
			if c >= 0x80 { // it can be any byte of a longer character
				for b := 0x80; b < 256; b++ {
					r.follows[b] = true
				}
				break
			}
			r.follows[c] = true
		}
	}
}
