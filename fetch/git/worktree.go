package git

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/fetch"
)

// Limits on the files of .git that are read, in bytes, and on the ways through them.
const (
	maxGitFile    = 4 << 10
	maxGitConfig  = 1 << 20
	maxPackedRefs = 64 << 20
	maxGitLine    = 64 << 10
	maxParents    = 64
	maxSymrefs    = 5
)

// Head is what is checked out in a work tree.
type Head struct {
	// Commit is checked out. The files may have been changed since.
	Commit string
	// Ref is the branch, e.g. refs/heads/main; "" for none.
	Ref string
	// Remote is the address of the remote called origin, as it stands in the configuration; "" for none. It may hold a password.
	Remote string
}

// WorkTree tells what is checked out in the work tree that dir is in, or in the bare repository that it is; ErrNotFound when
// there is none, or nothing is committed. A few small files are read: git is not run, so neither hooks nor configuration
// of the repository have an effect. A .git that belongs to somebody else than dir is passed over.
func WorkTree(dir string) (Head, error) {
	gitDir, err := findGitDir(dir)
	if err != nil {
		return Head{}, err
	}
	own, err := os.OpenRoot(gitDir)
	if err != nil {
		return Head{}, notThere("open %s: %w", gitDir, err)
	}
	defer own.Close()
	common := own // of a work tree beside another one
	if data, err := readGitFile(own, "commondir", maxGitFile); err == nil {
		if common, err = os.OpenRoot(resolvePath(gitDir, firstLine(data))); err != nil {
			return Head{}, notThere("open the common directory of %s: %w", gitDir, err)
		}
		defer common.Close()
	}
	var h Head
	data, err := readGitFile(own, "HEAD", maxGitFile)
	if err != nil {
		return h, err
	}
	if h.Commit, h.Ref, err = parseHead(data); err != nil {
		return h, err
	}
	for at, n := h.Ref, 0; h.Commit == ""; n++ {
		if n == maxSymrefs {
			return h, errdefs.NotFound("%s leads from ref to ref", h.Ref)
		}
		if h.Commit, at, err = readRef(common, at); err != nil {
			return h, err
		}
	}
	if data, err := readGitFile(common, "config", maxGitConfig); err == nil {
		h.Remote = originOf(data)
	}
	return h, nil
}

// findGitDir looks for .git in dir and above.
func findGitDir(dir string) (string, error) {
	at, err := filepath.Abs(dir)
	if err == nil {
		at, err = filepath.EvalSymlinks(at)
	}
	if err != nil {
		return "", notThere("find the repository of %s: %w", dir, err)
	}
	info, err := os.Stat(at)
	if err != nil {
		return "", notThere("find the repository of %s: %w", dir, err)
	}
	if isBare(at) {
		return at, nil
	}
	owner := ownerOf(info)
	for range maxParents {
		name := filepath.Join(at, ".git")
		info, err := os.Lstat(name)
		switch {
		case err == nil && ownerOf(info) != owner:
			return "", errdefs.NotFound("%s belongs to somebody else than %s", name, dir)
		case err == nil && info.IsDir():
			return name, nil
		case err == nil && info.Mode().IsRegular():
			return linkedGitDir(at)
		}
		if at == filepath.Dir(at) {
			break
		}
		at = filepath.Dir(at)
	}
	return "", errdefs.NotFound("%s is in no work tree of git", dir)
}

func isBare(dir string) bool {
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

func ownerOf(info fs.FileInfo) uint32 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Uid
	}
	return 0
}

// linkedGitDir reads a file .git, which says where the directory is.
func linkedGitDir(top string) (string, error) {
	root, err := os.OpenRoot(top)
	if err != nil {
		return "", notThere("open %s: %w", top, err)
	}
	defer root.Close()
	data, err := readGitFile(root, ".git", maxGitFile)
	if err != nil {
		return "", err
	}
	path, ok := strings.CutPrefix(firstLine(data), "gitdir: ")
	if !ok {
		return "", errdefs.NotFound("%s/.git does not say where the repository is", top)
	}
	return resolvePath(top, path), nil
}

func resolvePath(base, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(base, path)
}

func firstLine(data []byte) string {
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSuffix(line, "\r")
}

// readGitFile reads a regular file; links that lead out of the directory are not followed.
func readGitFile(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := openGitFile(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, notThere("read %s of a repository: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, errdefs.NotFound("%s of a repository has more than %d bytes", name, limit)
	}
	return data, nil
}

func openGitFile(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, notThere("open %s of a repository: %w", name, err)
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errdefs.NotFound("%s of a repository is no file", name)
	}
	return f, nil
}

// notThere is the class of all that keeps us from knowing a commit.
func notThere(format string, args ...any) error {
	return errdefs.With(errdefs.ErrNotFound, fmt.Errorf(format, args...))
}

// parseHead reads HEAD, or a ref: a commit, or the name of another ref.
func parseHead(data []byte) (commit, ref string, err error) {
	line := strings.TrimSpace(firstLine(data))
	if name, ok := strings.CutPrefix(line, "ref:"); ok {
		name = strings.TrimSpace(name)
		g := fetch.Git{Remote: "HEAD", Ref: name}
		if !strings.HasPrefix(name, "refs/") || g.Check() != nil {
			return "", "", errdefs.NotFound("HEAD is at %.100q, which is no branch", name)
		}
		return "", name, nil
	}
	if !fetch.IsCommit(line) {
		return "", "", errdefs.NotFound("HEAD is at no commit")
	}
	return line, "", nil
}

// readRef finds a ref in its own file, or among the packed ones.
func readRef(root *os.Root, name string) (commit, next string, err error) {
	data, err := readGitFile(root, name, maxGitFile)
	if err == nil {
		return parseHead(data)
	}
	f, openErr := openGitFile(root, "packed-refs")
	if openErr != nil {
		return "", "", err
	}
	defer f.Close()
	if id := packedRef(io.LimitReader(f, maxPackedRefs), name); id != "" {
		return id, "", nil
	}
	return "", "", err
}

// packedRef finds a ref in packed-refs; "" when it is not there.
func packedRef(r io.Reader, name string) string {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxGitLine)
	for lines.Scan() {
		id, ref, ok := strings.Cut(lines.Text(), " ")
		if ok && ref == name && fetch.IsCommit(id) {
			return id
		}
	}
	return ""
}

// originOf finds the url of the remote origin in a configuration. Values that are quoted in a way that addresses are not are passed over.
func originOf(config []byte) string {
	in := false
	for line := range strings.Lines(string(config)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			name, rest, _ := strings.Cut(strings.Trim(line, "[]"), " ")
			in = strings.EqualFold(name, "remote") && strings.TrimSpace(rest) == `"origin"`
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !in || !ok || !strings.EqualFold(strings.TrimSpace(key), "url") {
			continue
		}
		value = strings.TrimSpace(value)
		if len(value) > 1 && strings.HasPrefix(value, `"`) && strings.HasSuffix(value, `"`) {
			value = value[1 : len(value)-1]
		}
		if !strings.ContainsAny(value, "\"\\ \t") {
			return value
		}
	}
	return ""
}
