package engine

import (
	"context"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/auth"
)

// LoginOptions say who asks which registry.
type LoginOptions struct {
	// Server is the registry: a host, or an address that has it; "" is docker.io.
	Server string
	// Username and Password are what is shown to it. When both are "", it is shown what is kept for it.
	Username, Password string
}

// LoginResult is what a login came to.
type LoginResult struct {
	// Server is the registry's host.
	Server string
	// File has the credential, unless Helper does. Both are "" when nothing new is kept.
	File, Helper string
}

// KnownUser is the name that is kept for a registry; "" is none. ok reports whether there is a credential at all: a token may have no name.
func (e *Engine) KnownUser(ctx context.Context, server string) (name string, ok bool, err error) {
	host, err := registryHost(server)
	if err != nil {
		return "", false, err
	}
	cred, err := e.credentials().Credential(ctx, host)
	return cred.Username, cred != remote.Credential{}, err
}

// Login shows a registry who asks, and keeps that when the registry accepts it. When it does not, the error is ErrPermission.
func (e *Engine) Login(ctx context.Context, o LoginOptions) (LoginResult, error) {
	host, err := registryHost(o.Server)
	if err != nil {
		return LoginResult{}, err
	}
	res := LoginResult{Server: host}
	files := e.credentials()
	known, err := files.Credential(ctx, host)
	if err != nil && o.Username == "" {
		return res, err
	}
	cred := remote.Credential{Username: o.Username, Password: o.Password}
	old := o.Username == "" && o.Password == ""
	if old {
		cred = known
	}
	kept, err := e.registries().Login(ctx, host, cred)
	if err != nil || old && kept == known {
		return res, err
	}
	where, err := files.Store(ctx, host, kept)
	res.File, res.Helper = where.File, where.Helper
	return res, err
}

// Logout forgets what is kept for a registry, wherever it is kept. It returns the registry's host, and the files that had something.
func (e *Engine) Logout(ctx context.Context, server string) (host string, files []string, err error) {
	if host, err = registryHost(server); err != nil {
		return "", nil, err
	}
	files, err = e.credentials().Erase(ctx, host)
	return host, files, err
}

func (e *Engine) credentials() auth.Files { return auth.Open(auth.Options{Getenv: e.getenv}) }

// registryHost is the host of an address of a registry, as users and docker's files write it.
func registryHost(server string) (string, error) {
	host := server
	for _, scheme := range []string{"https://", "http://"} {
		host = strings.TrimPrefix(host, scheme)
	}
	host, _, _ = strings.Cut(host, "/")
	switch host {
	case "", "docker.io", "index.docker.io", "registry-1.docker.io":
		return reference.DefaultHost, nil
	}
	// What has neither dot nor colon would be read as a repository of docker.io.
	if ref, err := reference.Parse(host + "/x"); err != nil || ref.Host != host {
		return "", errdefs.Invalid("%q is no registry: name it as HOST or HOST:PORT", server)
	}
	return host, nil
}
