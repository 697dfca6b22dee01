// Package git gets the files of git repositories with the program git.
//
//	c := git.New(git.Options{Dir: filepath.Join(root, "cache", "git"), Getenv: os.Getenv})
//	commit, err := c.Resolve(ctx, g)
//	err = c.Checkout(ctx, g, commit, dest)
//
// Repositories are kept bare and shallow in <Dir>/<SHA-256 of the remote>/, one process at a time at each, so
// that a commit comes once. Submodules are repositories like others.
//
// git runs without the configuration of user and system, without hooks, filters, prompts and credential
// helpers, and with the protocols https, http, ssh and git only; a local repository is read only when
// the caller names it, never because a repository has it as a submodule. What git is told of secrets stands in a file
// without a name, not among its arguments, in its environment or on a disk.
package git

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/fetch"
)

// The secrets that BuildKit's users know: a token, or the whole value of the header Authorization. With "." and a host
// behind them they are for that host.
const (
	TokenSecret  = "GIT_AUTH_TOKEN"
	HeaderSecret = "GIT_AUTH_HEADER"
)

// Options of a Client. Dir is needed.
type Options struct {
	// Dir keeps repositories. It is made when needed.
	Dir string
	// Getenv reads the environment: PATH, HOME, proxies, certificates and SSH_AUTH_SOCK count. nil is an empty one.
	Getenv func(string) string
	// Secret returns a secret of the build; false when there is none of that name. nil knows none.
	Secret func(ctx context.Context, id string) ([]byte, bool, error)
	// AuthSock returns the socket of the agent for ssh, "" for none; nil takes SSH_AUTH_SOCK.
	AuthSock func(ctx context.Context) (string, error)
}

// Client gets repositories. It is safe for use by many goroutines; many processes may share Dir.
type Client struct{ opts Options }

// New returns a Client.
func New(o Options) *Client {
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	return &Client{opts: o}
}

// remote is a repository that git talks to.
type remote struct {
	// url is what git is given: without a password.
	url string
	// local tells that it is on this machine.
	local bool
	// header is the value of Authorization, "" for none.
	header string
	ssh    bool
}

// scheme of a remote: "ssh" also for user@host:path, "" for a path.
func scheme(s string) string {
	name, _, ok := strings.Cut(s, "://")
	if ok {
		return name
	}
	if host, _, ok := strings.Cut(s, ":"); ok && !strings.Contains(host, "/") && host != "" {
		return "ssh"
	}
	return ""
}

// remote finds out how to talk to a repository.
func (c *Client) remote(ctx context.Context, s string) (remote, error) {
	r := remote{url: fetch.Redact(s)}
	switch scheme(s) {
	case "http", "https":
	case "git":
		return r, nil
	case "ssh":
		r.ssh = true
		return r, nil
	case "file":
		r.local = true
		return r, nil
	default:
		return r, errdefs.Invalid("git repository %s: want https, http, ssh or git", fetch.Redact(s))
	}
	u, err := url.Parse(s)
	if err != nil {
		return r, errdefs.Invalid("git repository %s: not a URL", fetch.Redact(s))
	}
	if u.User != nil {
		pw, _ := u.User.Password()
		r.header = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+pw))
		return r, nil
	}
	r.header, err = c.authorization(ctx, u.Host)
	return r, err
}

// authorization looks for a secret for the host.
func (c *Client) authorization(ctx context.Context, host string) (string, error) {
	if c.opts.Secret == nil {
		return "", nil
	}
	for _, id := range []string{HeaderSecret + "." + host, TokenSecret + "." + host, HeaderSecret, TokenSecret} {
		b, ok, err := c.opts.Secret(ctx, id)
		if err != nil {
			return "", fmt.Errorf("read secret %s: %w", id, err)
		}
		if !ok {
			continue
		}
		v := strings.TrimSpace(string(b))
		if strings.ContainsAny(v, "\r\n\x00") {
			return "", errdefs.Invalid("secret %s has more than one line", id)
		}
		if strings.HasPrefix(id, TokenSecret) {
			v = "Basic " + base64.StdEncoding.EncodeToString([]byte("x-access-token:"+v))
		}
		return v, nil
	}
	return "", nil
}

// program returns the path of git.
func program() (string, error) {
	p, err := exec.LookPath("git")
	if errors.Is(err, exec.ErrNotFound) {
		return "", errdefs.Unsupported("git repositories need the program git, which is not in the PATH: install the package git")
	}
	if err != nil {
		return "", fmt.Errorf("find git: %w", err)
	}
	return p, nil
}

// Resolve asks what g means now: ErrNotFound when the repository has no such ref, ErrConflict when it is not the checksum.
// A commit that g names itself is taken as it is, without asking anybody.
func (c *Client) Resolve(ctx context.Context, g fetch.Git) (fetch.Commit, error) {
	if fetch.IsCommit(g.Ref) {
		return fetch.Commit{ID: g.Ref}, nil
	}
	if g.ByCommit && fetch.IsCommit(g.Checksum) {
		ref := g.Ref
		if ref != "" && !strings.HasPrefix(ref, "refs/") {
			ref = "refs/heads/" + ref
		}
		return fetch.Commit{ID: g.Checksum, Ref: ref}, nil
	}
	r, err := c.remote(ctx, g.Remote)
	if err != nil {
		return fetch.Commit{}, err
	}
	args := []string{"ls-remote", "--symref", "--", r.url}
	if g.Ref == "" {
		args = append(args, "HEAD")
	} else {
		args = append(args, g.Ref, g.Ref+"^{}")
	}
	if err := os.MkdirAll(c.opts.Dir, 0o700); err != nil {
		return fetch.Commit{}, fmt.Errorf("make the cache of git: %w", err)
	}
	out, err := c.run(ctx, call{remote: &r, dir: c.opts.Dir, args: args})
	if err != nil {
		return fetch.Commit{}, fmt.Errorf("look at git repository %s: %w", r.url, err)
	}
	found := choose(string(out), g.Ref)
	if found.ID == "" && g.Ref == "" {
		return found, errdefs.NotFound("git repository %s has no default branch: name one behind #", r.url)
	}
	if found.ID == "" {
		return found, errdefs.NotFound("git repository %s has no branch or tag %q (a commit is named by all of its digits)", r.url, g.Ref)
	}
	want := strings.ToLower(g.Checksum)
	if !strings.HasPrefix(found.ID, want) && !strings.HasPrefix(found.Tag, want) {
		return found, errdefs.Conflict("git repository %s: %s is commit %s, not %s", r.url, orHead(g.Ref), found.ID, want)
	}
	return found, nil
}

func orHead(ref string) string {
	if ref == "" {
		return "the default branch"
	}
	return ref
}

// choose reads the output of ls-remote. As with git checkout, a branch comes before a tag of the same name.
func choose(out, ref string) fetch.Commit {
	refs := map[string]string{}
	head := ""
	for line := range strings.Lines(out) {
		id, name, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if target, isSym := strings.CutPrefix(id, "ref: "); isSym {
			head = target
			continue
		}
		if ok && fetch.IsCommit(id) {
			refs[name] = id
		}
	}
	if ref == "" {
		if !strings.HasPrefix(head, "refs/heads/") || strings.ContainsAny(head, " ~^:?*[\\") {
			head = ""
		}
		return fetch.Commit{ID: refs["HEAD"], Ref: head}
	}
	for _, name := range []string{"refs/" + strings.TrimPrefix(ref, "refs/"), "refs/heads/" + ref, "refs/tags/" + ref} {
		id := refs[name]
		if id == "" {
			continue
		}
		if peeled := refs[name+"^{}"]; peeled != "" {
			return fetch.Commit{ID: peeled, Tag: id, Ref: name}
		}
		return fetch.Commit{ID: id, Ref: name}
	}
	return fetch.Commit{}
}

// Keeps reports whether g wants its .git directory.
func Keeps(g fetch.Git) bool { return g.KeepGitDir != nil && *g.KeepGitDir && g.Subdir == "" }

// environment is what git gets besides call's own.
func (c *Client) environment() []string {
	env := []string{
		"HOME=" + os.DevNull, "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "GIT_ATTR_NOSYSTEM=1",
		"GIT_NO_REPLACE_OBJECTS=1", "GIT_CONFIG_GLOBAL=/proc/self/fd/3",
	}
	for _, k := range []string{
		"PATH", "TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
		"GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "SSL_CERT_FILE", "SSL_CERT_DIR",
	} {
		if v := c.opts.Getenv(k); v != "" {
			env = append(env, k+"="+v)
		}
	}
	return env
}

// ssh returns the environment for remotes over ssh. Host keys that the user knows have to fit; new ones are kept in the cache.
func (c *Client) ssh(ctx context.Context) ([]string, error) {
	if _, err := exec.LookPath("ssh"); err != nil {
		return nil, errdefs.Unsupported("git repositories over ssh need the program ssh, which is not in the PATH: install the package openssh-client")
	}
	hosts := []string{filepath.Join(c.opts.Dir, "known_hosts")}
	if home := c.opts.Getenv("HOME"); home != "" {
		hosts = append(hosts, filepath.Join(home, ".ssh", "known_hosts"))
	}
	if slices.ContainsFunc(hosts, func(h string) bool { return strings.ContainsAny(h, "\"'\\\n") }) {
		return nil, errdefs.Invalid("git over ssh: quotes in the path of %s", strings.Join(hosts, " or "))
	}
	sock := c.opts.Getenv("SSH_AUTH_SOCK")
	if c.opts.AuthSock != nil {
		var err error
		if sock, err = c.opts.AuthSock(ctx); err != nil {
			return nil, err
		}
	}
	env := []string{`GIT_SSH_COMMAND=ssh -F /dev/null -o BatchMode=yes -o ConnectTimeout=15 -o StrictHostKeyChecking=accept-new -o 'UserKnownHostsFile="` +
		strings.Join(hosts, `" "`) + `"'`}
	if sock != "" {
		env = append(env, "SSH_AUTH_SOCK="+sock)
	}
	return env, nil
}
