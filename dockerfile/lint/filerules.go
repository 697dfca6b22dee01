package lint

import (
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/internal/semver"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// instruction looks at one instruction by itself.
func (l *linter) instruction(st *stage, in *inst) {
	switch c := in.cmd.(type) {
	case *instructions.AddCommand:
		l.add(in, c)
		l.destination(st, in, c.DestPath)
	case *instructions.CopyCommand:
		l.copyFrom(st, in, c)
		l.destination(st, in, c.DestPath)
		l.chmod(in, c.Chmod)
	case *instructions.EnvCommand:
		l.sameEnv(st, in, c)
	case *instructions.WorkdirCommand:
		st.workdir = st.workdir || !in.trigger
	case *instructions.RunCommand:
		for _, m := range instructions.GetMounts(c) {
			if j, err := l.file.MountFrom(st.def.Index, m.From, c.Location()); m.From != "" && err == nil && j < 0 {
				l.image(in, m.From)
			}
		}
	}
}

// sameEnv finds a value that needs what the same instruction sets.
func (l *linter) sameEnv(st *stage, in *inst, c *instructions.EnvCommand) {
	if len(c.Env) > 100 {
		return
	}
	for i, kv := range c.Env {
		for j, other := range c.Env {
			if i == j || other.Key == kv.Key || !strings.Contains(kv.Value, "${"+other.Key+"}") && !refers(kv.Value, other.Key) {
				continue
			}
			if !before(st, in, other.Key) {
				l.report("DL3044", in, in.at, "$"+other.Key+" is not set yet where "+kv.Key+" needs it")
			}
		}
	}
}

// refers tells whether a value has $name.
func refers(value, name string) bool {
	for rest := value; ; {
		i := strings.Index(rest, "$"+name)
		if i < 0 {
			return false
		}
		rest = rest[i+1+len(name):]
		if nameLen("x"+rest) == 1 {
			return true
		}
	}
}

// before tells whether an instruction before in sets a variable, or the base image may, as it does with PATH.
func before(st *stage, in *inst, name string) bool {
	for s := st; s != nil; s = s.parent {
		for _, other := range s.insts {
			if other == in {
				break
			}
			switch c := other.cmd.(type) {
			case *instructions.EnvCommand:
				if slices.ContainsFunc(c.Env, func(kv instructions.KeyValuePair) bool { return kv.Key == name }) {
					return true
				}
			case *instructions.ArgCommand:
				if slices.ContainsFunc(c.Args, func(kv instructions.KeyValuePairOptional) bool { return kv.Key == name }) {
					return true
				}
			}
		}
	}
	return name == "PATH"
}

// add looks at what ADD does that COPY does not.
func (l *linter) add(in *inst, c *instructions.AddCommand) {
	l.chmod(in, c.Chmod)
	plain, safe := len(c.SourcePaths) > 0 && c.Unpack == nil && c.Checksum == "" && c.KeepGitDir == nil, true
	for _, s := range c.SourcePaths {
		if remote(s) {
			if strings.HasPrefix(s, "http") && !strings.HasSuffix(s, ".git") && !strings.Contains(s, ".git#") && c.Checksum == "" {
				l.report("AddWithoutChecksum", in, l.word(in, s), "")
			}
			plain = false
			continue
		}
		plain = plain && !isArchive(s) && !strings.ContainsAny(s, "*?[$")
		safe = safe && isText(s)
	}
	if !plain {
		return
	}
	var edits []Edit
	if safe && len(c.SourceContents) == 0 && !in.trigger {
		edits = l.keyword(in, "ADD", "COPY")
	}
	l.report("DL3020", in, in.at, "use COPY for "+strings.Join(c.SourcePaths, ", "), edits...)
}

// keyword changes the first word of an instruction, in the case that it has.
func (l *linter) keyword(in *inst, from, to string) []Edit {
	text := l.logical(in)
	if len(text.text) < len(from) || !strings.EqualFold(text.text[:len(from)], from) {
		return nil
	}
	if text.text[:len(from)] == strings.ToLower(from) {
		to = strings.ToLower(to)
	}
	at := text.span(0, len(from))
	return []Edit{{at.start, at.end, to}}
}

func remote(s string) bool {
	for _, p := range []string{"http://", "https://", "git://", "ssh://", "git@", "github.com/"} {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

func isArchive(name string) bool {
	for _, end := range []string{".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tb2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".tar.lz", ".tlz", ".tpz", ".tar.lzma", ".gz", ".bz2", ".xz", ".zst", ".z", ".lzma", ".zip"} {
		if strings.HasSuffix(strings.ToLower(name), end) {
			return true
		}
	}
	return false
}

// isText tells whether a source is surely no archive: a directory, or a file whose name says that it is text.
func isText(name string) bool {
	if strings.HasSuffix(name, "/") || name == "." || name == ".." {
		return true
	}
	switch path.Ext(name) {
	case ".txt", ".md", ".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".xml", ".html", ".css", ".js", ".ts", ".sh", ".py", ".rb", ".go", ".mod", ".sum",
		".c", ".h", ".rs", ".java", ".php", ".pl", ".sql", ".lock", ".env", ".properties", ".service":
		return true
	}
	return false
}

// chmod finds modes that let everyone write.
func (l *linter) chmod(in *inst, mode string) {
	if mode != "" && worldWritable(mode) {
		l.report("WorldWritable", in, in.at, "mode "+mode+" lets everyone write")
	}
}

// worldWritable reads a mode as chmod takes it. The sticky bit makes it a place for all, as /tmp is.
func worldWritable(mode string) bool {
	if number(mode) {
		n := len(mode)
		last := mode[n-1]
		sticky := n == 4 && mode[0] != '0' && (mode[0]-'0')&1 == 1
		return n >= 3 && (last-'0')&2 != 0 && !sticky
	}
	for clause := range strings.SplitSeq(mode, ",") {
		if i := strings.IndexAny(clause, "+="); i >= 0 && strings.Contains(clause[i:], "w") && strings.ContainsAny(clause[:i], "ao") {
			return true
		}
	}
	return false
}

// destination finds a relative one that nothing in the file makes absolute.
func (l *linter) destination(st *stage, in *inst, dest string) {
	if path.IsAbs(dest) || strings.HasPrefix(dest, "$") || len(dest) > 1 && dest[1] == ':' {
		return
	}
	for s := st; s != nil; s = s.parent {
		if s.workdir {
			return
		}
	}
	if st.image == dockerfile.Scratch && (dest == "." || dest == "./") {
		return // the root, for sure
	}
	l.report("DL3045", in, l.word(in, dest), "where "+dest+" is depends on the base image")
}

// archives finds archives that are copied and unpacked later in the stage.
func (l *linter) archives() {
	for _, st := range l.stages {
		unpacked := map[string]int{} // by name, in which instruction last
		for i, in := range st.insts {
			if in.script == nil {
				continue
			}
			for _, c := range in.script.calls {
				if c.is("tar", "bsdtar") {
					for _, a := range c.args {
						unpacked[path.Base(a.text)] = i
					}
				}
			}
		}
		for i, in := range st.insts {
			c, ok := in.cmd.(*instructions.CopyCommand)
			if !ok || c.From != "" {
				continue
			}
			for _, s := range c.SourcePaths {
				if isTar(s) && unpacked[path.Base(s)] > i {
					l.report("DL3010", in, l.word(in, s), "ADD unpacks "+s+" without a copy of it in a layer")
				}
			}
		}
	}
}

// isTar tells whether ADD unpacks it.
func isTar(name string) bool {
	return isArchive(name) && (strings.Contains(name, ".tar") || strings.HasSuffix(name, "z") && strings.Contains(path.Ext(name), ".t"))
}

// labels looks at names of labels, and at those that the configuration asks for.
func (l *linter) labels() {
	have := map[string]bool{}
	for _, st := range l.stages {
		result := false
		for s := l.last(); s != nil; s = s.parent {
			result = result || s == st
		}
		for _, in := range st.insts {
			c, ok := in.cmd.(*instructions.LabelCommand)
			if !ok {
				continue
			}
			for _, kv := range c.Labels {
				key, value := strings.Trim(kv.Key, `"'`), strings.Trim(kv.Value, `"'`)
				if bad := badLabel(key); bad != "" {
					l.report("DL3048", in, l.word(in, key), "label "+key+" "+bad)
				}
				if result {
					have[key] = true
					l.label(in, key, value)
				}
			}
		}
	}
	var missing []string
	for name := range l.cfg.Labels {
		if !have[name] {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	for _, name := range missing {
		l.report("DL3049", l.last().from, l.last().from.at, "label "+name+" is missing")
	}
}

// badLabel says what is wrong with a label's name (Docker, "Docker object labels").
func badLabel(key string) string {
	if strings.Contains(key, "$") {
		return ""
	}
	for _, p := range []string{"com.docker.", "io.docker.", "org.dockerproject."} {
		if strings.HasPrefix(key, p) {
			return "has a name that is reserved for Docker"
		}
	}
	for i := 0; i < len(key); i++ {
		c := key[i]
		lower, digit := c >= 'a' && c <= 'z', c >= '0' && c <= '9'
		switch {
		case lower, digit && i > 0:
		case (c == '.' || c == '-') && i > 0 && i < len(key)-1 && key[i-1] != c:
		case (c == '_' || c == '/') && i > 0 && i < len(key)-1, c >= 'A' && c <= 'Z' && i > 0: // tools use them
		default:
			return "is no name of a label"
		}
	}
	return ""
}

// label looks at the value of a label by the schema of the configuration.
func (l *linter) label(in *inst, key, value string) {
	kind, ok := l.cfg.Labels[key]
	at := l.word(in, value)
	switch {
	case !ok && l.cfg.StrictLabels:
		l.report("DL3050", in, l.word(in, key), "label "+key+" is not asked for")
		return
	case !ok, strings.Contains(value, "$"):
		return
	case value == "":
		l.report("DL3051", in, in.at, "label "+key+" is empty")
		return
	}
	code, valid := "", true
	switch kind {
	case "url":
		u, err := url.Parse(value)
		code, valid = "DL3052", err == nil && u.Scheme != "" && (u.Host != "" || u.Opaque != "")
	case "rfc3339":
		_, err := time.Parse(time.RFC3339, value)
		code, valid = "DL3053", err == nil
	case "spdx":
		code, valid = "DL3054", spdx(value)
	case "hash":
		code, valid = "DL3055", hash(value)
	case "semver":
		_, ok := semver.Parse(value)
		core, _, _ := strings.Cut(value, "-")
		code, valid = "DL3056", ok && strings.Count(core, ".") >= 2 && value[0] != 'v'
	case "email":
		name, host, ok := strings.Cut(value, "@")
		code, valid = "DL3058", ok && name != "" && host != "" && !strings.ContainsAny(value, " \t<>,") && !strings.Contains(host, "@")
	}
	if !valid {
		l.report(code, in, at, "label "+key+": "+value+" is not what the configuration asks for ("+kind+")")
	}
}

// spdx tells whether a text has the form of a licence expression (SPDX, annex "SPDX license expressions"). Which licences there are is not compared.
func spdx(s string) bool {
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '(' || r == ')' })
	for i, w := range words {
		if operator := w == "AND" || w == "OR" || w == "WITH"; operator != (i%2 == 1) {
			return false
		}
		for j := 0; j < len(w); j++ {
			c := w[j]
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte(".-+:", c) < 0 {
				return false
			}
		}
	}
	return len(words)%2 == 1
}

func hash(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) >= 7 && len(s) <= 64
}
