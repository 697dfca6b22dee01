package manual

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/image"
	"github.com/camada/camada/internal/semver"
	"github.com/camada/camada/platform"
)

// Missing is a thing without a description.
type Missing struct {
	// Kind and Name are those of package dockerfile, Key the label that would describe it.
	Kind, Name, Key string
	// Dockerfile and Line are where it is declared, when that is known.
	Dockerfile string `json:",omitempty"`
	Line       int    `json:",omitempty"`
}

// What says what it is, for messages.
func (m Missing) What() string {
	switch m.Kind {
	case dockerfile.DocEnv:
		return "variable " + m.Name
	case dockerfile.DocUser:
		return "user " + m.Name
	case KindImage:
		return "the image itself"
	}
	return m.Kind + " " + m.Name
}

// KindImage is the image as a whole, which is described by a label of the specification.
const KindImage = "image"

// Undocumented lists what the page has no description of: the image itself, variables, ports, volumes. Of a user it is asked what it is for when it is another than root's, given by number;
// the program, its arguments, the health check and the signal say themselves what they are.
func Undocumented(p *Page) []Missing {
	out := []Missing{}
	add := func(kind, name, said string) {
		if said == "" {
			out = append(out, Missing{Kind: kind, Name: name, Key: dockerfile.DocKey(kind, name)})
		}
	}
	if p.About.Description == "" {
		out = append(out, Missing{Kind: KindImage, Key: "org.opencontainers.image.description"})
	}
	for _, v := range p.Env {
		add(dockerfile.DocEnv, v.Name, v.Description)
	}
	for _, t := range p.Ports {
		add(dockerfile.DocPort, t.Name, t.Description)
	}
	for _, t := range p.Volumes {
		add(dockerfile.DocVolume, t.Name, t.Description)
	}
	name, _, _ := strings.Cut(p.User.Value, ":")
	if n, err := strconv.Atoi(name); err == nil && n > 0 {
		add(dockerfile.DocUser, p.User.Value, p.User.Description)
		if last := len(out) - 1; last >= 0 && out[last].Kind == dockerfile.DocUser {
			out[last].Key = dockerfile.DocKey(dockerfile.DocUser, "")
		}
	}
	return out
}

// Change is a difference that whoever runs the image may notice.
type Change struct {
	anatomy.FieldChange
	// Breaks tells that what worked may not work any more; otherwise something was added.
	Breaks bool
}

// String says what changed: "port 80/tcp was removed".
func (c Change) String() string {
	what := map[string]string{
		"Env": "variable", "ExposedPorts": "port", "Volumes": "volume", "User": "the user", "WorkingDir": "the working directory", "Entrypoint": "the entry point", "Cmd": "the command",
		"StopSignal": "the stop signal", "StopTimeout": "the time to stop", "Healthcheck": "the health check", "Shell": "the shell", "OnBuild": "the triggers of builds", "Platform": "platform",
	}[c.Field]
	if what == "" {
		what = c.Field
	}
	if c.Key != "" {
		what += " " + clean(c.Key)
	}
	switch {
	case c.Kind == "A" && c.New == "":
		return what + " was added"
	case c.Kind == "A":
		return what + " was added: " + clean(c.New)
	case c.Kind == "D":
		return what + " was removed"
	}
	return what + " was " + clean(c.Old) + ", is " + clean(c.New)
}

// Changes lists what is different for whoever runs an image. Labels, times and layers do not count, nor do variables whose names end with VERSION, which tell of the image. Values of secrets are not in it.
func Changes(old, now *image.Config) []Change {
	var out []Change
	for _, f := range anatomy.CompareConfigs(old, now) {
		c := Change{FieldChange: f}
		switch f.Field {
		case "Labels", "Author", "Created", "Platform":
			continue
		case "Env":
			if strings.HasSuffix(f.Key, "VERSION") {
				continue
			}
			if dockerfile.SecretName(f.Key) {
				c.Old, c.New = hide(f.Old), hide(f.New)
			}
			c.Breaks = f.Kind != "A"
		case "ExposedPorts", "Volumes", "Healthcheck":
			c.Breaks = f.Kind != "A"
		default:
			c.Breaks = true
		}
		c.Old, c.New = clean(c.Old), clean(c.New)
		if out = append(out, c); len(out) == maxThings {
			break
		}
	}
	return out
}

func hide(value string) string {
	if value == "" {
		return ""
	}
	return Hidden
}

// Needed is how much of a version has to change.
type Needed string

// The parts of a version (semver.org). Before 1.0.0 a minor version may break, and a patch may add.
const (
	None  Needed = ""
	Patch Needed = "patch"
	Minor Needed = "minor"
	Major Needed = "major"
)

// Judge tells what version the changes ask for, and whether the new version does. Versions that are none, "" for instance, are never enough for a change; those that are not higher than before neither.
func Judge(changes []Change, was, is string) (need Needed, enough bool) {
	if len(changes) == 0 {
		return None, true
	}
	old, isOld := semver.Parse(was)
	now, isNow := semver.Parse(is)
	need = Minor
	if slices.ContainsFunc(changes, func(c Change) bool { return c.Breaks }) {
		need = Major
	}
	if !isOld || !isNow {
		return need, false
	}
	if old.Major() == 0 && now.Major() == 0 {
		need = map[Needed]Needed{Major: Minor, Minor: Patch}[need]
	}
	if now.Compare(old) <= 0 {
		return need, false
	}
	switch need {
	case Major:
		return need, now.Major() > old.Major()
	case Minor:
		return need, now.Major() > old.Major() || now.Minor() > old.Minor()
	}
	return need, true
}

// Others adds the platforms of an index to the page of one of its images: each with its differences from that.
func (p *Page) Others(of *image.Image, all []*image.Image, missing []Platform) {
	for _, img := range all {
		row := Platform{Platform: clean(platform.Format(img.Config.Platform)), Digest: img.Descriptor.Digest.String(), Layers: len(img.Layers)}
		for _, l := range img.Layers {
			row.Size += l.Size
		}
		if img.Descriptor.Digest != of.Descriptor.Digest {
			row.Differences = Changes(&of.Config, &img.Config)
		}
		p.Platforms = append(p.Platforms, row)
	}
	for _, row := range missing {
		row.Platform = clean(row.Platform)
		p.Platforms = append(p.Platforms, row)
	}
}

// sortedPorts sorts ports by number.
func sortedPorts(ports map[string]struct{}) []string {
	out := bounded(sorted(ports))
	slices.SortStableFunc(out, func(a, b string) int { return cmp.Compare(number(a), number(b)) })
	return out
}

func number(port string) int {
	digits, _, _ := strings.Cut(port, "/")
	n, _ := strconv.Atoi(digits)
	return n
}
