package inventory

import (
	"io"
	"strings"
)

// readDpkg reads dpkg's status file (dpkg(1), deb-control(5)): paragraphs of fields. The files below status.d
// have one paragraph each and no Status.
func readDpkg(d Distribution, r io.Reader) ([]Package, error) {
	var out []Package
	var p Package
	status, any := "", false
	end := func() error {
		if !any {
			return nil
		}
		done, have := p, installed(status)
		p, status, any = Package{}, "", false
		if !have {
			return nil
		}
		done.Type = "deb"
		done.Source, done.SourceVersion = source(done.Source, done.Name, done.Version)
		if err := done.check(); err != nil {
			return err
		}
		done.PURL = done.purl(d, orElse(d.ID, "debian"))
		out = append(out, done)
		return nil
	}
	err := eachLine(r, func(line []byte) error {
		text := strings.TrimRight(string(line), " \t\r")
		switch {
		case text == "":
			return end()
		case text[0] == ' ' || text[0] == '\t' || text[0] == '#':
			return nil // more of a field that is not kept
		}
		name, value, ok := strings.Cut(text, ":")
		if !ok {
			return errField
		}
		any = true
		value = strings.TrimLeft(value, " \t")
		switch strings.ToLower(name) {
		case "package":
			p.Name = value
		case "version":
			p.Version = value
		case "architecture":
			p.Arch = value
		case "source":
			p.Source = value
		case "maintainer":
			p.Supplier = value
		case "status":
			status = value
		}
		return nil
	})
	return out, err
}

// installed reports whether the files of a package of this status (dpkg-query(1)) are there: a removed
// package whose configuration stays is not. "" is of a file without Status.
func installed(status string) bool {
	words := strings.Fields(status)
	if len(words) == 0 {
		return true
	}
	switch words[len(words)-1] {
	case "not-installed", "config-files":
		return false
	}
	return true
}

// source splits the field Source: "name" or "name (version)"; what it does not say is the package's own.
func source(field, name, version string) (string, string) {
	if field == "" {
		return name, version
	}
	n, v, ok := strings.Cut(field, "(")
	if v = strings.TrimSuffix(strings.TrimSpace(v), ")"); !ok || v == "" {
		v = version
	}
	return strings.TrimSpace(n), v
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
