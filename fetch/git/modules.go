package git

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/fetch"
)

// module is a submodule of a commit: at path stands a commit of the repository url.
type module struct {
	path, commit, url string
	none              bool // update = none
}

// modules finds the submodules of the commit that is in the index. What .gitmodules says more than path, url and update is not
// looked at.
func (r *repository) modules(ctx context.Context, commit string, env []string) ([]module, error) {
	out, err := r.git(ctx, false, env, nil, "ls-files", "--stage", "-z")
	if err != nil {
		return nil, err
	}
	var mods []module
	for e := range strings.SplitSeq(string(out), "\x00") {
		meta, name, _ := strings.Cut(e, "\t")
		if f := strings.Fields(meta); len(f) == 3 && f[0] == "160000" {
			mods = append(mods, module{path: name, commit: f[1]})
		}
	}
	if len(mods) == 0 {
		return nil, nil
	}
	if len(mods) > maxSubmodules {
		return nil, errdefs.Limit("more than %d submodules", maxSubmodules)
	}
	text, err := r.git(ctx, false, nil, nil, "config", "--no-includes", "--blob="+commit+":.gitmodules", "-z", "--list")
	if err != nil {
		return nil, errdefs.Invalid("it has submodules, and its .gitmodules cannot be read: %w", err)
	}
	byPath := parseModules(string(text))
	for i := range mods {
		known, ok := byPath[mods[i].path]
		if !ok || known.url == "" && !known.none {
			return nil, errdefs.Invalid("its .gitmodules has no url for the submodule %q", mods[i].path)
		}
		mods[i].url, mods[i].none = known.url, known.none
	}
	return mods, nil
}

// parseModules reads "submodule.<name>.<key>\n<value>" entries, each with a NUL behind it, and returns submodules by path.
func parseModules(text string) map[string]module {
	byName := map[string]module{}
	for e := range strings.SplitSeq(text, "\x00") {
		key, value, _ := strings.Cut(e, "\n")
		rest, ok := strings.CutPrefix(key, "submodule.")
		dot := strings.LastIndexByte(rest, '.')
		if !ok || dot < 0 {
			continue
		}
		m := byName[rest[:dot]]
		switch rest[dot+1:] {
		case "path":
			m.path = strings.TrimSuffix(value, "/")
		case "url":
			m.url = value
		case "update":
			m.none = value == "none"
		}
		byName[rest[:dot]] = m
	}
	byPath := map[string]module{}
	for _, m := range byName {
		byPath[m.path] = m
	}
	return byPath
}

// submodule puts the files of a submodule of the repository at parent into its place in dir.
func (x *checkout) submodule(ctx context.Context, parent string, m module, dir string, depth int) error {
	if m.none {
		return nil
	}
	if x.count++; x.count > maxSubmodules || depth >= maxDepth {
		return errdefs.Limit("more than %d submodules, or %d of them within each other", maxSubmodules, maxDepth)
	}
	url := relative(parent, m.url)
	if err := checkModuleURL(url); err != nil {
		return err
	}
	// git made an empty directory for it. Other names of the tree can lead elsewhere by links: then it is none.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	info, err := root.Lstat(m.path)
	root.Close()
	if err != nil {
		return fmt.Errorf("find its directory: %w", err)
	}
	if !info.IsDir() {
		return errdefs.Invalid("it is not a directory")
	}
	return x.repository(ctx, url, &fetch.Commit{ID: m.commit}, filepath.Join(dir, m.path), false, depth+1)
}

// relative resolves the URL of a submodule that begins with ./ or ../, as gitmodules(5) says.
func relative(parent, url string) string {
	if !strings.HasPrefix(url, "./") && !strings.HasPrefix(url, "../") {
		return url
	}
	at, sep := strings.TrimRight(parent, "/"), "/"
	for {
		if rest, ok := strings.CutPrefix(url, "./"); ok {
			url = rest
			continue
		}
		rest, ok := strings.CutPrefix(url, "../")
		if !ok {
			return at + sep + strings.TrimRight(url, "/")
		}
		url = rest
		i := strings.LastIndexByte(at, '/')
		if sep = "/"; i < 0 {
			i, sep = strings.LastIndexByte(at, ':'), ":"
		}
		if i < 0 {
			return "" // out of everything
		}
		at = at[:i]
	}
}

// checkModuleURL refuses what a hostile repository could want of this machine.
func checkModuleURL(url string) error {
	bad := strings.HasPrefix(url, "-") || strings.ContainsAny(url, "\x00\r\n")
	kind := scheme(url)
	switch {
	case bad:
	case kind == "https", kind == "http", kind == "git", kind == "ssh":
		host := strings.TrimPrefix(url, kind+"://")
		if at := strings.IndexByte(host, '@'); at >= 0 && !strings.HasPrefix(host[at+1:], "-") || at < 0 {
			if !strings.HasPrefix(host, "-") {
				return nil
			}
		}
	case kind == "file", kind == "":
		return errdefs.Permission("%q is a repository on this machine, and a repository is not to say that another one is read: check it out and build from the directory", fetch.Redact(url))
	}
	return errdefs.Invalid("%q is not https, http, ssh or git", fetch.Redact(url))
}
