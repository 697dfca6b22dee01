// Package imagelint finds in an image what works and should not be so.
//
//	findings := imagelint.Check(imagelint.Input{Image: a, Packages: packages}, lint.Config{})
//
// It looks at the config and at the lists of the layers, and opens no layer: what only the content of a file tells is handed in. Rules, severities and their
// configuration are those of package lint; names of variables are told, values never.
package imagelint

import (
	"cmp"
	"slices"
	"strings"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/dockerfile/lint"
)

// Input is what is looked at.
type Input struct {
	Image *anatomy.Image
	// Names are those that the image has, "app:1.2"; nil when they are not known.
	Names []string
	// Base is the name of the image that it was built from; "" is not known, or none.
	Base string
	// BasePinned tells that a digest was asked for.
	BasePinned bool
	// Own tells for each layer whether it came on top of the base; nil when that is not known.
	Own []bool
	// Packages are those of the distribution, each with its layer, from 0.
	Packages []Package
	// Static is the path of the program that the image runs, when it is an executable that needs no library; "" otherwise.
	Static string
}

// Package is an installed package.
type Package struct {
	Name  string
	Layer int
}

// Finding is one thing that was found.
type Finding struct {
	Code     string
	Severity lint.Severity
	// Message says what was found.
	Message string
	// Layer it is in, from 1; 0 is the image's config.
	Layer int
	// Paths it is about, absolute, at most maxPaths.
	Paths []string
}

// maxPaths is how many paths a finding names.
const maxPaths = 20

// Check looks at an image. Findings are in the order of Rules, those of a rule in the order of the layers.
func Check(in Input, cfg lint.Config) []Finding {
	c := &check{in: in, cfg: &cfg, rules: map[string]*lint.Rule{}}
	for _, r := range Rules() {
		c.rules[r.Code] = &r
	}
	c.config()
	c.base()
	c.name()
	c.files()
	c.hidden()
	c.packages()
	order := map[string]int{}
	for i, r := range Rules() {
		order[r.Code] = i
	}
	slices.SortStableFunc(c.out, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(order[a.Code], order[b.Code]), cmp.Compare(a.Layer, b.Layer), strings.Compare(a.Message, b.Message))
	})
	return c.out
}

type check struct {
	in    Input
	cfg   *lint.Config
	rules map[string]*lint.Rule
	out   []Finding
}

func (c *check) report(code string, layer int, message string, paths ...string) {
	rule := c.rules[code]
	severity := c.cfg.Severity(rule)
	if severity == lint.Ignore {
		return
	}
	c.out = append(c.out, Finding{Code: rule.Code, Severity: severity, Message: cmp.Or(message, rule.Name), Layer: layer, Paths: paths})
}

// own tells whether a layer is not the base's, as far as that is known.
func (c *check) own(layer int) bool {
	return c.in.Own == nil || layer < len(c.in.Own) && c.in.Own[layer]
}

// Rules lists all rules. Those that look for the same as a rule for Dockerfiles have its code. The caller owns the list.
func Rules() []lint.Rule {
	out := []lint.Rule{
		{Code: "RunsAsRoot", Aliases: []string{"CIS-DI-0001"}, Name: "the program runs as root", Severity: lint.Warning,
			Reason: "What breaks out of it has all rights in the container.", Fix: "End the Dockerfile with a USER who is not root."},
		{Code: "NoHealthcheck", Aliases: []string{"CIS-DI-0006"}, Name: "no health check", Severity: lint.Style,
			Reason: "Whether the program works is not known outside.", Fix: "Add a HEALTHCHECK."},
		{Code: "LatestBase", Name: "latest as the base", Severity: lint.Warning,
			Reason: "It is something else every time.", Fix: "Build FROM the tag of a release."},
		{Code: "BiggerBase", Name: "a bigger base than needed", Severity: lint.Info,
			Reason: "The program is static: it needs none of the base's files, and their faults are the image's.", Fix: "Copy the program into an image FROM scratch, or of a distroless base."},
		{Code: "NoVersionTag", Aliases: []string{"DKL-DI-0006"}, Name: "no tag is a semantic version", Severity: lint.Info,
			Reason: "Which version runs cannot be seen, and an older one cannot be named.", Fix: "Tag it MAJOR.MINOR.PATCH."},
		{Code: "SetuidFile", Aliases: []string{"CIS-DI-0008"}, Name: "files that give rights to who starts them", Severity: lint.Info,
			Reason: "A fault in one of them makes any user root in the container.", Fix: "chmod u-s,g-s them in the RUN that brings them, or run with --security-opt no-new-privileges."},
		{Code: "CacheLeft", Aliases: []string{"DKL-DI-0005"}, Name: "caches of package managers left behind", Severity: lint.Warning,
			Reason: "They are useless in the image.", Fix: "Delete them in the RUN that makes them, or mount a cache there: RUN --mount=type=cache."},
		{Code: "HiddenFiles", Name: "files that later layers hide", Severity: lint.Info,
			Reason: "They are pulled and stored, and nobody sees them.", Fix: "Delete or change files in the RUN that makes them, or copy what is needed from another stage."},
		{Code: "NeedlessPackage", Name: "packages that a running program does not need", Severity: lint.Info,
			Reason: "They make the image bigger, and help whoever breaks in.", Fix: "Build in another stage, and copy the result."},
	}
	for _, code := range []string{"BaseNotPinned", "SecretsUsedInArgOrEnv", "WorldWritable", "UndocumentedPort", "UndocumentedVolume"} {
		if r, ok := lint.Find(code); ok {
			out = append(out, r)
		}
	}
	return out
}
