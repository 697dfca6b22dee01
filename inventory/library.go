package inventory

import (
	"strings"
)

// Library completes a package of a programming language, of which type, name and version are given: its source is itself, and its package URL is made.
// The name is the one that its registry knows: a module's path (golang), group:artifact (maven), @scope/name (npm), vendor/name (composer). Texts that cannot be shown
// are ErrInvalid.
func Library(p Package) (Package, error) {
	p.Source, p.SourceVersion = p.Name, p.Version
	if err := p.check(); err != nil {
		return p, err
	}
	name := p.Name
	switch p.Type {
	case "golang", "composer":
		name = strings.ToLower(name)
	case "pypi":
		name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	case "maven":
		name = strings.Replace(name, ":", "/", 1)
	}
	var b strings.Builder
	b.WriteString("pkg:" + p.Type)
	for part := range strings.SplitSeq(name, "/") {
		b.WriteByte('/')
		escape(&b, part)
	}
	b.WriteByte('@')
	escape(&b, p.Version)
	p.PURL = b.String()
	return p, nil
}
