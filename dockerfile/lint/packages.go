package lint

import (
	"strings"
)

// packages looks at the package managers in a script.
func (l *linter) packages(s *script) {
	for _, c := range s.calls {
		switch c.name {
		case "apt-get":
			l.apt(c)
		case "apt":
			l.report("DL3027", s.in, l.spanOf(c), "", l.aptGet(c)...)
		case "apk":
			l.apk(c)
		case "yum", "dnf", "microdnf", "zypper":
			l.rpm(c)
		case "pip", "pip2", "pip3":
			l.pip(c, 0)
		case "python", "python2", "python3":
			if len(c.args) > 1 && c.args[0].text == "-m" && c.args[1].text == "pip" {
				l.pip(c, 2)
			}
		case "npm":
			l.npm(c)
		case "gem":
			l.gem(c)
		case "go":
			l.goInstall(c)
		case "yarn":
			if v, _ := c.verb(); (v == "install" || v == "") && !c.has("--version") && !s.ran("yarn", "cache") && !s.in.mounts("/usr/local/share/.cache/yarn", "/root/.yarn", "/root/.cache/yarn") {
				l.report("DL3060", s.in, l.spanOf(c), "")
			}
		}
	}
}

// aptGet writes apt-get for apt, where the two do the same: apt deletes packages that it installed, and some verbs are its alone.
func (l *linter) aptGet(c *call) []Edit {
	switch v, _ := c.verb(); v {
	case "update", "remove", "purge", "autoremove", "clean":
	default:
		return nil
	}
	if c.node == nil || c.node.Args[0].Lit() != "apt" {
		return nil
	}
	return l.edit(c.script, c.pos, c.nameEnd, "apt-get")
}

// spanOf is where a call stands.
func (l *linter) spanOf(c *call) span { return l.span(c.script, c.pos, c.end) }

// spanOfArg is where an argument stands.
func (l *linter) spanOfArg(c *call, a arg) span {
	if a.word == nil {
		return c.script.in.at
	}
	return l.span(c.script, a.word.Pos(), a.word.End())
}

// pins reports the operands that name no version, together; pinned tells whether one does. What is expanded may have one.
func (l *linter) pins(code string, c *call, operands []arg, pinned func(string) bool) {
	var names []string
	var at span
	for _, a := range operands {
		if a.text == "" || strings.Contains(a.text, "$") || pinned(a.text) {
			continue
		}
		here := l.spanOfArg(c, a)
		if names == nil {
			at = here
		}
		at.end = max(at.end, here.end)
		names = append(names, public(a.text))
	}
	if names == nil {
		return
	}
	const most = 10
	text := strings.Join(names[:min(len(names), most)], ", ")
	if len(names) > most {
		text += ", ..."
	}
	l.report(code, c.script.in, at, "no version of "+text)
}

// public is a word without what may be a password in a URL.
func public(word string) string {
	scheme, rest, ok := strings.Cut(word, "://")
	if !ok {
		return word
	}
	host, path, _ := strings.Cut(rest, "/")
	return scheme + "://" + host[strings.LastIndexByte(host, '@')+1:] + "/" + path
}

// after inserts text behind an argument.
func (l *linter) after(c *call, i int, text string) []Edit {
	if i < 0 || i >= len(c.args) || c.args[i].word == nil {
		return nil
	}
	end := c.args[i].word.End()
	return l.edit(c.script, end, end, text)
}

func (l *linter) apt(c *call) {
	s, values := c.script, []string{"-t", "--target-release", "--default-release", "-o", "--option", "-c", "--config-file", "-a"}
	verb, at := c.verb(values...)
	if verb != "install" {
		return
	}
	quiet := strings.Count(joined(c), "-q") > 1 || c.hasArg("-qq", "-q=2") || c.has("--quiet=2")
	if !c.has("-y", "--yes", "--assume-yes") && !quiet && !c.hasArg("APT::Get::Assume-Yes=true") && !c.has("-s", "--simulate", "--dry-run", "-d") {
		l.report("DL3014", s.in, l.spanOf(c), "", l.after(c, at, " -y")...)
	}
	if !c.has("--no-install-recommends") && !strings.Contains(joined(c), "Install-Recommends") && !s.mentions("Install-Recommends") {
		l.report("DL3015", s.in, l.spanOf(c), "")
	}
	l.pins("DL3008", c, c.operands(at+1, values...), func(p string) bool {
		return strings.ContainsAny(p, "=/") || strings.HasSuffix(p, ".deb") || strings.HasSuffix(p, "-")
	})
}

// joined is the arguments in one line.
func joined(c *call) string {
	var b strings.Builder
	for _, a := range c.args {
		b.WriteString(a.text + " ")
	}
	return b.String()
}

func (s *script) mentions(text string) bool { return strings.Contains(s.text, text) }

// ran tells whether the script calls a program with these first arguments.
func (s *script) ran(program string, args ...string) bool {
	for _, c := range s.calls {
		if c.name != program {
			continue
		}
		have := c.operands(0)
		same := len(have) >= len(args)
		for i := 0; same && i < len(args); i++ {
			same = have[i].text == args[i]
		}
		if same {
			return true
		}
	}
	return false
}

// removes tells whether the script deletes what is in one of the directories, or a directory above it.
func (s *script) removes(dirs ...string) bool {
	for _, c := range s.calls {
		if !c.is("rm", "find") {
			continue
		}
		for _, a := range c.args {
			t := strings.TrimSuffix(strings.TrimSuffix(a.text, "*"), "/")
			if i := strings.IndexByte(t, '{'); i > 0 {
				t = strings.TrimSuffix(t[:i], "/") // what the braces become is taken to be the right thing
			}
			for _, d := range dirs {
				if t == d || strings.HasPrefix(t, "/") && strings.HasPrefix(d, t+"/") && c.name == "rm" {
					return true
				}
			}
		}
	}
	return false
}

func (l *linter) apk(c *call) {
	s, values := c.script, []string{"-t", "--virtual", "-X", "--repository", "-p", "--root", "--keys-dir", "--repositories-file", "--arch", "--cache-dir"}
	verb, at := c.verb(values...)
	if verb != "add" {
		return
	}
	if !c.has("--no-cache") && !s.in.mounts("/var/cache/apk", "/etc/apk/cache") && !s.removes("/var/cache/apk") {
		l.report("DL3019", s.in, l.spanOf(c), "")
	}
	l.pins("DL3018", c, c.operands(at+1, values...), func(p string) bool {
		return strings.ContainsAny(p, "=~<>@") || strings.HasSuffix(p, ".apk") || strings.HasPrefix(p, ".")
	})
}

// rpm looks at yum, dnf and zypper, which have the same mistakes under other codes.
func (l *linter) rpm(c *call) {
	s := c.script
	yes, clean, pin, program, caches := "DL3030", "DL3032", "DL3033", "yum", []string{"/var/cache/yum", "/var/cache/dnf"}
	switch c.name {
	case "dnf", "microdnf":
		yes, clean, pin, program, caches = "DL3038", "DL3040", "DL3041", c.name, []string{"/var/cache/dnf", "/var/cache/libdnf5", "/var/cache/yum"}
	case "zypper":
		yes, clean, pin, program, caches = "DL3034", "DL3036", "DL3037", "zypper", []string{"/var/cache/zypp"}
	}
	values := []string{"--enablerepo", "--disablerepo", "--repo", "--repoid", "--setopt", "--installroot", "--releasever", "-r", "-c", "--config", "-x", "--exclude", "--root", "-R", "-t", "--type", "--from"}
	verb, at := c.verb(values...)
	switch verb {
	case "install", "in", "localinstall", "groupinstall", "reinstall", "update", "upgrade", "up", "patch", "remove", "rm", "dist-upgrade", "dup":
	default:
		return
	}
	if c.name == "zypper" && (verb == "dist-upgrade" || verb == "dup") {
		l.report("DL3035", s.in, l.spanOf(c), "")
	}
	if !c.has("-y", "--assumeyes", "--yes", "--no-confirm", "--non-interactive", "-n") {
		l.report(yes, s.in, l.spanOf(c), "", l.after(c, at, " -y")...)
	}
	if verb == "remove" || verb == "rm" {
		return
	}
	if !s.ran(program, "clean") && !s.ran(program, "cc") && !s.removes(caches...) && !s.in.mounts(caches...) && !s.ran("yum", "clean") {
		l.report(clean, s.in, l.spanOf(c), "")
	}
	if verb == "install" || verb == "in" {
		l.pins(pin, c, c.operands(at+1, values...), func(p string) bool {
			if c.name == "zypper" {
				return strings.ContainsAny(p, "=<>~/") || strings.HasSuffix(p, ".rpm")
			}
			// NAME-VERSION: the version begins with a digit. Groups and modules have versions of their own.
			i := strings.LastIndexByte(p, '-')
			digit := i >= 0 && i+1 < len(p) && p[i+1] >= '0' && p[i+1] <= '9'
			return digit || strings.ContainsAny(p, "@:/=*") || strings.HasSuffix(p, ".rpm")
		})
	}
}

// pip looks at pip install; from is where its arguments begin.
func (l *linter) pip(c *call, from int) {
	s := c.script
	values := []string{"-i", "--index-url", "--extra-index-url", "-f", "--find-links", "-t", "--target", "--prefix", "--root", "--src", "--platform", "--python-version",
		"--implementation", "--abi", "--proxy", "--trusted-host", "--progress-bar", "--upgrade-strategy", "--no-binary", "--only-binary", "-e", "--editable", "-b", "--build",
		"--timeout", "--retries", "--cache-dir", "--config-settings", "-C", "--root-user-action", "--global-option", "--use-feature", "--log", "--report", "--group"}
	sub := &call{script: s, name: "pip", args: c.args[from:]}
	verb, at := sub.verb(values...)
	if verb != "install" {
		return
	}
	if !sub.has("--no-cache-dir") && !s.in.mounts("/root/.cache/pip") && !s.on("PIP_NO_CACHE_DIR") && !s.removes("/root/.cache/pip", "~/.cache/pip", "$HOME/.cache/pip") &&
		!s.ran("pip", "cache", "purge") && !s.mentions("PIP_NO_CACHE_DIR") && !s.on("PIP_CACHE_DIR") {
		l.report("DL3042", s.in, l.spanOf(c), "")
	}
	if sub.has("-r", "--requirement", "-c", "--constraint", "--dry-run") {
		return
	}
	l.pins("DL3013", sub, sub.operands(at+1, values...), func(p string) bool {
		vcs := strings.Contains(p, "+") && strings.Contains(p, "://")
		return strings.ContainsAny(p, "=<>~!") || strings.HasPrefix(p, ".") || vcs && strings.Contains(public(p), "@") ||
			!vcs && strings.Contains(p, "/") || strings.HasSuffix(p, ".whl") || isArchive(p)
	})
}

// on tells whether ENV or ARG switch something on for a script.
func (s *script) on(name string) bool {
	is, _ := s.vars.get(name)
	return is.full && is.value != "0" && !strings.EqualFold(is.value, "false")
}

func (l *linter) npm(c *call) {
	values := []string{"--registry", "--prefix", "--cache", "--loglevel", "--userconfig", "-C", "--omit", "--include", "-w", "--workspace"}
	verb, at := c.verb(values...)
	if verb != "install" && verb != "i" && verb != "add" {
		return
	}
	l.pins("DL3016", c, c.operands(at+1, values...), func(p string) bool {
		return strings.LastIndexByte(p, '@') > 0 || strings.HasPrefix(p, ".") || strings.HasPrefix(p, "/") || strings.Contains(p, ":") || isArchive(p)
	})
}

func (l *linter) gem(c *call) {
	verb, at := c.verb()
	if verb != "install" && verb != "i" || c.has("-v", "--version", "-g", "--file") {
		return
	}
	l.pins("DL3028", c, c.operands(at+1, "-n", "--bindir", "-i", "--install-dir", "-s", "--source", "-P", "--platform"), func(p string) bool {
		return strings.Contains(p, ":") || strings.HasSuffix(p, ".gem")
	})
}

func (l *linter) goInstall(c *call) {
	verb, at := c.verb()
	if verb != "install" && verb != "get" {
		return
	}
	l.pins("DL3062", c, c.operands(at+1, "-tags", "-ldflags", "-gcflags", "-o", "-mod", "-modfile", "-p", "-C", "-asmflags"), func(p string) bool {
		host, _, _ := strings.Cut(p, "/")
		version := p[strings.LastIndexByte(p, '@')+1:]
		// What has no host is of this module, or the standard library.
		return strings.Contains(p, "@") && version != "latest" || !strings.Contains(host, ".") || strings.HasPrefix(p, ".")
	})
}

// lists finds lists of apt that stay in the image, or in one that it starts from.
func (l *linter) lists() {
	l.each(func(st *stage, in *inst) {
		s := in.script
		if s == nil || !st.used || in.mounts("/var/lib/apt/lists") {
			return
		}
		for _, c := range s.calls {
			if verb, _ := c.verb("-o", "-c"); !c.is("apt-get", "apt", "aptitude") || verb != "update" {
				continue
			}
			if !s.removes("/var/lib/apt/lists") && !s.ran(c.name, "dist-clean") && !s.ran(c.name, "distclean") {
				l.report("DL3009", in, l.spanOf(c), "")
			}
			return
		}
	})
}
