package advise

import (
	"path"
	"slices"
	"strings"
)

// reads tells which files of the context a shell command reads, as patterns of file names, when that is known of all its
// parts; an empty list for commands that read none. The assumption is that of everybody who writes
// "COPY package.json ." before "RUN npm ci": scripts that packages run are not looked into.
func reads(command string) (patterns []string, tools []string, ok bool) {
	if strings.ContainsAny(command, "`<>") || strings.Contains(command, "$(") {
		return nil, nil, false
	}
	for _, sep := range []string{"&&", ";", "||"} {
		command = strings.ReplaceAll(command, sep, "\n")
	}
	command = strings.ReplaceAll(command, "\\\n", " ")
	for line := range strings.Lines(command) {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if strings.ContainsAny(line, "|&") {
			return nil, nil, false
		}
		for len(words) > 1 && isAssignment(words[0]) {
			words = words[1:]
		}
		p, tool, known := readsOf(words)
		if !known {
			return nil, nil, false
		}
		patterns = append(patterns, p...)
		if tool != "" && !slices.Contains(tools, tool) {
			tools = append(tools, tool)
		}
	}
	slices.Sort(patterns)
	return slices.Compact(patterns), tools, len(tools) > 0
}

func isAssignment(w string) bool {
	name, _, ok := strings.Cut(w, "=")
	return ok && name != "" && !strings.ContainsAny(name, "/-.\"'$")
}

// readsOf tells of one simple command what it reads; tool is "" for a harmless one.
func readsOf(words []string) (patterns []string, tool string, known bool) {
	name, rest := path.Base(words[0]), words[1:]
	switch name {
	case "cd", "mkdir", "echo", "true", ":", "set", "export", "umask":
		return nil, "", true
	case "rm":
		for _, w := range rest {
			if !strings.HasPrefix(w, "-") && !strings.HasPrefix(w, "/var/") && !strings.HasPrefix(w, "/tmp/") && !strings.HasPrefix(w, "/root/.") {
				return nil, "", false
			}
		}
		return nil, "", true
	}
	var args []string // without options
	for _, w := range rest {
		if !strings.HasPrefix(w, "-") {
			args = append(args, w)
		}
	}
	verb := ""
	if len(args) > 0 {
		verb = args[0]
	}
	switch name {
	case "apt-get", "apt", "apk", "dnf", "microdnf", "yum":
		known = !slices.ContainsFunc(args, func(a string) bool { return strings.ContainsAny(a, "/*") })
		return nil, name + " " + verb, known && verb != ""
	case "pip", "pip3":
		patterns, known = pip(rest)
		return patterns, name + " install", known
	case "python", "python3":
		if len(rest) > 2 && rest[0] == "-m" && rest[1] == "pip" {
			patterns, known = pip(rest[2:])
			return patterns, name + " -m pip install", known
		}
		return nil, "", false
	}
	for _, m := range manifests() {
		if m.name == name && slices.Contains(m.verbs, verb) && len(args) <= 1 {
			return m.files, strings.TrimSpace(name + " " + verb), true
		}
	}
	if name == "go" && len(args) == 2 && verb == "mod" && args[1] == "download" {
		return []string{"go.mod", "go.sum", "go.work", "go.work.sum"}, "go mod download", true
	}
	return nil, "", false
}

// manifest says which files a command of a package manager reads.
type manifest struct {
	name  string
	verbs []string
	files []string
}

func manifests() []manifest {
	npm := []string{"package.json", "package-lock.json", "npm-shrinkwrap.json", ".npmrc"}
	return []manifest{
		{"npm", []string{"ci", "install", "i"}, npm},
		{"yarn", []string{"", "install"}, []string{"package.json", "yarn.lock", ".yarnrc", ".yarnrc.yml", ".npmrc"}},
		{"pnpm", []string{"install", "i", "fetch"}, []string{"package.json", "pnpm-lock.yaml", "pnpm-workspace.yaml", ".npmrc"}},
		{"cargo", []string{"fetch"}, []string{"Cargo.toml", "Cargo.lock", "config.toml"}},
		{"bundle", []string{"install"}, []string{"Gemfile", "Gemfile.lock", "*.gemspec", ".ruby-version"}},
		{"pipenv", []string{"install", "sync"}, []string{"Pipfile", "Pipfile.lock"}},
		{"mvn", []string{"dependency:go-offline", "dependency:resolve"}, []string{"pom.xml", "settings.xml"}},
		{"dotnet", []string{"restore"}, []string{"*.csproj", "*.fsproj", "*.sln", "*.props", "*.targets", "nuget.config", "NuGet.Config", "packages.lock.json", "global.json"}},
	}
}

// pip tells what "pip install" reads: the files of -r and -c, and nothing else as long as no path is installed.
func pip(words []string) (patterns []string, known bool) {
	if len(words) == 0 || words[0] != "install" {
		return nil, false
	}
	for i := 1; i < len(words); i++ {
		w := words[i]
		name, value, hasValue := strings.Cut(w, "=")
		switch {
		case w == "-r" || w == "-c" || w == "--requirement" || w == "--constraint":
			if i++; i == len(words) {
				return nil, false
			}
			patterns = append(patterns, path.Base(words[i]))
		case hasValue && (name == "--requirement" || name == "--constraint"):
			patterns = append(patterns, path.Base(value))
		case w == "-e" || w == "--editable":
			return nil, false
		case strings.HasPrefix(w, "-"):
		case strings.Contains(w, "/"), w == ".", strings.HasSuffix(w, ".whl"), strings.HasSuffix(w, ".gz"), strings.HasSuffix(w, ".zip"):
			return nil, false
		}
	}
	return patterns, true
}

// matchAny reports whether the last part of a path matches one of the patterns.
func matchAny(patterns []string, name string) bool {
	base := path.Base(name)
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, _ := path.Match(p, base)
		return ok
	})
}
