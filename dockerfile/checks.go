package dockerfile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/camada/camada/reference"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/util/suggest"
)

// Warning is what a build check found. The checks, their names and their words are BuildKit's.
type Warning struct {
	// Rule is the check's name, e.g. "StageNameCasing"; "" for a remark that no check makes.
	Rule string
	// Description says what the check looks for, URL where more is written.
	Description, URL string
	// Text is what was found.
	Text string
	// Location is where; it may be empty.
	Location []parser.Range
}

// String is the warning in one line: "Rule: text (line 3)".
func (w Warning) String() string {
	if w.Rule == "" {
		return w.Text
	}
	return linter.LintFormatShort(w.Rule, w.Text, firstLine(w.Location))
}

// Warn notes what rule found at loc, unless it is skipped: for the whole file by its "# check=", or for one instruction by such a
// line among comments, those above it.
func (f *File) Warn(rule linter.LinterRuleI, comments []string, loc []parser.Range, text string) {
	f.lint.WithMergedConfigFromComments(comments).Run(rule, loc, text)
}

// newLint makes the linter that the options of "# check=" ask for.
func (f *File) newLint(options string, loc []parser.Range) error {
	config, err := linter.ParseLintOptions(options)
	if err != nil {
		return f.Invalid(loc, "", "check=%s: %w", options, err)
	}
	config.Warn = func(rule, description, url, text string, loc []parser.Range) {
		f.Warnings = append(f.Warnings, Warning{Rule: rule, Description: description, URL: url, Text: text, Location: loc})
	}
	f.lint = linter.New(config)
	return nil
}

// SortWarnings puts the warnings into the order of the file's lines.
func (f *File) SortWarnings() {
	slices.SortStableFunc(f.Warnings, func(a, b Warning) int {
		return cmp.Or(cmp.Compare(firstLine(a.Location), firstLine(b.Location)), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Text, b.Text))
	})
}

// ErrChecks is in the error of a build that fails because of what the build checks found.
var ErrChecks = errors.New("the file asks for this with check=error=true")

// CheckError returns an error when the file says "error=true" and a check found something.
func (f *File) CheckError() error {
	if f.lint.Error() == nil {
		return nil
	}
	for _, w := range f.Warnings {
		if w.Rule != "" {
			return f.Invalid(w.Location, "", "%s: %s (%w)", w.Rule, w.Text, ErrChecks)
		}
	}
	return nil
}

// checkNames makes the remarks about the names of stages.
func (f *File) checkNames() {
	seen := map[string]bool{}
	for _, s := range f.Stages {
		if s.Name == "" {
			continue
		}
		if s.Name == Scratch || s.Name == "context" {
			f.Warn(&linter.RuleReservedStageName, nil, s.Location, linter.RuleReservedStageName.Format(s.Name))
		}
		if seen[s.Name] {
			f.Warn(&linter.RuleDuplicateStageName, nil, s.Location, linter.RuleDuplicateStageName.Format(s.Name))
		}
		seen[s.Name] = true
	}
}

// checkCasing makes the remarks about instructions that are written unlike most others.
func (f *File) checkCasing() {
	type word struct {
		name string
		loc  []parser.Range
	}
	var words []word
	for _, s := range f.Stages {
		words = append(words, word{s.OrigCmd, s.Location})
		for _, c := range s.Commands {
			words = append(words, word{c.Name(), c.Location()})
		}
	}
	lower, upper := 0, 0
	for _, w := range words {
		switch w.name {
		case strings.ToLower(w.name):
			lower++
		case strings.ToUpper(w.name):
			upper++
		}
	}
	casing, change := "uppercase", strings.ToUpper
	if lower > upper {
		casing, change = "lowercase", strings.ToLower
	}
	for _, w := range words {
		if change(w.name) != w.name {
			f.Warn(&linter.RuleConsistentInstructionCasing, nil, w.loc, linter.RuleConsistentInstructionCasing.Format(w.name, casing))
		}
	}
}

// checkDefaults makes the remarks about base names that are none with the defaults of the ARGs alone.
// platforms is the scope before any ARG.
func (f *File) checkDefaults(platforms *Scope) {
	scope := platforms.Clone()
	lex := shell.NewLex(f.Escape)
	for i := range f.Args {
		for _, kv := range f.Args[i].Args {
			if kv.Value == nil {
				continue
			}
			v, _, err := lex.ProcessWord(*kv.Value, scope)
			if err != nil {
				return // the build fails for it
			}
			scope.Set(kv.Key, v)
		}
	}
	for _, s := range f.Stages {
		name, _, err := lex.ProcessWord(s.BaseName, scope)
		if err != nil {
			return
		}
		if _, err := reference.Parse(name); err != nil {
			f.Warn(&linter.RuleInvalidDefaultArgInFrom, nil, s.Location, linter.RuleInvalidDefaultArgInFrom.Format(s.BaseName))
		}
	}
}

// warnUndefined makes the remarks about variables of c that nothing sets.
func (f *File) warnUndefined(c instructions.Command, scope *Scope, unmatched map[string]struct{}) {
	var names []string
	for name := range unmatched {
		if !scope.declared(name) && !strings.HasPrefix(name, "BUILDKIT_SBOM_SCAN_") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		near, _ := suggest.Search(name, scope.Keys(), true)
		f.Warn(&linter.RuleUndefinedVar, c.Comments(), c.Location(), linter.RuleUndefinedVar.Format(name, near))
	}
}

// warnUndeclared makes the remarks about variables of a FROM that no ARG before it declares.
func (f *File) warnUndeclared(s *Stage, scope *Scope, unmatched map[string]struct{}) {
	var names []string
	for name := range unmatched {
		if _, set := scope.Get(name); !set && !scope.declared(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	known := slices.Concat(scope.Keys(), scope.names)
	slices.Sort(known)
	for _, name := range names {
		near, _ := suggest.Search(name, known, true)
		f.Warn(&linter.RuleUndefinedArgInFrom, s.Comments, s.Location, linter.RuleUndefinedArgInFrom.Format(name, near))
	}
}

// WarnSecret makes a remark when the name of an ARG or ENV sounds like that of a secret.
func (f *File) WarnSecret(instruction, key string, c instructions.Command) {
	if SecretName(key) {
		f.Warn(&linter.RuleSecretsUsedInArgOrEnv, c.Comments(), c.Location(), linter.RuleSecretsUsedInArgOrEnv.Format(instruction, key))
	}
}

// SecretName tells whether the name of a variable sounds like that of a secret.
func SecretName(key string) bool {
	secret, harmless := false, false
	for _, word := range strings.Split(strings.ToLower(key), "_") {
		switch word {
		case "apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token":
			secret = true
		case "public", "file", "version":
			harmless = true
		}
	}
	return secret && !harmless
}

// Remark adds a warning that no check makes.
func (f *File) Remark(format string, args ...any) {
	f.Warnings = append(f.Warnings, Warning{Text: fmt.Sprintf(format, args...)})
}
