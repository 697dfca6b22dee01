package language

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"
)

// sorted returns the keys of a map in order.
func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// readGemfile reads Gemfile.lock (bundler.io, "gemfile.lock"): the gems below "specs:", four spaces in; what they depend on is further in.
func readGemfile(f *found, data []byte) error {
	inside := false
	return lines(data, func(line string) error {
		switch {
		case line == "" || line[0] != ' ':
			inside = false
		case line == "  specs:":
			inside = true
		case inside && strings.HasPrefix(line, "    ") && line[4] != ' ':
			name, version, ok := strings.Cut(line[4:], " (")
			if !ok {
				return nil
			}
			version, _, _ = strings.Cut(strings.TrimSuffix(version, ")"), "-") // the platform
			return f.add("gem", name, version, "")
		}
		return nil
	})
}

// isGemspec: what RubyGems writes about each installed gem.
func isGemspec(name, base string) bool {
	return strings.HasSuffix(base, ".gemspec") && within(name, "specifications")
}

// readGemspec reads the assignments that RubyGems writes (guides.rubygems.org, "Specification Reference"): s.name = "rake".freeze
func readGemspec(f *found, data []byte) error {
	var name, version, license string
	err := lines(data, func(line string) error {
		key, value, ok := strings.Cut(strings.TrimSpace(line), " = ")
		_, key, dot := strings.Cut(key, ".")
		if !ok || !dot {
			return nil
		}
		switch key {
		case "name":
			name = orElse(name, rubyText(value))
		case "version":
			version = orElse(version, rubyText(value))
		case "license", "licenses":
			var all []string
			for part := range strings.SplitSeq(strings.Trim(value, "[]"), ",") {
				if s := rubyText(strings.TrimSpace(part)); s != "" {
					all = append(all, s)
				}
			}
			license = orElse(license, strings.Join(all, " OR "))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return f.add("gem", name, version, license)
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// rubyText is the text in a Ruby string without escapes; "" when it is no such.
func rubyText(s string) string {
	if s == "" || s[0] != '"' && s[0] != '\'' {
		return ""
	}
	out, _, ok := strings.Cut(s[1:], s[:1])
	if !ok || strings.Contains(out, `\`) || strings.Contains(out, "#{") {
		return ""
	}
	return out
}

// isComposerInstalled: what Composer writes about what it installed.
func isComposerInstalled(name, base string) bool {
	return base == "installed.json" && (strings.HasSuffix(name, "/composer/installed.json") || name == "composer/installed.json")
}

// readComposer reads composer.lock and installed.json (getcomposer.org, "composer.lock"), which was a list before Composer 2.
func readComposer(f *found, data []byte) error {
	type pkg struct {
		Name, Version string
		License       json.RawMessage
	}
	var lock struct {
		Packages []pkg
		Dev      []pkg `json:"packages-dev"`
	}
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
		if err := json.Unmarshal(data, &lock.Packages); err != nil {
			return err
		}
	} else if err := json.Unmarshal(data, &lock); err != nil {
		return err
	}
	for _, p := range append(lock.Packages, lock.Dev...) {
		if err := f.add("composer", p.Name, p.Version, licenseOf(p.License)); err != nil {
			return err
		}
	}
	return nil
}

// readNuGet reads packages.lock.json (learn.microsoft.com, "Package references in project files"): packages by framework. Projects have no version.
func readNuGet(f *found, data []byte) error {
	var lock struct {
		Dependencies map[string]map[string]struct{ Resolved string }
	}
	if err := json.Unmarshal(data, &lock); err != nil {
		return err
	}
	for _, framework := range sorted(lock.Dependencies) {
		for _, name := range sorted(lock.Dependencies[framework]) {
			if err := f.add("nuget", name, lock.Dependencies[framework][name].Resolved, ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// readDeps reads NAME.deps.json (the .NET host's documentation, "runtime-configuration-file"): what an application was published with.
func readDeps(f *found, data []byte) error {
	var deps struct {
		Libraries map[string]struct{ Type string }
	}
	if err := json.Unmarshal(bytes.TrimPrefix(data, []byte("\ufeff")), &deps); err != nil {
		return err
	}
	for _, key := range sorted(deps.Libraries) {
		name, version, ok := strings.Cut(key, "/")
		if !ok || deps.Libraries[key].Type != "package" {
			continue
		}
		if err := f.add("nuget", name, version, ""); err != nil {
			return err
		}
	}
	return nil
}

var errGradle = errors.New("a line that is no group:artifact:version=configurations")

// isGradle: the lock of a project, of its build, of its settings, and the older ones for each configuration.
func isGradle(name, base string) bool {
	switch base {
	case "gradle.lockfile", "buildscript-gradle.lockfile", "settings-gradle.lockfile":
		return true
	}
	return strings.HasSuffix(base, ".lockfile") && strings.HasSuffix(path.Dir("/"+name), "/dependency-locks")
}

// readGradle reads gradle.lockfile (docs.gradle.org, "Locking Versions"). The older locks have no configurations behind a package.
func readGradle(f *found, data []byte) error {
	return lines(data, func(line string) error {
		if line == "" || line[0] == '#' || strings.HasPrefix(line, "empty=") {
			return nil
		}
		what, _, _ := strings.Cut(line, "=")
		parts := strings.Split(what, ":")
		if len(parts) != 3 {
			return errGradle
		}
		return f.add("maven", parts[0]+":"+parts[1], parts[2], "")
	})
}
