package language

import (
	"io"
	"path"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/xmltree"
	"github.com/camada/camada/inventory"
)

// The bounds of projects.
const (
	// maxPom is the size of a pom.xml in bytes.
	maxPom = 4 << 20
	// maxProject is how many dependencies and properties one has, MaxProjects how many all of a tree have.
	maxProject  = 20_000
	MaxProjects = 500_000
	// maxParents is how long a line of parents is, and how deep properties and imports stand in each other.
	maxParents = 32
	// maxLookups is how much is looked up for one value, so that what refers to itself comes to an end; maxAllLookups for all of a tree.
	maxLookups    = 2_000
	maxAllLookups = 50_000_000
	maxValue      = 1024
)

// Project is what one pom.xml says (maven.apache.org, "POM Reference"), as it stands there. What it leaves to its parents and to what it imports is found by Resolve.
type Project struct {
	Group      string            `json:"group,omitempty"`
	Artifact   string            `json:"artifact,omitempty"`
	Version    string            `json:"version,omitempty"`
	Properties map[string]string `json:"properties,omitempty"`
	// Parent is nil for a project without one.
	Parent *ProjectParent `json:"parent,omitempty"`
	// Managed are the versions that it sets for others and itself, with the lists that it imports.
	Managed      []Dependency `json:"managed,omitempty"`
	Dependencies []Dependency `json:"dependencies,omitempty"`
}

// ProjectParent is where a project inherits from.
type ProjectParent struct {
	Group    string `json:"group,omitempty"`
	Artifact string `json:"artifact,omitempty"`
	Version  string `json:"version,omitempty"`
	// Path is relative to the project's directory.
	Path string `json:"path,omitempty"`
}

// Dependency is a package that a project names; Version may be empty.
type Dependency struct {
	Group    string `json:"group,omitempty"`
	Artifact string `json:"artifact,omitempty"`
	Version  string `json:"version,omitempty"`
	// Import tells that it is a list of versions, and no package.
	Import bool `json:"import,omitempty"`
}

// IsProject reports whether a path is that of a Maven project's pom.xml. Those in META-INF tell of what was packed there.
func IsProject(name string) bool {
	return path.Base(name) == "pom.xml" && !within(name, "META-INF")
}

// Size is how many things it has, for MaxProjects.
func (p *Project) Size() int { return 1 + len(p.Properties) + len(p.Managed) + len(p.Dependencies) }

// ParseProject reads a pom.xml. ErrInvalid when it is none, ErrLimit when it is too large.
func ParseProject(name string, r io.Reader) (*Project, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxPom+1))
	if err != nil {
		return nil, err
	}
	p, err := parseProject(data)
	if err != nil && !errdefs.IsLimit(err) {
		err = errdefs.Invalid("read the packages of %s: %w", name, err)
	}
	return p, err
}

func parseProject(data []byte) (*Project, error) {
	if len(data) > maxPom {
		return nil, errdefs.Limit("a pom.xml of more than %d bytes", maxPom)
	}
	e, err := xmltree.Parse(data)
	if err != nil {
		return nil, err
	}
	if e.Name != "project" {
		return nil, errdefs.Invalid("<%.40s> is no project", e.Name)
	}
	get := func(e *xmltree.Element, name string) string { return strings.TrimSpace(e.Get(name)) }
	p := &Project{Group: get(e, "groupId"), Artifact: get(e, "artifactId"), Version: get(e, "version"), Properties: map[string]string{}}
	for _, x := range e.All("parent") {
		p.Parent = &ProjectParent{Group: get(x, "groupId"), Artifact: get(x, "artifactId"), Version: get(x, "version"), Path: "../pom.xml"}
		for _, at := range x.All("relativePath") { // an empty one says that it is not here
			p.Parent.Path = strings.TrimSpace(at.Text)
		}
	}
	for _, x := range e.First("properties").In {
		p.Properties[x.Name] = strings.TrimSpace(x.Text)
	}
	list := func(e *xmltree.Element) (out []Dependency) {
		for _, x := range e.First("dependencies").All("dependency") {
			out = append(out, Dependency{get(x, "groupId"), get(x, "artifactId"), get(x, "version"), get(x, "scope") == "import"})
		}
		return out
	}
	p.Managed, p.Dependencies = list(e.First("dependencyManagement")), list(e)
	if p.Size() > maxProject {
		return nil, errdefs.Limit("a pom.xml with more than %d dependencies and properties", maxProject)
	}
	return p, nil
}

// resolver knows the projects of a tree.
type resolver struct {
	byPath map[string]*Project
	byName map[string]*Project // group:artifact:version
	paths  map[*Project]string
	own    map[string]bool // group:artifact
	lists  map[*Project]managed
	// left is how much may still be looked up for one value, and all for the tree.
	left, all int
}

// managed is what a project sets itself: versions by group:artifact, as they stand there, and the lists that it imports.
type managed struct {
	versions map[string]string
	imports  []Dependency
}

// spend counts a lookup; false when there were too many.
func (r *resolver) spend() bool {
	r.left, r.all = r.left-1, r.all-1
	return r.left >= 0 && r.all >= 0
}

// Resolve lists what projects depend on, by the paths of their files: versions and names are looked up in the project, in its parents and in the lists that it imports, as
// far as these are among the projects. Nothing is fetched. Projects are no packages of each other. A project with a dependency whose version is not told there is in unread;
// one that leaves the choice to Maven (a range) has no version, and is left out.
func Resolve(projects map[string]*Project) (pkgs map[string][]inventory.Package, unread []string, err error) {
	r := &resolver{byPath: projects, byName: map[string]*Project{}, paths: map[*Project]string{}, own: map[string]bool{}, lists: map[*Project]managed{}, all: maxAllLookups}
	for _, at := range sorted(projects) {
		p := projects[at]
		r.paths[p] = at
	}
	for _, at := range sorted(projects) {
		p := projects[at]
		group, artifact, version, ok := r.coordinates(p)
		if ok {
			r.byName[group+":"+artifact+":"+version] = p
		}
		r.own[group+":"+artifact] = true
	}
	pkgs = map[string][]inventory.Package{}
	total := 0
	for _, at := range sorted(projects) {
		f := &found{name: at, seen: map[string]bool{}}
		if !r.list(f, projects[at]) {
			unread = append(unread, at)
		}
		if total += len(f.out); total > inventory.MaxPackages {
			return nil, nil, errdefs.Limit("more than %d packages", inventory.MaxPackages)
		}
		if len(f.out) > 0 {
			pkgs[at] = f.out
		}
	}
	return pkgs, unread, nil
}

// list adds what one project depends on; false when not all of it is known.
func (r *resolver) list(f *found, p *Project) bool {
	whole := true
	for _, d := range p.Dependencies {
		r.left = maxLookups
		group, ok1 := r.text(p, d.Group, 0)
		artifact, ok2 := r.text(p, d.Artifact, 0)
		if !ok1 || !ok2 {
			whole = false
			continue
		}
		if r.own[group+":"+artifact] {
			continue
		}
		version, ok := r.text(p, d.Version, 0)
		if ok && version == "" {
			version, ok = r.version(p, group+":"+artifact, 0)
		}
		if !ok || version == "" {
			whole = false
			continue
		}
		if exact := strings.TrimSuffix(strings.TrimPrefix(version, "["), "]"); exact != version && !strings.ContainsAny(exact, "[](),") {
			version = exact
		}
		if strings.ContainsAny(version, "[](),") || version == "LATEST" || version == "RELEASE" {
			continue
		}
		if f.add("maven", group+":"+artifact, version, "") != nil {
			whole = false
		}
	}
	return whole
}

// coordinates are the project's own names; false when they are not known.
func (r *resolver) coordinates(p *Project) (group, artifact, version string, ok bool) {
	r.left = maxLookups
	group, ok1 := r.text(p, "${project.groupId}", 0)
	artifact, ok2 := r.text(p, p.Artifact, 0)
	version, ok3 := r.text(p, "${project.version}", 0)
	return group, artifact, version, ok1 && ok2 && ok3 && group != "" && artifact != "" && version != ""
}

// parent is the project that another one inherits from; nil when it is not there.
func (r *resolver) parent(p *Project) *Project {
	if p.Parent == nil {
		return nil
	}
	if p.Parent.Path != "" {
		at := path.Join(path.Dir(r.paths[p]), p.Parent.Path)
		for _, name := range []string{at, path.Join(at, "pom.xml")} {
			if q := r.byPath[name]; q != nil && q != p && q.Artifact == p.Parent.Artifact {
				return q
			}
		}
	}
	return r.byName[p.Parent.Group+":"+p.Parent.Artifact+":"+p.Parent.Version]
}

// text puts values in the place of ${names}; false when one is not known.
func (r *resolver) text(p *Project, s string, depth int) (string, bool) {
	if !strings.Contains(s, "${") {
		return s, true
	}
	var b strings.Builder
	for {
		before, after, more := strings.Cut(s, "${")
		b.WriteString(before)
		if !more {
			break
		}
		name, rest, closed := strings.Cut(after, "}")
		if !closed || !r.spend() || depth > maxParents || b.Len() > maxValue {
			return "", false
		}
		value, known := r.property(p, name)
		if known {
			value, known = r.text(p, value, depth+1)
		}
		if !known {
			return "", false
		}
		b.WriteString(value)
		s = rest
	}
	return b.String(), b.Len() <= maxValue
}

// property is the value of a name: of the project's own, or of its properties and its parents'.
func (r *resolver) property(p *Project, name string) (string, bool) {
	short := strings.TrimPrefix(strings.TrimPrefix(name, "project."), "pom.")
	parent := p.Parent
	if parent == nil {
		parent = &ProjectParent{}
	}
	if name != short || !strings.Contains(name, ".") {
		switch short {
		case "version":
			return orElse(p.Version, parent.Version), true
		case "groupId":
			return orElse(p.Group, parent.Group), true
		case "artifactId":
			return p.Artifact, true
		case "parent.version":
			return parent.Version, true
		case "parent.groupId":
			return parent.Group, true
		case "parent.artifactId":
			return parent.Artifact, true
		}
	}
	for q, n := p, 0; q != nil && n < maxParents; q, n = r.parent(q), n+1 {
		if !r.spend() {
			break
		}
		if v, ok := q.Properties[name]; ok {
			return v, true
		}
	}
	return "", false
}

// version is what is managed for a package: by the project and its parents, or else by what these import.
func (r *resolver) version(p *Project, key string, depth int) (string, bool) {
	if depth > maxParents {
		return "", false
	}
	for q, n := p, 0; q != nil && n < maxParents; q, n = r.parent(q), n+1 {
		if !r.spend() {
			return "", false
		}
		if v, ok := r.managedBy(q).versions[key]; ok {
			return r.text(p, v, 0)
		}
	}
	for q, n := p, 0; q != nil && n < maxParents; q, n = r.parent(q), n+1 {
		for _, d := range r.managedBy(q).imports {
			if !r.spend() {
				return "", false
			}
			group, ok1 := r.text(p, d.Group, 0)
			artifact, ok2 := r.text(p, d.Artifact, 0)
			version, ok3 := r.text(p, d.Version, 0)
			list := r.byName[group+":"+artifact+":"+version]
			if !ok1 || !ok2 || !ok3 || list == nil || list == p {
				continue
			}
			if v, ok := r.version(list, key, depth+1); ok {
				return v, true
			}
		}
	}
	return "", false
}

// managedBy is what a project sets itself. Names with ${} in them are those of the project.
func (r *resolver) managedBy(p *Project) managed {
	if m, ok := r.lists[p]; ok {
		return m
	}
	m := managed{versions: make(map[string]string, len(p.Managed))}
	left := r.left
	for _, d := range p.Managed {
		if d.Import {
			m.imports = append(m.imports, d)
			continue
		}
		r.left = maxLookups
		group, ok1 := r.text(p, d.Group, 0)
		artifact, ok2 := r.text(p, d.Artifact, 0)
		if _, have := m.versions[group+":"+artifact]; ok1 && ok2 && !have {
			m.versions[group+":"+artifact] = d.Version
		}
	}
	r.left, r.lists[p] = left, m
	return m
}
