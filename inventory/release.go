package inventory

import (
	"io"
	"io/fs"
	"strings"
)

// maxRelease is the size of an os-release file in bytes.
const maxRelease = 64 << 10

// readRelease reads os-release. What is no os-release says nothing.
func readRelease(root fs.FS) (Distribution, error) {
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		f, err := open(root, name, maxRelease)
		if f == nil || err != nil {
			continue // such as a link that leads out of the root
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, maxRelease))
		if err != nil {
			return Distribution{}, err
		}
		return parseRelease(string(data)), nil
	}
	return Distribution{}, nil
}

// parseRelease reads the assignments of os-release(5). Values that have a control character are left out.
func parseRelease(text string) Distribution {
	var d Distribution
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			continue
		}
		value = unquote(value)
		if !plain(value) {
			continue
		}
		switch name {
		case "ID":
			d.ID = value
		case "VERSION_ID":
			d.VersionID = value
		case "VERSION_CODENAME":
			d.Codename = value
		case "PRETTY_NAME":
			d.PrettyName = value
		}
	}
	return d
}

// unquote takes the quotes off a value of a shell assignment.
func unquote(s string) string {
	if len(s) < 2 || s[0] != s[len(s)-1] || s[0] != '"' && s[0] != '\'' {
		return s
	}
	single := s[0] == '\''
	s = s[1 : len(s)-1]
	if single || !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
