// Package bake reads what is to be built together: bake files in HCL and JSON, and compose files.
//
//	plan, err := bake.Read(files, bake.Options{Targets: []string{"release"}, Set: []string{"*.platform=linux/arm64"}, Getenv: os.LookupEnv})
//	for _, t := range plan.Targets { ... } // each after those that it takes as contexts
//
// The language is that of docker buildx bake: targets that inherit, groups, variables that the environment sets, functions,
// matrices, and overrides. Of compose files, which are read as one project, the services with a build section are targets. Later
// files add to earlier ones and win, bake files over compose files. What a target says has the form that the flags of build have, so that one who reads flags reads it.
package bake

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
)

// maxTargets is how many targets a plan may have.
const maxTargets = 1000

// File is a bake or compose file.
type File struct {
	// Name tells the format by its ending: .hcl, .json, .yaml or .yml; others are tried. Relative paths of compose files
	// are below the directory of the first, as compose has it; those of bake files below the current one.
	Name string
	Data []byte
}

// Options say what is read of the files.
type Options struct {
	// Targets are names of targets and groups; none is the group or target "default".
	Targets []string
	// Set are overrides: TARGET.KEY[.SUBKEY]=VALUE, where TARGET may have wildcards, and KEY+=VALUE adds.
	Set []string
	// Getenv looks up environment variables; nil knows none.
	Getenv func(string) (string, bool)
}

// Plan is what is to be built.
type Plan struct {
	// Group are the names that were asked for, with what they stand for.
	Groups map[string][]string `json:"-"`
	// Targets in an order in which each comes after those that its contexts name.
	Targets []*Target
}

// Target is one build. Flags that are not said are nil.
type Target struct {
	Name string `json:"-"`
	// Description is for people.
	Description string `json:"description,omitempty"`
	// Inherits are the targets that this one was made of.
	Inherits []string `json:"-"`

	Context          *string           `json:"context,omitempty"`
	Dockerfile       *string           `json:"dockerfile,omitempty"`
	DockerfileInline *string           `json:"dockerfile-inline,omitempty"`
	Contexts         map[string]string `json:"contexts,omitempty"`
	Args             map[string]string `json:"args,omitempty"`
	Labels           map[string]string `json:"labels,omitempty"`
	Tags             []string          `json:"tags,omitempty"`
	Annotations      []string          `json:"annotations,omitempty"`
	Attest           []string          `json:"attest,omitempty"`
	CacheFrom        []string          `json:"cache-from,omitempty"`
	CacheTo          []string          `json:"cache-to,omitempty"`
	Target           *string           `json:"target,omitempty"`
	Secrets          []string          `json:"secret,omitempty"`
	SSH              []string          `json:"ssh,omitempty"`
	Platforms        []string          `json:"platforms,omitempty"`
	Outputs          []string          `json:"output,omitempty"`
	Pull             *bool             `json:"pull,omitempty"`
	NoCache          *bool             `json:"no-cache,omitempty"`
	NoCacheFilter    []string          `json:"no-cache-filter,omitempty"`
	Network          *string           `json:"network,omitempty"`
	ShmSize          *string           `json:"shm-size,omitempty"`
	Ulimits          []string          `json:"ulimits,omitempty"`
	ExtraHosts       map[string]string `json:"extra-hosts,omitempty"`
	Entitlements     []string          `json:"entitlements,omitempty"`
	Call             *string           `json:"call,omitempty"`
}

// config is what all files say together.
type config struct {
	targets map[string]*Target
	order   []string // of targets, as they were first named
	groups  map[string][]string
	about   map[string]string // descriptions of groups
}

// DefaultFiles are the names that are looked for when none is given, in the order in which they are read.
func DefaultFiles() []string {
	return []string{
		"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml",
		"docker-bake.json", "docker-bake.hcl", "docker-bake.override.json", "docker-bake.override.hcl",
	}
}

// Read reads the files and returns what is to be built. Errors are of class ErrInvalid, ErrNotFound or ErrLimit and name
// the file and the line, or the target.
func Read(files []File, opts Options) (*Plan, error) {
	c, err := load(files, opts)
	if err != nil {
		return nil, err
	}
	return c.plan(opts)
}

func load(files []File, opts Options) (*config, error) {
	if opts.Getenv == nil {
		opts.Getenv = func(string) (string, bool) { return "", false }
	}
	c := &config{targets: map[string]*Target{}, groups: map[string][]string{}, about: map[string]string{}}
	sheet := newSheet(opts.Getenv)
	var composed []File
	for _, f := range files {
		var err error
		switch strings.ToLower(filepath.Ext(f.Name)) {
		case ".hcl":
			err = sheet.addHCL(f)
		case ".json":
			err = sheet.addJSON(f)
		case ".yaml", ".yml":
			composed = append(composed, f)
		default:
			// Of a name that says nothing (standard input, say), the first format that can be read counts.
			if err = sheet.addJSON(f); err != nil {
				if err = sheet.addHCL(f); err != nil {
					if _, is := loadCompose([]File{f}, opts.Getenv); is == nil {
						composed, err = append(composed, f), nil
					}
				}
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if err := c.addCompose(composed, opts.Getenv); err != nil {
		return nil, err
	}
	return c, sheet.evaluate(c)
}

// add joins a target with what was said of the same name before.
func (c *config) add(t *Target) {
	have := c.targets[t.Name]
	if have == nil {
		c.order = append(c.order, t.Name)
		c.targets[t.Name] = t
		return
	}
	merged := merge(have, t)
	merged.Name = t.Name
	if t.Inherits != nil {
		merged.Inherits = t.Inherits
	}
	c.targets[t.Name] = merged
}

// plan chooses targets, and gives each what it inherits and what overrides say.
func (c *config) plan(opts Options) (*Plan, error) {
	names := opts.Targets
	if len(names) == 0 {
		names = []string{"default"}
	}
	p := &Plan{Groups: map[string][]string{}}
	var chosen []string
	for _, n := range names {
		got, err := c.expand(n, nil)
		if err != nil {
			return nil, err
		}
		p.Groups[n] = got
		for _, t := range got {
			if !slices.Contains(chosen, t) {
				chosen = append(chosen, t)
			}
		}
	}
	overrides, err := parseOverrides(opts.Set)
	if err != nil {
		return nil, err
	}
	done := map[string]*Target{}
	for _, n := range chosen {
		if err := c.resolve(n, overrides, done, p, nil); err != nil {
			return nil, err
		}
	}
	for _, o := range overrides {
		if !o.used {
			return nil, errdefs.NotFound("--set %s: no target of this build is called %q", o.text, o.pattern)
		}
	}
	return p, nil
}

// expand returns the targets that a name stands for.
func (c *config) expand(name string, above []string) ([]string, error) {
	if slices.Contains(above, name) {
		return nil, errdefs.Invalid("group %q has itself in it", name)
	}
	members, ok := c.groups[name]
	if !ok {
		if c.targets[name] != nil {
			return []string{name}, nil
		}
		if name == "default" && len(c.order) > 0 && len(above) == 0 {
			return nil, errdefs.NotFound("there is no group or target \"default\"; name one of %s", strings.Join(c.order, ", "))
		}
		return nil, errdefs.NotFound("there is no target or group %q", name)
	}
	var out []string
	for _, m := range members {
		if m == name && c.targets[name] != nil { // a group may be called as its target
			out = append(out, name)
			continue
		}
		got, err := c.expand(m, append(above, name))
		if err != nil {
			return nil, err
		}
		for _, t := range got {
			if !slices.Contains(out, t) {
				out = append(out, t)
			}
		}
		if len(out) > maxTargets {
			return nil, errdefs.Limit("more than %d targets", maxTargets)
		}
	}
	return out, nil
}

// resolve adds a target to the plan, behind those that its contexts name.
func (c *config) resolve(name string, overrides []*override, done map[string]*Target, p *Plan, above []string) error {
	if slices.Contains(above, name) {
		return errdefs.Invalid("the contexts of target %q lead back to it: %s", name, strings.Join(append(above, name), " -> "))
	}
	if done[name] != nil {
		return nil
	}
	t, err := c.inherited(name, nil)
	if err != nil {
		return err
	}
	for _, o := range overrides {
		if o.matches(name) {
			if err := o.apply(t); err != nil {
				return err
			}
		}
	}
	for _, k := range sortedKeys(t.Contexts) {
		dep, ok := strings.CutPrefix(t.Contexts[k], "target:")
		if !ok {
			continue
		}
		if c.targets[dep] == nil {
			return errdefs.NotFound("target %s: context %s: there is no target %q", name, k, dep)
		}
		if err := c.resolve(dep, overrides, done, p, append(above, name)); err != nil {
			return err
		}
	}
	done[name] = t
	p.Targets = append(p.Targets, t)
	return nil
}

// inherited is a target on top of those that it inherits, the last of which wins.
func (c *config) inherited(name string, above []string) (*Target, error) {
	own := c.targets[name]
	if own == nil {
		return nil, errdefs.NotFound("target %s: there is no target %q to inherit", above[len(above)-1], name)
	}
	if slices.Contains(above, name) {
		return nil, errdefs.Invalid("target %q inherits itself: %s", name, strings.Join(append(above, name), " -> "))
	}
	t := &Target{}
	for _, parent := range own.Inherits {
		pt, err := c.inherited(parent, append(above, name))
		if err != nil {
			return nil, err
		}
		t = merge(t, pt)
	}
	t = merge(t, own)
	t.Name, t.Description = name, own.Description
	return t, nil
}

// Listed is a name that can be built.
type Listed struct {
	Name        string
	Group       bool
	Description string
	// Targets of a group.
	Targets []string
}

// List returns what can be built.
func List(files []File, opts Options) ([]Listed, error) {
	c, err := load(files, opts)
	if err != nil {
		return nil, err
	}
	var out []Listed
	for _, n := range sortedKeys(c.groups) {
		out = append(out, Listed{Name: n, Group: true, Description: c.about[n], Targets: c.groups[n]})
	}
	for _, n := range c.order {
		out = append(out, Listed{Name: n, Description: c.targets[n].Description})
	}
	return out, nil
}

func inFile(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}
