package language

import (
	"encoding/json"
	"strings"
)

// isPythonMetadata: what pip, distutils and setuptools leave beside what they install.
func isPythonMetadata(name, base string) bool {
	dir, _, _ := strings.Cut(name, "/"+base)
	switch base {
	case "METADATA":
		return strings.HasSuffix(dir, ".dist-info")
	case "PKG-INFO":
		return strings.HasSuffix(dir, ".egg-info") || strings.HasSuffix(dir, "EGG-INFO")
	}
	return strings.HasSuffix(base, ".egg-info")
}

// readPythonMetadata reads the head of core metadata (packaging.python.org, "Core metadata specifications").
func readPythonMetadata(f *found, data []byte) error {
	var name, version, license, expression string
	body := false
	err := lines(data, func(line string) error {
		if body = body || line == ""; body {
			return nil // the description
		}
		key, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !ok || key == "" || key[0] == ' ' || key[0] == '\t' {
			return nil // more of the field before
		}
		switch strings.ToLower(key) {
		case "name":
			name = value
		case "version":
			version = value
		case "license":
			license = value
		case "license-expression":
			expression = value
		}
		return nil
	})
	if err != nil {
		return err
	}
	if expression != "" {
		license = expression
	}
	if strings.EqualFold(license, "unknown") {
		license = ""
	}
	return f.add("pypi", name, version, license)
}

// isRequirements: the names that people give to lists of requirements.
func isRequirements(name, base string) bool {
	return strings.HasPrefix(base, "requirements") && strings.HasSuffix(base, ".txt") && !within(name, "node_modules")
}

// readRequirements reads the pins of a requirements file (pip.pypa.io, "Requirements File Format"): name[extras]==version. What is not pinned
// says nothing of what is installed.
func readRequirements(f *found, data []byte) error {
	more := false // of an option or requirement that goes on
	return lines(data, func(line string) error {
		part := more
		line, more = strings.CutSuffix(line, `\`)
		if part {
			return nil
		}
		line, _, _ = strings.Cut(line, " #")
		line, _, _ = strings.Cut(line, ";")
		name, version, ok := strings.Cut(strings.TrimSpace(line), "==")
		if !ok || name == "" || strings.HasPrefix(name, "-") || strings.HasPrefix(name, "#") {
			return nil
		}
		name, _, _ = strings.Cut(name, "[")
		name = strings.TrimSpace(name)
		version = strings.TrimSpace(strings.TrimPrefix(version, "="))
		version, _, _ = strings.Cut(version, " ")
		if strings.ContainsAny(name, " <>=!~,@/:") || strings.ContainsAny(version, "*,<>=!~{}$") {
			return nil
		}
		return f.add("pypi", name, version, "")
	})
}

// readPipfile reads Pipfile.lock (pipenv.pypa.io, "Pipfile.lock").
func readPipfile(f *found, data []byte) error {
	type locked struct{ Version json.RawMessage }
	var lock struct{ Default, Develop map[string]locked }
	if err := json.Unmarshal(data, &lock); err != nil {
		return err
	}
	for _, part := range []map[string]locked{lock.Default, lock.Develop} {
		for _, name := range sorted(part) {
			version, ok := strings.CutPrefix(text(part[name].Version), "==")
			if !ok {
				continue
			}
			if err := f.add("pypi", name, strings.TrimSpace(version), ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// readPythonLock reads the locks of Poetry, uv and PDM. The project itself, which uv lists as well, is no package.
func readPythonLock(f *found, data []byte) error { return f.toml("pypi", data) }

// readCargo reads Cargo.lock (doc.rust-lang.org/cargo, "Cargo.toml vs Cargo.lock").
func readCargo(f *found, data []byte) error { return f.toml("cargo", data) }

// toml reads the tables [[package]] of a lock in TOML, as the programs write them: each value on a line of its own. No general parser is needed, nor
// its memory.
func (f *found) toml(typ string, data []byte) error {
	var name, version string
	inside, own := false, false
	end := func() error {
		n, v, skip := name, version, own || !inside
		name, version, own = "", "", false
		if skip {
			return nil
		}
		return f.add(typ, n, v, "")
	}
	header := false // of the table that follows are no more fields of the package
	err := lines(data, func(line string) error {
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") && !strings.Contains(line, "=") && !strings.Contains(line, `"`) {
			if line != "[[package]]" {
				header = true
				if !strings.HasPrefix(strings.TrimLeft(line, "["), "package.") {
					err := end()
					inside = false
					return err
				}
				return nil
			}
			err := end()
			inside, header = true, false
			return err
		}
		if !inside || header {
			return nil
		}
		key, value, _ := strings.Cut(line, " = ")
		switch key {
		case "name":
			name = strings.Trim(value, `"`)
		case "version":
			version = strings.Trim(value, `"`)
		case "source":
			own = strings.HasPrefix(value, "{ virtual") || strings.HasPrefix(value, "{ editable")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return end()
}
