package engine

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/mount"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// RunSecret is a secret that a container gets when it starts. It says where the secret is, and is kept with the container; the secret itself is
// not.
type RunSecret struct {
	ID string
	// File is where the secret is read, or Variable the caller's variable that has it: at each start anew.
	File, Variable string
	// Env is the variable that the container gets it in; "" is a file.
	Env string
	// Target is the path of the file: "" is /run/secrets/ID. Mode are its permissions.
	Target   string
	Mode     os.FileMode
	UID, GID int
}

// secretDir is where secrets are that have no path of their own.
const secretDir = "/run/secrets"

// checkSecrets sees to it that secrets do not get in each other's way.
func checkSecrets(list []RunSecret) error {
	var targets []string
	for _, s := range list {
		at := s.path()
		if s.Env != "" {
			at = s.Env
		} else if !path.IsAbs(at) || path.Clean(at) == "/" {
			return errdefs.Invalid("--secret id=%s: the target %s is no path of a file", s.ID, at)
		}
		if slices.Contains(targets, at) {
			return errdefs.Invalid("--secret id=%s: two secrets are to be %s", s.ID, at)
		}
		targets = append(targets, at)
	}
	return nil
}

// path is where the file is in the container.
func (s RunSecret) path() string {
	if s.Target == "" {
		return path.Join(secretDir, s.ID)
	}
	if !strings.HasPrefix(s.Target, "/") {
		return path.Join(secretDir, s.Target)
	}
	return path.Clean(s.Target)
}

// fetchSecrets reads the secrets for one start.
func (e *Engine) fetchSecrets(l *launch) error {
	if len(l.opts.Secrets) == 0 {
		return nil
	}
	l.secrets = map[string][]byte{}
	for _, s := range l.opts.Secrets {
		data, err := e.fetchSecret(s)
		if err != nil {
			return fmt.Errorf("secret %s: %w", s.ID, err)
		}
		l.secrets[s.ID] = data
	}
	return nil
}

func (e *Engine) fetchSecret(s RunSecret) ([]byte, error) {
	if s.Variable == "" {
		return readSmallFile(s.File, maxSecret)
	}
	value, ok := os.LookupEnv(s.Variable)
	if !ok {
		return nil, errdefs.NotFound("the variable %s is not set", s.Variable)
	}
	if len(value) > maxSecret {
		return nil, errdefs.Limit("it has more than %d bytes", maxSecret)
	}
	return []byte(value), nil
}

// withoutSecrets is an environment without the variables that secrets come from.
func withoutSecrets(env []string, list []RunSecret) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.ContainsFunc(list, func(s RunSecret) bool { return s.Variable == name })
	})
}

// secretMounts makes the files of secrets, in memory, and returns the variables of the others.
func (l *launch) secretMounts() (list []specs.Mount, env []string, err error) {
	for _, s := range l.opts.Secrets {
		data, ok := l.secrets[s.ID]
		if !ok {
			return nil, nil, errdefs.NotFound("secret %s was not read for this start", s.ID)
		}
		if s.Env != "" {
			if slices.Contains(data, 0) {
				return nil, nil, errdefs.Invalid("secret %s has a NUL byte, which no variable can have", s.ID)
			}
			env = append(env, s.Env+"="+string(data))
			continue
		}
		uid, gid := idsOf(l.c.Config).outside(s.UID, s.GID)
		f, err := mount.MemoryFile(data, s.Mode, uid, gid)
		if err != nil {
			return nil, nil, fmt.Errorf("secret %s: %w", s.ID, err)
		}
		list = append(list, l.hold(f, specs.Mount{Destination: s.path()}))
	}
	return list, env, nil
}
