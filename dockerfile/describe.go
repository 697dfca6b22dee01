package dockerfile

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// DocPrefix begins the names of labels and annotations that describe what an image expects and offers, one for each thing:
//
//	camada.doc.env.NAME   camada.doc.port.8080   camada.doc.port.53/udp   camada.doc.volume./data   camada.doc.arg.NAME
//	camada.doc.user   camada.doc.entrypoint   camada.doc.cmd   camada.doc.healthcheck   camada.doc.stopsignal
//
// Labels are what people write; annotations of the manifest are what a build makes of comments.
const DocPrefix = "camada.doc."

// The kinds of things that are described. The first four have names, of the others an image has one each.
const (
	DocEnv         = "env"
	DocPort        = "port"
	DocVolume      = "volume"
	DocArg         = "arg"
	DocUser        = "user"
	DocEntrypoint  = "entrypoint"
	DocCmd         = "cmd"
	DocHealthcheck = "healthcheck"
	DocStopSignal  = "stopsignal"
)

// MaxDoc is how long a description may be, in bytes. Longer ones are cut.
const MaxDoc = 1000

// DocKey is the name of the label or annotation that describes a thing. A port is "80/tcp", as in an image's config, or "80".
func DocKey(kind, name string) string {
	if name == "" {
		return DocPrefix + kind
	}
	if kind == DocPort {
		name = strings.TrimSuffix(name, "/tcp")
	}
	return DocPrefix + kind + "." + name
}

// SplitDocKey is the reverse of DocKey; ok is false for other labels. Ports come back as "80/tcp".
func SplitDocKey(key string) (kind, name string, ok bool) {
	rest, ok := strings.CutPrefix(key, DocPrefix)
	if !ok {
		return "", "", false
	}
	kind, name, named := strings.Cut(rest, ".")
	switch kind {
	case DocEnv, DocPort, DocVolume, DocArg:
		if kind == DocPort && !strings.Contains(name, "/") {
			name += "/tcp"
		}
		return kind, name, named && name != ""
	case DocUser, DocEntrypoint, DocCmd, DocHealthcheck, DocStopSignal:
		return kind, "", !named
	}
	return "", "", false
}

// DocOf is the description of a thing in an image: its label, or else its annotation; "" when there is neither. Both may be nil.
func DocOf(kind, name string, labels, annotations map[string]string) string {
	for _, m := range []map[string]string{labels, annotations} {
		text := m[DocKey(kind, name)]
		if text == "" && kind == DocPort && strings.HasSuffix(name, "/tcp") {
			text = m[DocPrefix+kind+"."+name]
		}
		if text = CleanDoc(text); text != "" {
			return text
		}
	}
	return ""
}

// CleanDoc makes one line of at most MaxDoc bytes of a text that anybody may have written, without control characters.
func CleanDoc(text string) string {
	if len(text) > 4*MaxDoc {
		text = text[:4*MaxDoc]
	}
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "\uFFFD"), func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	const more = "…"
	if len(text) <= MaxDoc {
		return text
	}
	end := MaxDoc - len(more)
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return strings.TrimSpace(text[:end]) + more
}

// Describe returns what the comments directly above an instruction say of things that it declares, by their names as they are given; a name without
// a text is left out. A line that begins with a name is about that thing, and so are the lines below it; what stands before all such lines is about each thing that has none of its own:
//
//	# the address to listen at
//	ENV LISTEN=:8080
//
//	# HOST  of the database
//	# PORT: of the database
//	ENV HOST=db PORT=5432
//
// An instruction that declares one thing without a name gets the name "". An empty comment, or an empty line, ends the comments; what linters and other tools are told is no description.
func (f *File) Describe(c instructions.Command, names ...string) map[string]string {
	lines := f.above(c)
	if len(lines) == 0 {
		return nil
	}
	said := map[string]string{}
	lead, at := "", ""
	for _, line := range lines {
		if name, text := aboutOne(line, names); name != "" {
			at, said[name] = name, text
			continue
		}
		if at != "" {
			said[at] += " " + line
		} else {
			lead += " " + line
		}
	}
	out := make(map[string]string, len(names))
	for _, name := range names {
		text := CleanDoc(said[name])
		if text == "" {
			text = CleanDoc(lead)
		}
		if text != "" {
			out[name] = text
		}
	}
	return out
}

// above are the comments directly above an instruction that are meant for people, without their "#".
func (f *File) above(c instructions.Command) []string {
	var out []string
	most := len(c.Comments()) // none in a trigger, which stands in another file
	for i := firstLine(c.Location()) - 2; i >= 0 && i < len(f.lines) && len(out) < most; i-- {
		text, ok := strings.CutPrefix(strings.TrimLeft(f.lines[i], " \t"), "#")
		if text = strings.TrimSpace(text); !ok || text == "" {
			break
		}
		out = append(out, text)
	}
	slices.Reverse(out)
	return slices.DeleteFunc(out, forTools)
}

// aboutOne takes the name off a line that begins with one; the longest that fits.
func aboutOne(line string, names []string) (name, text string) {
	item := strings.TrimLeft(line, "-* ")
	length := 0
	for _, n := range names {
		for _, word := range []string{n, strings.TrimSuffix(n, "/tcp")} {
			rest, ok := strings.CutPrefix(item, word)
			if !ok || len(word) <= length || rest != "" && rest[0] != ' ' && rest[0] != ':' && rest[0] != '\t' {
				continue
			}
			name, length = n, len(word)
			text = strings.TrimLeft(rest, ": \t")
			text = strings.TrimPrefix(text, "- ")
		}
	}
	return name, text
}

// forTools tells whether a comment is for a linter or another tool.
func forTools(comment string) bool {
	for _, p := range []string{"hadolint ", "camada "} {
		if rest, ok := strings.CutPrefix(comment, p); ok {
			key, _, ok := strings.Cut(rest, "=")
			words := strings.Fields(key)
			return ok && len(words) > 0 && (words[len(words)-1] == "ignore" || words[len(words)-1] == "shell")
		}
	}
	for _, p := range []string{"shellcheck ", "renovate:", "trivy:", "checkov:", "kics-scan ", "nosemgrep"} {
		if strings.HasPrefix(comment, p) {
			return true
		}
	}
	key, _, ok := strings.Cut(comment, "=")
	switch strings.ToLower(strings.TrimSpace(key)) {
	case "check", "syntax", "escape":
		return ok
	}
	return false
}
