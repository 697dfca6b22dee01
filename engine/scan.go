package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/build/origin"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/internal/harmless"
	"github.com/camada/camada/inventory"
	"github.com/camada/camada/inventory/language"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/unpack"
	"github.com/camada/camada/vuln"
	"github.com/opencontainers/go-digest"
)

// ErrNoAdvisories is the class of errors of a scan that cannot judge: there is no advisory database, or it is too old.
const ErrNoAdvisories errdefs.Class = "no advisories"

// DefaultMaxAge is how old an advisory database may be when nobody says.
const DefaultMaxAge = 7 * 24 * time.Hour

// ScanOptions say how an image is scanned.
type ScanOptions struct {
	Platform string
	// MaxAge is how long ago the database may have been made; 0 means any time.
	MaxAge time.Duration
	// Kernel looks up the packages of a kernel as well, which containers do not run.
	Kernel bool
	// VEX are documents, in OpenVEX's form or CycloneDX's, and Ignore is an ignore file (package vuln/vex) that say which findings do not matter. With
	// IgnoreMayLack the ignore file need not be there.
	VEX           []string
	Ignore        string
	IgnoreMayLack bool
	// NewSinceUpdate leaves only what the advisory database did not know before its last update.
	NewSinceUpdate bool
}

// ScanFinding is a vulnerability of a package.
type ScanFinding struct {
	// ID is the advisory's, Aliases its other names, Upstream what it is about. Group is the same for all advisories about one vulnerability of the package.
	ID       string
	Aliases  []string `json:",omitempty"`
	Upstream []string `json:",omitempty"`
	Group    string
	// Package and Version are what is installed, of Type (as purl has it), built from Source.
	Package, Version string
	Type             string
	Arch             string `json:",omitempty"`
	Source           string
	SourceVersion    string
	PURL             string
	// Path is the database that lists the package.
	Path string
	// Ecosystem is OSV's name of where the advisory says so.
	Ecosystem string
	Severity  vuln.Severity
	Score     float64 `json:",omitempty"`
	Vector    string  `json:",omitempty"`
	// Fixed is the oldest version that repairs it, of Source where the distribution counts so; Status is fixed, unfixed, affected, end-of-life, wont-fix or deferred.
	Fixed  string `json:",omitempty"`
	Status string
	// Reachable is yes when a vulnerable function is linked into the program, no when none is, and unknown when that cannot be told.
	Reachable vuln.Reach
	// Advice is what to do about it, a command where there is one; it may be empty.
	Advice string `json:",omitempty"`
	// Unimportant is what the distribution says.
	Unimportant bool      `json:",omitempty"`
	Summary     string    `json:",omitempty"`
	URL         string    `json:",omitempty"`
	Published   time.Time `json:",omitzero"`
	Modified    time.Time `json:",omitzero"`
	// EPSS and Percentile are from 0 to 1; Exploited is when it came into CISA's catalog.
	EPSS       float64   `json:",omitempty"`
	Percentile float64   `json:",omitempty"`
	Exploited  time.Time `json:",omitzero"`
	ScanPlace
}

// ScanPlace is how a package came into the image.
type ScanPlace struct {
	// Layer counts from 1; LayerDigest is the blob's. Instruction made it.
	Layer       int
	LayerDigest string
	Instruction string `json:",omitempty"`
	// Dockerfile and Line are known of images that were built with this store.
	Dockerfile string `json:",omitempty"`
	Line       int    `json:",omitempty"`
	// From is "base" for a layer of the base image, "own" for one of the image's own build, and empty when that is not known.
	From string `json:",omitempty"`
}

// ScanDatabase is what was asked.
type ScanDatabase struct {
	Created, Newest time.Time
	Digest          string
}

// ScanReport is what a scan found.
type ScanReport struct {
	Image, ID, Digest, Platform string
	Distribution                inventory.Distribution
	// EndOfLife is when the distribution's support ended; zero when it did not, or that is not known.
	EndOfLife time.Time `json:",omitzero"`
	Database  ScanDatabase
	// Packages is how many there are, Checked how many of them were looked up, and Kernel how many were not because they are of a kernel.
	Packages, Checked, Kernel int
	// Uncovered are kinds of packages that the database has nothing of, Unread lists of packages that could not be read. With either, the
	// findings are not all.
	Uncovered []vuln.Uncovered `json:",omitempty"`
	Unread    []string         `json:",omitempty"`
	// Unnamed is how many parts of an SBOM have no package URL, and so were not looked up.
	Unnamed  int `json:",omitempty"`
	Findings []ScanFinding
	// Counts are the vulnerabilities of each severity; those with several names, or in several packages of one source package, count once.
	Counts map[string]int
	// Ignored are findings that were left out because someone decided so, Expired the decisions that would have left out others and do not any more.
	Ignored []IgnoredFinding `json:",omitempty"`
	Expired []string         `json:",omitempty"`
	// NewSince is the image, or the state of the database, that the findings are new since, Known how many were there as well.
	NewSince string `json:",omitempty"`
	Known    int    `json:",omitempty"`
	// NotReachable is how many findings OnlyReachable left out.
	NotReachable int `json:",omitempty"`

	inventory inventory.Inventory
}

// Inventory is all that is in the image.
func (r *ScanReport) Inventory() inventory.Inventory { return r.inventory }

// Complete is nil when all packages were looked up, and else an error of class ErrNoAdvisories that says what was not.
func (r *ScanReport) Complete() error {
	var lacks []string
	for _, u := range r.Uncovered {
		lacks = append(lacks, fmt.Sprintf("the database has no advisories for %s (%d packages)", orElse(u.Ecosystem, "packages of type "+u.Type), u.Packages))
	}
	for _, name := range r.Unread {
		lacks = append(lacks, "the packages listed in /"+harmless.Line(name)+" could not be read")
	}
	if r.Unnamed > 0 {
		lacks = append(lacks, fmt.Sprintf("%d of its parts have no package URL", r.Unnamed))
	}
	if len(lacks) == 0 {
		return nil
	}
	return errdefs.New(ErrNoAdvisories, "%s was not looked at as a whole: %s", r.Image, strings.Join(lacks, "; "))
}

// Scan looks up the packages of an image, which lies where OpenAnatomy finds it, of the root file system in a directory (dir:PATH, or a path that is no OCI layout), or
// of an SBOM (sbom:PATH, or a path of a JSON file). What is in it is remembered, so that it is not opened the next time.
// Errors of class ErrNoAdvisories mean that nothing is known of the image.
func (e *Engine) Scan(ctx context.Context, name string, o ScanOptions, sink progress.Sink) (*ScanReport, error) {
	x, err := e.beginScan(o, sink)
	if err != nil {
		return nil, err
	}
	defer x.close()
	return x.scan(ctx, name)
}

// ofKernel reports whether a package was built from the kernel's source, such as its headers. A container runs on the host's kernel.
func ofKernel(p inventory.Package) bool {
	return p.Source == "linux" && (p.Type == "deb" || p.Type == "apk" || p.Type == "rpm")
}

// add fills in the findings, the worst first.
func (r *ScanReport) add(found []vuln.Finding, s *scanned) {
	r.Findings = []ScanFinding{}
	for i := range found {
		r.Findings = append(r.Findings, findingRow(&found[i], s))
	}
	slices.SortStableFunc(r.Findings, func(a, b ScanFinding) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), strings.Compare(a.Package, b.Package), strings.Compare(a.Arch, b.Arch), strings.Compare(a.ID, b.ID))
	})
	r.count()
}

// findingRow says where a finding came from.
func findingRow(f *vuln.Finding, s *scanned) ScanFinding {
	p := &f.Package
	row := ScanFinding{ID: f.ID, Aliases: f.Aliases, Upstream: f.Upstream, Group: f.Group, Package: p.Name, Version: p.Version, Type: p.Type, Arch: p.Arch, Source: p.Source, SourceVersion: p.SourceVersion,
		PURL: p.PURL, Path: "/" + p.Found, Ecosystem: f.Ecosystem, Severity: f.Severity, Score: f.Score, Vector: f.Vector, Fixed: f.Fixed, Status: f.Status, Unimportant: f.Unimportant,
		Summary: f.Summary, URL: f.URL, Published: f.Published, Modified: f.Modified, EPSS: f.EPSS, Percentile: f.Percentile, Exploited: f.Exploited, Reachable: f.Reachable}
	if p.Found == "" {
		row.Path = ""
	}
	if at, ok := s.at(p); ok {
		row.ScanPlace = at
	}
	row.Advice = advice(&row)
	return row
}

// Filter leaves the findings that keep accepts.
func (r *ScanReport) Filter(keep func(*ScanFinding) bool) {
	r.Findings = slices.DeleteFunc(r.Findings, func(f ScanFinding) bool { return !keep(&f) })
	r.count()
}

// findingKey is the same for findings that are counted once.
type findingKey struct{ typ, source, version, group string }

func keyOfFinding(f *ScanFinding) findingKey {
	return findingKey{f.Type, orElse(f.Source, f.Package), orElse(f.SourceVersion, f.Version), f.Group}
}

// count fills in Counts.
func (r *ScanReport) count() {
	worst := map[findingKey]vuln.Severity{}
	for i := range r.Findings {
		f := &r.Findings[i]
		k := keyOfFinding(f)
		worst[k] = max(worst[k], f.Severity)
	}
	r.Counts = map[string]int{}
	for _, severity := range worst {
		r.Counts[severity.String()]++
	}
}

// scanned is what is remembered of an image: it says nothing of vulnerabilities, and so stays true.
type scanned struct {
	Inventory inventory.Inventory
	// Layers has the layer of each package, from 0; Places what is known of the layers.
	Layers []int
	Places []ScanPlace
	// Programs are the layers, by diffID, that have the programs of Go whose functions are kept.
	Programs map[string]digest.Digest `json:",omitempty"`

	// functions are those of programs that are in no layer.
	functions map[string]*language.Functions
	// snapshots are those of the layers, when they are unpacked.
	snapshots []string
	index     map[string]int
}

// at is where a package came from.
func (s *scanned) at(p *inventory.Package) (ScanPlace, bool) {
	if s.index == nil {
		s.index = make(map[string]int, len(s.Layers))
		for i := range s.Inventory.Packages {
			q := &s.Inventory.Packages[i]
			s.index[q.PURL+"\x00"+q.Found] = i
		}
	}
	i, ok := s.index[p.PURL+"\x00"+p.Found]
	if !ok || i >= len(s.Layers) || s.Layers[i] < 0 || s.Layers[i] >= len(s.Places) {
		return ScanPlace{}, false
	}
	return s.Places[s.Layers[i]], true
}

// scanned returns what is in what r.Image names: a directory or an SBOM, or else an image.
func (e *Engine) scanned(ctx context.Context, r *ScanReport, platformOf string, sink progress.Sink) (*scanned, error) {
	kind, file := scanKind(r.Image)
	switch kind {
	case scanDirectory:
		return scanTree(ctx, file)
	case scanSBOM:
		return r.readSBOM(file)
	}
	at, err := e.find(ctx, r.Image, platformOf, sink)
	if err != nil {
		return nil, err
	}
	s, err := e.scannedImage(ctx, r, at, sink)
	if at.close != nil {
		err = errors.Join(err, at.close())
	}
	return s, err
}

// scannedImage returns what is in an image that was found.
func (e *Engine) scannedImage(ctx context.Context, r *ScanReport, at located, sink progress.Sink) (*scanned, error) {
	r.ID, r.Digest, r.Platform = at.image.ID().String(), at.image.Descriptor.Digest.String(), platform.Format(at.image.Config.Platform)
	return e.imagePackages(ctx, at, sink)
}

// imagePackages returns what is in an image, and remembers it.
func (e *Engine) imagePackages(ctx context.Context, at located, sink progress.Sink) (*scanned, error) {
	store, kept := e.scans(), e.packageLists()
	if s := store.get(at.image.ID()); s != nil && s.hasFunctions(kept) {
		return s, nil
	}
	s, err := e.placedPackages(ctx, at, sink)
	if err != nil {
		return nil, err
	}
	if s.Places, err = e.places(ctx, at.image); err != nil {
		return nil, err
	}
	return s, store.put(at.image.ID(), s)
}

// placedPackages reads what is in an image, and which layer brought it.
func (e *Engine) placedPackages(ctx context.Context, at located, sink progress.Sink) (*scanned, error) {
	kept := e.packageLists()
	s, err := e.unpacked(ctx, at)
	if err != nil {
		return nil, err
	}
	a, err := anatomy.Open(ctx, at.provider, watched{e.indexes(), sink}, at.image)
	if err != nil {
		return nil, err
	}
	if s == nil {
		s = &scanned{}
		if s.Inventory, s.Layers, err = a.PlacedLists(ctx, at.provider, kept); err != nil {
			return nil, err
		}
	}
	if s.Inventory, s.Layers, err = a.PlaceLanguages(ctx, at.provider, kept, e.trees(s.snapshots), s.Inventory, s.Layers); err != nil {
		return nil, err
	}
	s.place(a, kept)
	return s, nil
}

// places tells what is known of each layer.
func (e *Engine) places(ctx context.Context, img *image.Image) ([]ScanPlace, error) {
	finder := origin.New(e.history(), stacks{e})
	out := make([]ScanPlace, len(img.Layers))
	builds := make([]string, len(out))
	own := ""
	instructions := instructionsOf(img)
	for i, chainID := range unpack.ChainIDs(img.DiffIDs) {
		out[i] = ScanPlace{Layer: i + 1, LayerDigest: img.Layers[i].Digest.String(), Instruction: instructions[i]}
		o, err := finder.Layer(ctx, img.ID(), chainID)
		if err != nil {
			return nil, err
		}
		if o != nil {
			out[i].Instruction, out[i].Dockerfile, out[i].Line = o.Instruction, o.Dockerfile, o.Line
			builds[i], own = o.Build, o.Build // the last one's is the image's
		}
	}
	for i := range out {
		switch {
		case own == "":
		case builds[i] == own:
			out[i].From = "own"
		default:
			out[i].From = "base"
		}
	}
	return out, nil
}

// instructionsOf are those that the history of the config has, for each layer.
func instructionsOf(img *image.Image) []string {
	out := make([]string, len(img.Layers))
	next := 0
	for _, h := range img.Config.History {
		if !h.EmptyLayer && next < len(out) {
			out[next] = anatomy.Instruction(h.CreatedBy)
			next++
		}
	}
	return out
}
