package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

const (
	// maxOutput bounds what git may print: lists of refs and of files.
	maxOutput = 256 << 20
	// maxErrors is how much of git's complaints is kept.
	maxErrors = 64 << 10
)

// call is one run of git.
type call struct {
	// remote is whom it talks to; nil for nobody.
	remote *remote
	// dir is the working directory.
	dir  string
	args []string
	env  []string
	in   []byte
	// lock is kept open by git, so that the repository stays locked when this process is killed before git is.
	lock *os.File
}

// run runs git and returns what it prints.
func (c *Client) run(ctx context.Context, k call) ([]byte, error) {
	path, err := program()
	if err != nil {
		return nil, err
	}
	config, err := memory(k.config())
	if err != nil {
		return nil, fmt.Errorf("prepare git: %w", err)
	}
	defer config.Close()
	cmd := exec.CommandContext(ctx, path, k.args...)
	cmd.Dir = k.dir
	cmd.Env = append(c.environment(), k.env...)
	protocols := "none"
	if k.remote != nil {
		protocols = "https:http:ssh:git"
		if k.remote.local {
			protocols = "file"
		}
		if k.remote.ssh {
			env, err := c.ssh(ctx)
			if err != nil {
				return nil, err
			}
			cmd.Env = append(cmd.Env, env...)
		}
	}
	cmd.Env = append(cmd.Env, "GIT_ALLOW_PROTOCOL="+protocols)
	cmd.ExtraFiles = []*os.File{config}
	if k.lock != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, k.lock)
	}
	out, complaints := &capped{limit: maxOutput}, &capped{limit: maxErrors, cut: true}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(k.in), out, complaints
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // with its helpers
	err = cmd.Run()
	if err == nil {
		return out.Bytes(), nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, k.explain(err, complaints.String())
}

// config is the whole configuration of git.
func (k *call) config() string {
	s := `[core]
hooksPath = /dev/null
fsmonitor = false
attributesFile = /dev/null
excludesFile = /dev/null
autocrlf = false
logAllRefUpdates = false
fileMode = true
symlinks = true
[init]
templateDir =
defaultBranch = main
[gc]
auto = 0
[maintenance]
auto = false
[fetch]
unpackLimit = 1
recurseSubmodules = false
writeCommitGraph = false
[pack]
writeReverseIndex = false
threads = 1
[index]
skipHash = false
[submodule]
recurse = false
[credential]
helper =
[advice]
detachedHead = false
[safe]
directory = *
[http]
lowSpeedLimit = 1
lowSpeedTime = 60
`
	if k.remote != nil && k.remote.header != "" {
		s += "[http " + quote(k.remote.url) + "]\nextraHeader = " + quote("Authorization: "+k.remote.header) + "\n"
	}
	return s
}

// quote writes a string as git-config(1) reads it.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// memory makes a file without a name.
func memory(text string) (*os.File, error) {
	fd, err := unix.MemfdCreate("git", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "configuration")
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// explain makes an error of what git complained.
func (k *call) explain(err error, complaints string) error {
	var lines []string
	for l := range strings.Lines(complaints) {
		l = strings.TrimSpace(l)
		for _, p := range []string{"fatal: ", "error: ", "remote: "} {
			l = strings.TrimPrefix(l, p)
		}
		if l != "" && !strings.HasPrefix(l, "hint:") && !strings.HasPrefix(l, "Warning: Permanently added") {
			lines = append(lines, l)
		}
	}
	const few = 6
	if n := len(lines); n > few {
		lines = lines[n-few:]
	}
	text := strings.Join(lines, "; ")
	if k.remote != nil && k.remote.header != "" {
		text = strings.ReplaceAll(text, k.remote.header, "...")
	}
	if text == "" {
		text = err.Error()
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("run git: %w", err)
	}
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("could not read Username", "could not read Password", "Authentication failed", "error: 403", "error: 401"):
		return errdefs.Permission("%s (give a token with --secret id=%s)", text, TokenSecret)
	case has("Permission denied", "Host key verification failed"):
		return errdefs.Permission("%s (give a key with --ssh default)", text)
	case has("not found", "does not exist", "does not appear to be a git repository"):
		return errdefs.NotFound("%s", text)
	case has("transport '"):
		return errdefs.Permission("%s", text)
	case k.remote != nil:
		return errdefs.Unavailable("%s", text)
	}
	return errdefs.Corrupt("%s", text)
}

// capped is a buffer with a limit: what is more is an error, or cut off.
type capped struct {
	bytes.Buffer
	limit int
	cut   bool
}

func (c *capped) Write(p []byte) (int, error) {
	if room := c.limit - c.Len(); len(p) > room {
		if !c.cut {
			return 0, errdefs.Limit("git prints more than %d bytes", c.limit)
		}
		c.Buffer.Write(p[:max(room, 0)])
		return len(p), nil
	}
	return c.Buffer.Write(p)
}
