// Package auth finds the credentials that users have for registries, where docker, podman and their
// like keep them:
//
//		c := remote.New(remote.Options{Credentials: auth.Open(auth.Options{Getenv: os.Getenv})})
//
//	  - REGISTRY_AUTH_FILE, when it is set, is the only file that is read;
//	  - $DOCKER_CONFIG/config.json or ~/.docker/config.json, with auths, credHelpers and credsStore;
//	  - $XDG_RUNTIME_DIR/containers/auth.json, then ~/.config/containers/auth.json.
//
// The first file that knows the host wins. Helpers are the programs docker-credential-NAME on
// PATH, asked by docker's protocol. Store and Erase change what is kept, as docker login and logout do.
package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/remote"
)

const (
	// maxFile bounds a file of credentials in bytes.
	maxFile = 4 << 20
	// hubKey is what docker calls docker.io in its files.
	hubKey  = "https://index.docker.io/v1/"
	hubHost = "docker.io"
)

// Options say where to look.
type Options struct {
	// Getenv reads the environment; nil is an empty one.
	Getenv func(string) string
}

// Files are the user's files. They are read whenever they are asked.
type Files struct{ getenv func(string) string }

var _ remote.Credentials = Files{}

// Open returns the user's files. None has to be there.
func Open(o Options) Files {
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	return Files{o.Getenv}
}

// config is what is read of a file: docker's config.json, of which containers' auth.json is a part.
type config struct {
	Auths       map[string]entry  `json:"auths"`
	CredHelpers map[string]string `json:"credHelpers"`
	CredsStore  string            `json:"credsStore"`
}

// entry is what a file knows of a registry.
type entry struct {
	Auth          string `json:"auth,omitempty"`
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"`
	IdentityToken string `json:"identitytoken,omitempty"`
	RegistryToken string `json:"registrytoken,omitempty"`
}

// Credential implements remote.Credentials. A file that cannot be understood is ErrInvalid.
func (f Files) Credential(ctx context.Context, host string) (remote.Credential, error) {
	for _, file := range f.files() {
		c, err := read(file.path)
		if err != nil {
			return remote.Credential{}, err
		}
		cred, err := c.find(ctx, host)
		if err != nil {
			return remote.Credential{}, fmt.Errorf("credentials for %s: %w", host, err)
		}
		if cred != (remote.Credential{}) {
			return cred, nil
		}
	}
	return remote.Credential{}, nil
}

// file is one of the files.
type file struct {
	path string
	// docker tells docker's own file, in which docker.io has the name that docker gave it.
	docker bool
}

// files are the user's, in the order in which they are asked.
func (f Files) files() []file {
	if p := f.getenv("REGISTRY_AUTH_FILE"); p != "" {
		return []file{{path: p}}
	}
	var files []file
	home := f.getenv("HOME")
	if dir := f.getenv("DOCKER_CONFIG"); dir != "" {
		files = append(files, file{filepath.Join(dir, "config.json"), true})
	} else if home != "" {
		files = append(files, file{filepath.Join(home, ".docker", "config.json"), true})
	}
	if dir := f.getenv("XDG_RUNTIME_DIR"); dir != "" {
		files = append(files, file{path: filepath.Join(dir, "containers", "auth.json")})
	}
	if dir := f.getenv("XDG_CONFIG_HOME"); dir != "" {
		files = append(files, file{path: filepath.Join(dir, "containers", "auth.json")})
	} else if home != "" {
		files = append(files, file{path: filepath.Join(home, ".config", "containers", "auth.json")})
	}
	return files
}

// read reads a file; an empty config when it is not there or not for us.
func read(path string) (config, error) {
	data, _, err := readFile(path)
	if errors.Is(err, fs.ErrPermission) {
		return config{}, nil
	}
	if err != nil {
		return config{}, err
	}
	c, err := parse(data)
	if err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// readFile returns nothing when there is no file.
func readFile(path string) ([]byte, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err == nil && (info.Size() > maxFile || !info.Mode().IsRegular()) {
		return nil, nil, errdefs.Limit("%s is not a file of at most %d bytes", path, maxFile)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read credentials: %w", err)
	}
	return data, info, nil
}

func parse(data []byte) (config, error) {
	var c config
	if err := parseInto(data, &c); err != nil {
		return config{}, err
	}
	return c, nil
}

// parseInto reads JSON, and no JSON as nothing.
func parseInto(data []byte, v any) error {
	if len(strings.TrimSpace(string(data))) == 0 {
		return nil
	}
	if err := json.Unmarshal(data, v); err != nil {
		// The error of package json could cite a password.
		return errdefs.Invalid("the file of credentials is not JSON as docker writes it")
	}
	return nil
}

// find looks for a host: first with the helper that is meant for it, then among the entries, then with
// the helper for all.
func (c config) find(ctx context.Context, host string) (remote.Credential, error) {
	for _, key := range keys(host) {
		if name, ok := c.CredHelpers[key]; ok {
			return ask(ctx, name, key)
		}
	}
	e, ok := c.entry(host)
	if ok {
		cred, err := e.credential()
		if err != nil || cred != (remote.Credential{}) {
			return cred, err
		}
	}
	if c.CredsStore == "" {
		return remote.Credential{}, nil
	}
	return ask(ctx, c.CredsStore, keys(host)[0])
}

// keys are the names that a host has in files.
func keys(host string) []string {
	if host == hubHost {
		return []string{hubKey, hubHost, "index.docker.io", "registry-1.docker.io"}
	}
	return []string{host}
}

// entry finds the host's entry: by its name, or by an address that has it as its host.
func (c config) entry(host string) (entry, bool) {
	for _, key := range keys(host) {
		if e, ok := c.Auths[key]; ok {
			return e, true
		}
	}
	for key, e := range c.Auths {
		if isFor(key, host) {
			return e, true
		}
	}
	return entry{}, false
}

// isFor reports whether a key of a file is an address of a host. A key with a path and no scheme is for some repositories of the
// host only.
func isFor(key, host string) bool {
	rest, isURL := strings.CutPrefix(key, "https://")
	if !isURL {
		rest, isURL = strings.CutPrefix(key, "http://")
	}
	name, path, _ := strings.Cut(rest, "/")
	return (isURL || path == "") && name == host
}

// credential reads "auth", which is base64 of user:password.
func (e entry) credential() (remote.Credential, error) {
	cred := remote.Credential{Username: e.Username, Password: e.Password, IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken}
	if e.Auth == "" {
		return cred, nil
	}
	text, err := base64.StdEncoding.DecodeString(e.Auth)
	if err != nil {
		text, err = base64.RawStdEncoding.DecodeString(e.Auth)
	}
	user, password, ok := strings.Cut(string(text), ":")
	if err != nil || !ok {
		return cred, errdefs.Invalid(`"auth" is not base64 of USER:PASSWORD`)
	}
	cred.Username, cred.Password = user, strings.Trim(password, "\x00")
	return cred, nil
}
