package sbom

import (
	"net/url"
	"strings"
	"unicode"

	"github.com/camada/camada/internal/harmless"
	"github.com/camada/camada/inventory"
)

// named is a package by its URL.
type named struct{ inventory.Package }

// distribution reads the qualifier distro: debian-12, alpine-3.22.1, or a code name.
func distribution(s string) inventory.Distribution {
	id, version, ok := strings.Cut(s, "-")
	if !ok {
		return inventory.Distribution{Codename: s}
	}
	if strings.HasPrefix(s, "opensuse-") { // opensuse-leap-15.5
		if i := strings.LastIndexByte(s, '-'); i > len("opensuse-") {
			id, version = s[:i], s[i+1:]
		}
	}
	return inventory.Distribution{ID: id, VersionID: version}
}

// parse reads a package URL.
func parse(purl string) (p named, distro string, ok bool) {
	rest, ok := strings.CutPrefix(purl, "pkg:")
	if !ok || len(purl) > maxURL {
		return p, "", false
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	version := ""
	if i := strings.LastIndexByte(rest, '@'); i > strings.LastIndexByte(rest, '/') {
		rest, version = rest[:i], rest[i+1:]
	}
	typ, rest, ok := strings.Cut(strings.Trim(rest, "/"), "/")
	q, err1 := url.ParseQuery(query)
	full, err2 := url.PathUnescape(rest)
	version, err3 := url.PathUnescape(version)
	if !ok || err1 != nil || err2 != nil || err3 != nil || full == "" {
		return p, "", false
	}
	p = named{inventory.Package{Type: strings.ToLower(typ), Version: version, Arch: q.Get("arch"), PURL: purl}}
	space, base := "", full
	if i := strings.LastIndexByte(full, '/'); i >= 0 {
		space, base = full[:i], full[i+1:]
	}
	switch p.Type {
	case "deb", "apk", "rpm", "alpm":
		p.Name = base
	case "maven":
		p.Name = strings.Trim(space+":"+base, ":")
	default:
		p.Name = full
	}
	p.Source, p.SourceVersion = p.Name, p.Version
	p.upstream(q.Get("upstream"))
	if epoch := q.Get("epoch"); epoch != "" && p.Type == "rpm" && !strings.Contains(version, ":") {
		p.Version = epoch + ":" + version // of the package alone: the file of a source has no epoch in its name
	}
	distro = q.Get("distro")
	if distro != "" && !strings.Contains(distro, "-") && space != "" {
		distro = space + "-" + distro
	}
	for _, s := range []string{p.Type, p.Name, p.Version, p.Arch, p.Source, p.SourceVersion, distro, p.PURL} {
		if !word(s) {
			return p, "", false
		}
	}
	return p, distro, true
}

// upstream reads the qualifier of that name: NAME, NAME@VERSION, or the file of a source package of rpm's.
func (p *named) upstream(s string) {
	if s == "" {
		return
	}
	if strings.HasSuffix(s, "src.rpm") {
		p.Source, p.SourceVersion = inventory.SourceRPM(s, strings.TrimSuffix(s, ".src.rpm"), p.Version)
		return
	}
	name, v, found := strings.Cut(s, "@")
	p.Source = name
	if found {
		p.SourceVersion = v
	}
}

// respell gives a package of a language the name that the document writes, where it is the one of the URL: the URL is in small letters, say.
func (p *named) respell(d *described) {
	if p.OfSystem() || d.name == "" {
		return
	}
	names := []string{d.name, d.group + "/" + d.name}
	if p.Type == "maven" {
		names = []string{d.group + ":" + d.name}
	}
	for _, name := range names {
		same, err := inventory.Library(inventory.Package{Type: p.Type, Name: name, Version: p.Version})
		if err == nil && same.PURL == p.PURL {
			p.Name, p.Source = name, name
			return
		}
	}
}

// word reports whether a text can be shown: without spaces and control characters.
func word(s string) bool { return plain(s) && !strings.ContainsFunc(s, unicode.IsSpace) }

// plain reports whether a text can be shown.
func plain(s string) bool {
	return len(s) <= maxURL && !strings.ContainsFunc(s, func(r rune) bool {
		return harmless.Hidden(r) || r == unicode.ReplacementChar
	})
}

// shown is an instruction, which may have several lines, without other characters that cannot be shown.
func shown(s string) string {
	if len(s) > 16*maxURL {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && !plain(string(r)) {
			return '?'
		}
		return r
	}, s)
}

// plainPath is a path that can be shown; "" is another one.
func plainPath(s string) string {
	if !plain(s) {
		return ""
	}
	return strings.TrimPrefix(s, "/")
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
