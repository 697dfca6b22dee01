// Package hosts reads where registries are asked for: mirrors, other places, and what is blocked, in the files of podman, of
// containerd and of docker.
//
//		c := remote.New(remote.Options{Sites: hosts.Open(hosts.Options{Getenv: os.Getenv, Dirs: dirs})})
//
//	  - registries.conf, version 2 (containers-registries.conf(5)): the user's below ~/.config/containers, else the one in /etc/containers, with what
//	    lies in registries.conf.d of both. CONTAINERS_REGISTRIES_CONF names another one, which stands alone.
//	  - DIRECTORY/HOST/hosts.toml (containerd's docs/hosts.md), where HOST has its port as "host:port" or "host_port_"; "_default" is for hosts
//	    without a directory.
//	  - daemon.json (Docker's daemon): the user's below ~/.config/docker, else the one in /etc/docker; of its keys registry-mirrors, for docker.io where
//	    registries.conf says nothing of it, and insecure-registries.
//
// registries.conf comes first: it says at which hosts a name is asked for; hosts.toml then says where each of these is. A key that is not known is
// an error: it could forbid something. What registries.conf has for names without a host does not count: those are docker.io's.
package hosts

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/remote"
	"github.com/pelletier/go-toml/v2"
)

const (
	// maxFile bounds a file in bytes, maxDropIns how many there are in a directory.
	maxFile    = 1 << 20
	maxDropIns = 1000
	// maxSites bounds how many places one name leads to.
	maxSites = 64
)

// Options say where to look.
type Options struct {
	// Getenv reads the environment; nil is an empty one.
	Getenv func(string) string
	// Dirs have a directory for each host with a hosts.toml, the most wanted first.
	Dirs []string
	// Etc is where the system's configuration is; "" is /etc.
	Etc string
}

// Files are the files. registries.conf and daemon.json are read once, a hosts.toml whenever its host is asked for.
type Files struct {
	opts   Options
	rules  func() ([]rule, error)
	daemon func() (daemon, error)
}

var _ remote.Sites = (*Files)(nil)

// Open returns the files. None has to be there, and nothing is read yet.
func Open(o Options) *Files {
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	if o.Etc == "" {
		o.Etc = "/etc"
	}
	f := &Files{opts: o}
	f.rules = sync.OnceValues(f.readRules)
	f.daemon = sync.OnceValues(f.readDaemon)
	return f
}

// Sites implements remote.Sites. A host that is blocked is ErrPermission.
func (f *Files) Sites(host, repository string) ([]remote.Site, error) {
	rules, err := f.rules()
	if err != nil {
		return nil, err
	}
	targets, err := follow(rules, host, repository)
	if err != nil {
		return nil, err
	}
	docker, err := f.daemon()
	if err != nil {
		return nil, err
	}
	sites := docker.before(targets)
	for _, t := range targets {
		more, err := f.expand(t)
		if err != nil {
			return nil, err
		}
		if sites = append(sites, more...); len(sites) > maxSites {
			return nil, errdefs.Limit("%s leads to more than %d places", host, maxSites)
		}
	}
	docker.allow(sites)
	return sites, nil
}

// readFile reads a file; nil when it is not there.
func readFile(path string) ([]byte, error) {
	r, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration of registries: %w", err)
	}
	defer r.Close()
	info, err := r.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxFile) {
		return nil, errdefs.Limit("%s is not a file of at most %d bytes", path, maxFile)
	}
	var data []byte
	if err == nil {
		data, err = io.ReadAll(io.LimitReader(r, maxFile))
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration of registries: %w", err)
	}
	return data, nil
}

// decode reads TOML into a struct that knows all keys.
func decode(text string, v any) error {
	err := toml.NewDecoder(strings.NewReader(text)).DisallowUnknownFields().Decode(v)
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		e := strict.Errors[0]
		line, _ := e.Position()
		return errdefs.Unsupported("line %d: the key %s is not supported", line, strings.Join(e.Key(), "."))
	}
	var bad *toml.DecodeError
	if errors.As(err, &bad) {
		line, _ := bad.Position()
		return errdefs.Invalid("line %d: %w", line, err)
	}
	return errdefs.With(errdefs.ErrInvalid, err)
}
