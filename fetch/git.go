package fetch

import (
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/camada/camada/errdefs"
)

// maxSource bounds the length of a name, in bytes.
const maxSource = 4096

// Git is a place in a git repository.
type Git struct {
	// Remote is what git calls the repository: a URL, or user@host:path. It may hold a
	// password: show it with Redact only.
	Remote string
	// Ref is a branch, a tag, a full ref name or a commit; "" is the default branch.
	Ref string
	// Checksum is the beginning of the commit, or of the annotated tag, that Ref has to be; "" for any.
	Checksum string
	// Subdir is the directory that counts, clean and relative; "" is all.
	Subdir string
	// KeepGitDir keeps .git when Subdir is ""; nil when the name does not say.
	KeepGitDir *bool
	// NoSubmodules leaves submodules out.
	NoSubmodules bool
	// ByCommit fetches Checksum, a whole commit, without asking what Ref is.
	ByCommit bool
	// LooksLocal tells of the old form github.com/…, which could be a directory.
	LooksLocal bool
}

// Commit is what a Git means at one time.
type Commit struct {
	// ID is the commit.
	ID string
	// Tag is the annotated tag object that leads to ID; "" without one.
	Tag string
	// Ref is the full name of the branch or tag, e.g. refs/heads/main; "" when the commit itself was named.
	Ref string
}

// IsCommit reports whether s is a whole object name: 40 or 64 small hexadecimal digits.
func IsCommit(s string) bool {
	if len(s) != 40 && len(s) != 64 {
		return false
	}
	return strings.Trim(s, "0123456789abcdef") == ""
}

// ParseGit reads the names of git repositories that BuildKit knows:
//
//	https://host/repo.git   http://host/repo.git   git://host/repo   ssh://user@host/repo
//	user@host:repo          github.com/owner/repo
//
// each with #ref, #ref:subdir or #:subdir, or with a query of ref, tag, branch, subdir, commit or checksum,
// submodules, keep-git-dir, mtime and fetch-by-commit. isGit tells whether s is such a name at all; an
// error with isGit is a mistake in it, of class ErrInvalid.
func ParseGit(s string) (g Git, isGit bool, err error) {
	if len(s) > maxSource || strings.ContainsFunc(s, unicode.IsControl) {
		return Git{}, false, nil
	}
	u, ok := splitGit(s)
	if !ok {
		return Git{}, false, nil
	}
	g = Git{Remote: u.remote, LooksLocal: u.looksLocal}
	if err := u.check(); err != nil {
		return Git{}, true, err
	}
	ref, subdir, _ := strings.Cut(u.fragment, ":")
	g.Ref, g.Subdir = ref, cleanSubdir(subdir)
	q, err := url.ParseQuery(u.query)
	if err != nil {
		return Git{}, true, errdefs.Invalid("git repository %s: its query cannot be read", Redact(s))
	}
	if err := g.options(q); err != nil {
		return Git{}, true, errdefs.Invalid("git repository %s: %w", Redact(u.remote), err)
	}
	return g, true, g.Check()
}

// gitName is a name in its parts.
type gitName struct {
	remote, host, path, query, fragment string
	looksLocal                          bool
}

// splitGit parts a name; false when it is none of a git repository.
func splitGit(s string) (gitName, bool) {
	if strings.HasPrefix(s, "github.com/") {
		n, ok := splitURL("https://" + s)
		n.looksLocal = true
		return n, ok
	}
	scheme, _, isURL := strings.Cut(s, "://")
	if !isURL {
		return splitSCP(s)
	}
	switch scheme {
	case "git", "ssh":
		return splitURL(s)
	case "http", "https":
		n, ok := splitURL(s)
		return n, ok && strings.HasSuffix(n.path, ".git")
	}
	return gitName{}, false
}

func splitURL(s string) (gitName, bool) {
	u, err := url.Parse(s)
	if err != nil {
		return gitName{}, false
	}
	n := gitName{host: u.Host, path: u.Path, query: u.RawQuery, fragment: u.Fragment}
	u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = "", false, "", ""
	n.remote = u.String()
	return n, true
}

// splitSCP parts user@host:path?query#fragment.
func splitSCP(s string) (gitName, bool) {
	user, rest, ok := strings.Cut(s, "@")
	host, rest, ok2 := strings.Cut(rest, ":")
	if !ok || !ok2 || !isWord(user, "-_") || !isWord(host, "-.") {
		return gitName{}, false
	}
	rest, fragment, _ := strings.Cut(rest, "#")
	p, query, _ := strings.Cut(rest, "?")
	return gitName{remote: user + "@" + host + ":" + p, host: host, path: p, query: query, fragment: fragment}, true
}

func isWord(s, more string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(more, r)
	})
}

// check refuses what git or ssh could take for an option.
func (n gitName) check() error {
	switch {
	case n.host == "":
		return errdefs.Invalid("git repository %s: it has no host", Redact(n.remote))
	case strings.HasPrefix(n.host, "-"), strings.HasPrefix(n.remote, "-"), strings.HasPrefix(n.path, "-"), strings.Contains(n.remote, "://-"):
		return errdefs.Invalid("git repository %s: a part of it begins with a dash", Redact(n.remote))
	}
	return nil
}

func cleanSubdir(s string) string { return path.Join("/", s)[1:] }

// options reads the query.
func (g *Git) options(q url.Values) error {
	var tag, branch string
	for _, k := range sortedKeys(q) {
		if len(q[k]) > 1 {
			return errdefs.Invalid("%s is given more than once", k)
		}
		v, isBool := q[k][0], k == "submodules" || k == "keep-git-dir" || k == "fetch-by-commit"
		if v == "" && !isBool {
			return errdefs.Invalid("%s has no value", k)
		}
		yes := true
		if isBool && v != "" {
			var err error
			if yes, err = strconv.ParseBool(v); err != nil {
				return errdefs.Invalid("%s=%s: want true or false", k, v)
			}
		}
		var err error
		switch k {
		case "ref":
			err = set(&g.Ref, v, k)
		case "tag":
			tag = v
		case "branch":
			branch = v
		case "subdir":
			err = set(&g.Subdir, cleanSubdir(v), k)
		case "checksum", "commit":
			err = set(&g.Checksum, v, k)
		case "keep-git-dir":
			g.KeepGitDir = &yes
		case "submodules":
			g.NoSubmodules = !yes
		case "fetch-by-commit":
			g.ByCommit = yes
		case "mtime": // files get the build's time whatever it says
			if v != "checkout" && v != "commit" {
				err = errdefs.Invalid("mtime=%s: want checkout or commit", v)
			}
		default:
			err = errdefs.Invalid("%q is none of ref, tag, branch, subdir, commit, submodules, keep-git-dir, fetch-by-commit", k)
		}
		if err != nil {
			return err
		}
	}
	if tag != "" && branch != "" {
		return errdefs.Invalid("both a tag and a branch are given")
	}
	if tag != "" {
		return set(&g.Ref, "refs/tags/"+strings.TrimPrefix(tag, "refs/tags/"), "tag")
	}
	if branch != "" {
		return set(&g.Ref, "refs/heads/"+strings.TrimPrefix(branch, "refs/heads/"), "branch")
	}
	return nil
}

// set gives a field that is not set, or says the same, its value.
func set(field *string, v, name string) error {
	if *field != "" && *field != v {
		return errdefs.Invalid("%s: both %q and %q are given", name, *field, v)
	}
	*field = v
	return nil
}

func sortedKeys(q url.Values) []string {
	keys := make([]string, 0, len(q))
	for k := range q {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Check refuses refs and checksums that git would not take for one, or would take for something else.
func (g *Git) Check() error {
	if !validRef(g.Ref) {
		return errdefs.Invalid("git repository %s: %q is not a branch, a tag or a commit", Redact(g.Remote), g.Ref)
	}
	if g.Checksum != "" && (strings.Trim(g.Checksum, "0123456789abcdefABCDEF") != "" || len(g.Checksum) > 64) {
		return errdefs.Invalid("git repository %s: the checksum %q is not the name of a commit", Redact(g.Remote), g.Checksum)
	}
	if g.ByCommit && !IsCommit(g.Checksum) && !IsCommit(g.Ref) {
		return errdefs.Invalid("git repository %s: fetch-by-commit wants a whole commit, 40 or 64 digits", Redact(g.Remote))
	}
	if IsCommit(g.Ref) && g.Checksum != "" && !strings.HasPrefix(g.Ref, strings.ToLower(g.Checksum)) {
		return errdefs.Invalid("git repository %s: the commit %s is not the checksum %s", Redact(g.Remote), g.Ref, g.Checksum)
	}
	return nil
}

// validRef knows the names that git-check-ref-format(1) allows, without the special ones.
func validRef(s string) bool {
	if s == "" {
		return true
	}
	if strings.HasPrefix(s, "-") || strings.HasSuffix(s, "/") || strings.HasSuffix(s, ".") || strings.Contains(s, "..") ||
		strings.Contains(s, "@{") || s == "@" || strings.ContainsAny(s, " ~^:?*[\\") || strings.ContainsFunc(s, unicode.IsControl) {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

// LocalGit is a repository in a directory of this machine, whose path is absolute, at ref[:subdir].
func LocalGit(dir, fragment string) (Git, error) {
	ref, subdir, _ := strings.Cut(fragment, ":")
	g := Git{Remote: "file://" + dir, Ref: ref, Subdir: cleanSubdir(subdir)}
	if strings.ContainsFunc(dir, unicode.IsControl) {
		return Git{}, errdefs.Invalid("git repository %q: its path has control characters", dir)
	}
	return g, g.Check()
}
