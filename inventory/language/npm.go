package language

import (
	"bufio"
	"bytes"
	"encoding/json"
	"strings"

	"github.com/camada/camada/errdefs"
)

// isNodePackage: node_modules/NAME/package.json, and node_modules/@SCOPE/NAME/package.json; others are parts of packages.
func isNodePackage(name, base string) bool {
	if base != "package.json" {
		return false
	}
	parts := strings.Split(name, "/")
	n := len(parts)
	return n >= 3 && parts[n-3] == "node_modules" && parts[n-2][0] != '@' || n >= 4 && parts[n-4] == "node_modules" && parts[n-3][0] == '@'
}

// isNodeLock: the lock of what is in node_modules (.package-lock.json) says what the package.json files say.
func isNodeLock(_, base string) bool {
	return base == "package-lock.json" || base == "npm-shrinkwrap.json"
}

// readNodePackage reads package.json (docs.npmjs.com, "package.json").
func readNodePackage(f *found, data []byte) error {
	var p struct {
		Name, Version json.RawMessage
		License       json.RawMessage
		Licenses      json.RawMessage
	}
	if err := json.Unmarshal(bytes.TrimPrefix(data, []byte("\ufeff")), &p); err != nil {
		return err
	}
	license := p.License
	if license == nil {
		license = p.Licenses
	}
	return f.add("npm", text(p.Name), text(p.Version), licenseOf(license))
}

// text is the value of a JSON string, and "" for all else.
func text(raw json.RawMessage) (s string) {
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return strings.TrimSpace(s)
}

// licenseOf reads what package.json and composer.json say of licences: a text, an object with a type, or a list of them, which are a choice.
func licenseOf(raw json.RawMessage) string {
	if s := text(raw); s != "" {
		return s
	}
	var one struct{ Type json.RawMessage }
	if json.Unmarshal(raw, &one) == nil {
		return text(one.Type)
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil || len(list) > 64 {
		return ""
	}
	var names []string
	for _, l := range list {
		s := text(l)
		if s == "" && json.Unmarshal(l, &one) == nil {
			s = text(one.Type)
		}
		if s == "" {
			return ""
		}
		if strings.Contains(s, " ") && len(list) > 1 {
			s = "(" + s + ")"
		}
		names = append(names, s)
	}
	return strings.Join(names, " OR ")
}

// lockedNode is a package of a lock of version 1.
type lockedNode struct {
	Version      string
	Dependencies map[string]lockedNode
}

// readNodeLock reads package-lock.json (docs.npmjs.com, "package-lock.json") of the versions 1, 2 and 3: packages by their places in node_modules, or one in another.
func readNodeLock(f *found, data []byte) error {
	var lock struct {
		Packages map[string]struct {
			Name    string
			Version string
			License json.RawMessage
			Link    bool
		}
		Dependencies map[string]lockedNode
	}
	if err := json.Unmarshal(data, &lock); err != nil {
		return err
	}
	if lock.Packages == nil {
		return f.nodes(lock.Dependencies)
	}
	for _, at := range sorted(lock.Packages) {
		p := lock.Packages[at]
		i := strings.LastIndex("/"+at, "/node_modules/")
		if i < 0 || p.Link {
			continue // the project itself, and its workspaces
		}
		name := p.Name
		if name == "" {
			name = ("/" + at)[i+len("/node_modules/"):]
		}
		if err := f.node(name, p.Version, licenseOf(p.License)); err != nil {
			return err
		}
	}
	return nil
}

func (f *found) nodes(deps map[string]lockedNode) error {
	for _, name := range sorted(deps) {
		d := deps[name]
		if err := f.node(name, d.Version, ""); err != nil {
			return err
		}
		if err := f.nodes(d.Dependencies); err != nil {
			return err
		}
	}
	return nil
}

// node adds a package whose version may be an alias (npm:name@version), or an address that says nothing of its version.
func (f *found) node(name, version, license string) error {
	if rest, ok := strings.CutPrefix(version, "npm:"); ok {
		if i := strings.LastIndexByte(rest, '@'); i > 0 {
			name, version = rest[:i], rest[i+1:]
		}
	}
	if version == "" || version[0] < '0' || version[0] > '9' {
		return nil
	}
	return f.add("npm", name, version, license)
}

// readYarn reads yarn.lock, of version 1 and of berry (classic.yarnpkg.com and yarnpkg.com, "lockfile"): a line with what was asked for, and
// indented what was found.
func readYarn(f *found, data []byte) error {
	name := ""
	return lines(data, func(line string) error {
		if line == "" || line[0] == '#' {
			return nil
		}
		if line[0] != ' ' {
			first, _, _ := strings.Cut(strings.TrimSuffix(line, ":"), ", ")
			name = yarnName(strings.Trim(first, `"`))
			return nil
		}
		if name == "" || !strings.HasPrefix(line, "  ") || strings.HasPrefix(line, "   ") {
			return nil
		}
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.TrimSuffix(key, ":") != "version" {
			return nil
		}
		n := name
		name = "" // one version each
		return f.node(n, strings.Trim(value, `"`), "")
	})
}

// yarnName is the name in "name@range", "@scope/name@npm:range" or, for an alias, "alias@npm:name@range"; "" is of what is in the project itself.
func yarnName(s string) string {
	i := strings.IndexByte(s[min(len(s), 1):], '@') + 1
	if i <= 0 {
		return ""
	}
	name, what := s[:i], s[i+1:]
	for _, own := range []string{"workspace:", "link:", "portal:", "file:"} {
		if strings.HasPrefix(what, own) {
			return ""
		}
	}
	if rest, ok := strings.CutPrefix(what, "npm:"); ok {
		if j := strings.IndexByte(rest[min(len(rest), 1):], '@') + 1; j > 0 {
			return rest[:j]
		}
	}
	return name
}

// readPnpm reads pnpm-lock.yaml (pnpm.io, "pnpm-lock.yaml") of the versions 5 to 9: the keys below "packages", which are /name/1.0.0, /name@1.0.0 or name@1.0.0, with the
// peers that were chosen behind it.
func readPnpm(f *found, data []byte) error {
	inside := false
	return lines(data, func(line string) error {
		if line == "" || line[0] == '#' {
			return nil
		}
		if line[0] != ' ' {
			inside = line == "packages:"
			return nil
		}
		if !inside || len(line) < 4 || line[:2] != "  " || line[2] == ' ' {
			return nil
		}
		key, _, ok := strings.Cut(line[2:], ": {")
		if !ok {
			if key, ok = strings.CutSuffix(key, ":"); !ok {
				return nil
			}
		}
		name, version := pnpmKey(strings.Trim(key, `'"`))
		return f.node(name, version, "")
	})
}

func pnpmKey(key string) (name, version string) {
	key, slash := strings.CutPrefix(key, "/")
	key, _, _ = strings.Cut(key, "(")
	scope := 0
	if strings.HasPrefix(key, "@") {
		scope = strings.IndexByte(key, '/') + 1
	}
	i := strings.IndexAny(key[scope:], "@/") + scope
	switch {
	case i <= scope || strings.ContainsRune(key[:i], ':'):
		return "", ""
	case key[i] == '@':
		return key[:i], key[i+1:]
	case slash:
		version, _, _ = strings.Cut(key[i+1:], "_")
		return key[:i], version
	}
	return "", ""
}

// lines calls fn with each line of a text, without its end and the spaces there.
func lines(data []byte, fn func(line string) error) error {
	s := bufio.NewScanner(bytes.NewReader(data))
	s.Buffer(make([]byte, 0, 64<<10), 1<<20)
	for n := 1; s.Scan(); n++ {
		if err := fn(strings.TrimRight(s.Text(), " \t\r")); err != nil {
			return errdefs.Invalid("line %d: %w", n, err)
		}
	}
	return s.Err()
}
