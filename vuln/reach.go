package vuln

import (
	"slices"
	"strings"
)

// Reach tells whether the code that is vulnerable is in a program.
type Reach string

// The answers.
const (
	// ReachUnknown: nothing is known of the program's functions, or the advisory names none.
	ReachUnknown Reach = "unknown"
	// ReachYes: a function that is vulnerable is linked in. Go's linker leaves out what nothing can call.
	ReachYes Reach = "yes"
	// ReachNo: none is.
	ReachNo Reach = "no"
)

// or is the answer for two entries of one advisory.
func (r Reach) or(other Reach) Reach {
	switch {
	case r == ReachYes || other == ReachYes:
		return ReachYes
	case r == ReachNo && other == ReachNo:
		return ReachNo
	}
	return ReachUnknown
}

// Linked tells what is linked into a program.
type Linked interface {
	// Has reports whether a function of a package is, named as advisories do; an empty one is any of the package.
	Has(pkg, function string) bool
	// HasModule reports whether any function of a module is.
	HasModule(path string) bool
	// Complete reports whether what is not told is not there.
	Complete() bool
	// Platform is the program's GOOS and GOARCH; empty when they are not known.
	Platform() (os, arch string)
}

// reach is as "govulncheck -mode=binary" sees it. Go's own database names vulnerable functions, and means the whole module where it does not; others name none.
func (e *Entry) reach(id string, linked Linked) (Reach, error) {
	if linked == nil || e.Ecosystem != "Go" {
		return ReachUnknown, nil
	}
	imports := e.Imports
	if e.ReadImports != nil {
		var err error
		if imports, err = e.ReadImports(); err != nil {
			return ReachUnknown, err
		}
	}
	var found bool
	switch {
	case len(imports) > 0:
		found = slices.ContainsFunc(imports, func(i Import) bool { return i.in(linked) })
	case !strings.HasPrefix(id, "GO-"):
		return ReachUnknown, nil
	default:
		found = linked.HasModule(e.Name)
	}
	switch {
	case found:
		return ReachYes, nil
	case linked.Complete():
		return ReachNo, nil
	}
	return ReachUnknown, nil
}

// in reports whether it is linked in.
func (i *Import) in(linked Linked) bool {
	os, arch := linked.Platform()
	switch {
	case os != "" && len(i.GOOS) > 0 && !slices.Contains(i.GOOS, os), arch != "" && len(i.GOARCH) > 0 && !slices.Contains(i.GOARCH, arch):
		return false
	case len(i.Symbols) == 0:
		return linked.Has(i.Path, "")
	}
	return slices.ContainsFunc(i.Symbols, func(s string) bool { return linked.Has(i.Path, s) })
}

// agree gives what nothing is known of the answer of other advisories about the same vulnerability of the package.
func agree(found []Finding) {
	known := map[string]Reach{}
	for i := range found {
		if f := &found[i]; f.Reachable == ReachYes || f.Reachable == ReachNo && known[f.Group] == "" {
			known[f.Group] = f.Reachable
		}
	}
	for i := range found {
		if f := &found[i]; f.Reachable == ReachUnknown && known[f.Group] != "" {
			f.Reachable = known[f.Group]
		}
	}
}
