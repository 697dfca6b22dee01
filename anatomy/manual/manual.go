// Package manual tells what an image expects of whoever runs it, and what it offers.
//
//	page := manual.Of(img)              // variables, ports, volumes, user, program ...; each with its description
//	manual.Undocumented(page)           // what nobody described
//	manual.Changes(old, img)            // what is different for whoever runs it
//	manual.Judge(changes, was, is)      // whether the version says so
//
// It reads config and manifest alone, so that an image of a registry can be told of without its layers. Descriptions are labels and annotations
// as package dockerfile has them. Values of variables that sound like secrets are never told.
package manual

import (
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/image"
	"github.com/camada/camada/internal/harmless"
	"github.com/camada/camada/platform"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bounds of what is told of one image: how many things of a kind, and how long a text of it may be.
const (
	maxThings = 2000
	maxText   = 4000
)

// Hidden stands for the value of a variable that sounds like a secret.
const Hidden = "(not shown)"

// Page is all that is told of an image. Texts are as the image has them, without control characters; they are not escaped for any format.
type Page struct {
	// Image is the name that it was asked for by.
	Image string
	About About
	// Digest is that of the manifest, ID that of the config.
	Digest, ID string
	Platform   string
	Created    *time.Time `json:",omitempty"`
	Base       Base
	Interface
	Labels []Label
	// Layers, the lowest first; Size is their sum in bytes as they are stored.
	Layers []Layer
	Size   int64
	// Platforms are those of an index, in its order; empty for an image for one platform.
	Platforms []Platform `json:",omitempty"`
	// Packages are what is installed; nil when that was not looked at.
	Packages *Packages `json:",omitempty"`
}

// About is what labels and annotations of the OCI image-spec (annotations.md, "Pre-Defined Annotation Keys") say of the image; annotations come first.
type About struct {
	Title, Description                  string
	Version, Revision, Vendor, Licenses string
	Authors, URL, Source, Documentation string
}

// Base is what the image was built from, as far as that is known.
type Base struct{ Name, Digest string }

// Interface is what matters to whoever runs the image.
type Interface struct {
	Env        []Variable
	Args       []Thing
	Ports      []Thing
	Volumes    []Thing
	User       Value
	WorkingDir string
	Entrypoint Program
	Cmd        Program
	Shell      []string `json:",omitempty"`
	Health     *Health  `json:",omitempty"`
	// StopSignal is what asks it to end, SIGTERM when the image says nothing; StopTimeout in seconds, nil for the runtime's.
	StopSignal  Value
	StopTimeout *int     `json:",omitempty"`
	OnBuild     []string `json:",omitempty"`
}

// Thing is a port ("80/tcp"), a volume, or a build argument.
type Thing struct{ Name, Description string }

// Variable is a variable of the environment with its default.
type Variable struct {
	Name, Default, Description string
	// Secret tells that the default is not shown.
	Secret bool `json:",omitempty"`
}

// Value is a setting.
type Value struct{ Value, Description string }

// Program is a command line.
type Program struct {
	Words       []string
	Description string
}

// Health is a health check; times are zero for the runtime's defaults.
type Health struct {
	Test                                          []string
	Interval, Timeout, StartPeriod, StartInterval time.Duration
	Retries                                       int
	Description                                   string
}

// Label is a label that describes nothing else of the page.
type Label struct{ Name, Value string }

// Layer is a layer and the instruction that made it.
type Layer struct {
	Digest      string
	Size        int64
	Instruction string
}

// Platform is one image of an index.
type Platform struct {
	Platform, Digest string
	// Size of the layers in bytes, and how many they are; both are 0 when Missing.
	Size   int64
	Layers int
	// Missing tells that manifest or config are not here.
	Missing bool `json:",omitempty"`
	// Differences are what is different from the page.
	Differences []Change `json:",omitempty"`
}

// Packages are what is installed.
type Packages struct {
	// Distribution is its name, "" for none. Total counts all packages, ByType those of each type.
	Distribution string
	Total        int
	ByType       map[string]int
	// Note are those of note: what the image's own instructions brought, when that is known, or else those of no distribution. More is how many are left out.
	Note []Package
	More int `json:",omitempty"`
}

// Package is one package.
type Package struct{ Name, Version, Type string }

// Of tells of an image for one platform.
func Of(img *image.Image) *Page {
	cfg, labels, notes := &img.Config.Config, img.Config.Config.Labels, img.Manifest.Annotations
	doc := func(kind, name string) string { return dockerfile.DocOf(kind, name, labels, notes) }
	p := &Page{
		Digest: img.Descriptor.Digest.String(), ID: img.ID().String(), Platform: clean(platform.Format(img.Config.Platform)), Created: img.Config.Created,
		About: about(labels, notes),
		Base:  Base{Name: clean(notes[ocispec.AnnotationBaseImageName]), Digest: clean(notes[ocispec.AnnotationBaseImageDigest])},
	}
	for _, kv := range bounded(cfg.Env) {
		name, value, _ := strings.Cut(kv, "=")
		v := Variable{Name: clean(name), Default: clean(value), Description: doc(dockerfile.DocEnv, name)}
		if value != "" && dockerfile.SecretName(name) {
			v.Default, v.Secret = Hidden, true
		}
		if v.Description == "" {
			v.Description = common(name)
		}
		p.Env = append(p.Env, v)
	}
	for _, port := range sortedPorts(cfg.ExposedPorts) {
		p.Ports = append(p.Ports, Thing{clean(port), doc(dockerfile.DocPort, port)})
	}
	for _, v := range bounded(sorted(cfg.Volumes)) {
		p.Volumes = append(p.Volumes, Thing{clean(v), doc(dockerfile.DocVolume, v)})
	}
	p.Args = arguments(labels, notes)
	p.User, p.WorkingDir = Value{clean(cfg.User), doc(dockerfile.DocUser, "")}, clean(cfg.WorkingDir)
	p.Entrypoint = Program{cleanAll(cfg.Entrypoint), doc(dockerfile.DocEntrypoint, "")}
	p.Cmd = Program{cleanAll(cfg.Cmd), doc(dockerfile.DocCmd, "")}
	p.Shell, p.OnBuild = cleanAll(cfg.Shell), maskedAll(cleanAll(cfg.OnBuild))
	if h := cfg.Healthcheck; h != nil && len(h.Test) > 0 && h.Test[0] != "NONE" {
		p.Health = &Health{cleanAll(h.Test), h.Interval, h.Timeout, h.StartPeriod, h.StartInterval, h.Retries, doc(dockerfile.DocHealthcheck, "")}
	}
	p.StopSignal, p.StopTimeout = Value{clean(cfg.StopSignal), doc(dockerfile.DocStopSignal, "")}, cfg.StopTimeout
	if p.StopSignal.Value == "" {
		p.StopSignal.Value = "SIGTERM"
	}
	p.Labels = others(labels)
	p.layers(img)
	return p
}

// about reads the keys of the specification.
func about(labels, notes map[string]string) About {
	get := func(key string) string {
		if v := clean(notes[key]); v != "" {
			return v
		}
		return clean(labels[key])
	}
	return About{
		Title: get(ocispec.AnnotationTitle), Description: get(ocispec.AnnotationDescription), Version: get(ocispec.AnnotationVersion), Revision: get(ocispec.AnnotationRevision),
		Vendor: get(ocispec.AnnotationVendor), Licenses: get(ocispec.AnnotationLicenses), Authors: get(ocispec.AnnotationAuthors), URL: get(ocispec.AnnotationURL),
		Source: get(ocispec.AnnotationSource), Documentation: get(ocispec.AnnotationDocumentation),
	}
}

// arguments are those that are described: an image does not tell of others.
func arguments(labels, notes map[string]string) []Thing {
	said := map[string]struct{}{}
	for _, m := range []map[string]string{labels, notes} {
		for key := range m {
			if kind, name, ok := dockerfile.SplitDocKey(key); ok && kind == dockerfile.DocArg {
				said[name] = struct{}{}
			}
		}
	}
	var out []Thing
	for _, name := range bounded(sorted(said)) {
		out = append(out, Thing{clean(name), dockerfile.DocOf(dockerfile.DocArg, name, labels, notes)})
	}
	return out
}

// others are the labels that say something else than what the page has in other places.
func others(labels map[string]string) []Label {
	names := map[string]struct{}{}
	for k := range labels {
		if !strings.HasPrefix(k, dockerfile.DocPrefix) {
			names[k] = struct{}{}
		}
	}
	var out []Label
	for _, k := range bounded(sorted(names)) {
		v := labels[k]
		if dockerfile.SecretName(strings.NewReplacer(".", "_", "-", "_", "/", "_").Replace(k)) {
			v = Hidden
		}
		out = append(out, Label{clean(k), clean(v)})
	}
	return out
}

// layers tells of the layers, each with its instruction.
func (p *Page) layers(img *image.Image) {
	next := 0
	said := make([]string, len(img.Layers))
	for _, h := range img.Config.History {
		if !h.EmptyLayer && next < len(said) {
			said[next] = h.CreatedBy
			next++
		}
	}
	for i, l := range img.Layers {
		p.Size += l.Size
		p.Layers = append(p.Layers, Layer{Digest: l.Digest.String(), Size: l.Size, Instruction: masked(clean(said[i]))})
	}
}

// masked hides the values that words of an instruction give to variables whose names sound like secrets: "RUN |1 API_TOKEN=x /bin/sh -c make" has the arguments of the build. A
// value with spaces is hidden up to the first.
func masked(text string) string {
	words := strings.Split(text, " ")
	for i, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if ok && value != "" && dockerfile.SecretName(strings.ReplaceAll(strings.TrimLeft(name, `"'-`), "-", "_")) {
			words[i] = name + "=" + Hidden
		}
	}
	return strings.Join(words, " ")
}

func maskedAll(in []string) []string {
	for i := range in {
		in[i] = masked(in[i])
	}
	return in
}

// common describes variables that mean the same everywhere.
func common(name string) string {
	switch name {
	case "PATH":
		return "Where programs are looked for."
	case "HOME":
		return "The directory of the user."
	case "LANG", "LC_ALL", "LC_CTYPE", "LANGUAGE":
		return "Language and character set."
	case "TZ":
		return "The time zone."
	case "TERM":
		return "The kind of the terminal."
	case "SSL_CERT_FILE", "SSL_CERT_DIR":
		return "The certificates that are trusted."
	case "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy":
		return "The proxy."
	}
	return ""
}

// clean makes a text harmless to a terminal, one line, and not too long.
func clean(s string) string {
	cut := len(s) > maxText
	if cut {
		s = s[:maxText]
	}
	s = strings.Map(func(r rune) rune {
		if harmless.Hidden(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if cut {
		s += "…"
	}
	return s
}

func cleanAll(in []string) []string {
	var out []string
	for _, s := range bounded(in) {
		out = append(out, clean(s))
	}
	return out
}

func bounded(in []string) []string { return in[:min(len(in), maxThings)] }

func sorted(set map[string]struct{}) []string {
	out := make([]string, 0, len(set))
	for k := range set {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
