package engine

import (
	"strings"

	"github.com/camada/camada/vuln"
)

// advice says what repairs a finding; "" when nothing is known that does.
func advice(f *ScanFinding) string {
	if f.Fixed == "" {
		if f.Status == vuln.StatusEndOfLife {
			return "move to a release of the distribution that is supported"
		}
		return ""
	}
	update := updateCommand(f)
	if f.From == "base" {
		return "build on a newer base image, or update it above: " + update
	}
	return update
}

// updateCommand is what updates a package to a version that is repaired. Names and versions are words (package inventory), and quoted for a shell.
func updateCommand(f *ScanFinding) string {
	switch f.Type {
	case "deb":
		return "apt-get update && apt-get install -y --only-upgrade " + shellWord(f.Package)
	case "apk":
		return "apk upgrade --no-cache " + shellWord(f.Package)
	case "rpm":
		return "dnf upgrade -y " + shellWord(f.Package)
	case "npm":
		return "npm install " + shellWord(f.Package+"@"+f.Fixed)
	case "pypi":
		return "pip install " + shellWord(f.Package+">="+f.Fixed)
	case "gem":
		return "gem install " + shellWord(f.Package) + " -v " + shellWord(f.Fixed)
	case "cargo":
		return "cargo update -p " + shellWord(f.Package) + " --precise " + shellWord(f.Fixed)
	case "composer":
		return "composer require " + shellWord(f.Package+":^"+f.Fixed)
	case "golang":
		if f.Package == "stdlib" {
			return "build with Go " + f.Fixed + " or later"
		}
		return "go get " + shellWord(f.Package+"@v"+strings.TrimPrefix(f.Fixed, "v"))
	}
	return "update " + f.Package + " to " + f.Fixed + " or later"
}

// shellWord quotes what a shell would take for more than a word.
func shellWord(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@%_+=:,./-", r))
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Repairs counts what repairs the findings, as Counts counts them: a newer base image, updates in the image's own build (or in an image of which that is not known), and nothing yet.
func (r *ScanReport) Repairs() (base, own, none int) {
	seen := map[findingKey]bool{}
	for i := range r.Findings {
		f := &r.Findings[i]
		if k := keyOfFinding(f); seen[k] {
			continue
		} else {
			seen[k] = true
		}
		switch {
		case f.Fixed == "":
			none++
		case f.From == "base":
			base++
		default:
			own++
		}
	}
	return base, own, none
}
