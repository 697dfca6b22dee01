// Package engine joins camada's parts: it is the only place that chooses concrete
// stores, snapshotters and runtimes. Faces (the command line, and others later) call it; nothing
// below knows of it.
//
//	e, err := engine.Open(ctx, engine.Config{Getenv: os.Getenv})
//	defer e.Close()
//	res, err := e.Build(ctx, engine.BuildOptions{ContextDir: ".", Tags: []string{"app"}}, sink)
//
// An Engine stands for one verb: it holds one lease, which keeps all that the verb looked at from
// garbage collection until Close. It is opened in microseconds; each part is
// made when it is first used.
package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image/layout"
	"github.com/camada/camada/image/referrers"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/userns"
)

// The snapshot drivers.
const (
	DriverOverlay = "overlay"
	DriverNative  = "native"
)

// Config says where the store is and how it is used.
type Config struct {
	// Root is the directory of the store; "" is the default: /var/lib/camada as root,
	// $XDG_DATA_HOME/camada (or ~/.local/share/camada) otherwise.
	Root string
	// Driver is DriverOverlay, DriverNative or "" to choose by probing.
	Driver string
	// Getenv reads the environment; nil is an empty one.
	Getenv func(string) string
	// InsecureRegistries are hosts and networks whose certificates are not checked, and that may speak plain HTTP.
	InsecureRegistries []string
	// Notice takes a sentence for the user that is no error: what he gets less of than he can expect. Nil drops it. It is called once for each sentence.
	Notice func(string)
	// Policy is a file with a policy that counts beside the machine's; "" is the user's own, where there is one.
	Policy string
	// MachinePolicy is where the machine's policy is; "" is /etc/camada/policy.yaml.
	MachinePolicy string
	// Version of the program, which attestations name.
	Version string
}

// Engine is one verb's use of a store. It is safe for use by many goroutines.
type Engine struct {
	root    string
	driver  string
	version string
	getenv  func(string) string
	leases  *lease.Manager
	lease   *lease.Lease
	content *local.Store
	refs    *layout.Refs
	// referrers are what belongs to digests: SBOMs, provenance, signatures.
	referrers *referrers.Store
	records   *record.Store

	snapMu sync.Mutex
	snaps  snapshots

	notices notices

	// policyFile is what the user named, machinePolicy where the machine's policy is; "" is the usual place.
	policyFile, machinePolicy string
	policySet                 policySet
	looked                    looked

	insecure []string
	remoteMu sync.Mutex
	remote   *remote.Client
	waits    waits
}

// Open opens the store, making its directory when it is not there.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	if cfg.Getenv == nil {
		cfg.Getenv = func(string) string { return "" }
	}
	switch cfg.Driver {
	case "", DriverOverlay, DriverNative:
	default:
		return nil, errdefs.Invalid("storage driver %q: want %s or %s", cfg.Driver, DriverOverlay, DriverNative)
	}
	root, err := rootDir(cfg)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o710); err != nil {
		return nil, fmt.Errorf("make the store: %w; name another directory with --root or CAMADA_ROOT", err)
	}
	e := &Engine{root: root, driver: cfg.Driver, getenv: cfg.Getenv, insecure: cfg.InsecureRegistries, version: cfg.Version, notices: notices{to: cfg.Notice}, policyFile: cfg.Policy, machinePolicy: cfg.MachinePolicy}
	e.leases = lease.Open(root)
	if e.lease, err = e.leases.Acquire(ctx, "camada"); err != nil {
		return nil, fmt.Errorf("open the store %s: %w", root, err)
	}
	e.content = local.Open(root, local.Options{Pinner: e.lease})
	e.refs = layout.Open(root)
	e.referrers = referrers.Open(root)
	if err := e.refs.Init(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the store %s: %w", root, err), e.lease.Release())
	}
	e.records = record.Open(filepath.Join(root, "containers"))
	return e, nil
}

// Close releases what the verb held.
func (e *Engine) Close() error {
	e.closeRegistries()
	return e.lease.Release()
}

// Root is the directory of the store.
func (e *Engine) Root() string { return e.root }

// rootDir is the absolute path of the store without symbolic links, as overlay mounts want it.
func rootDir(cfg Config) (string, error) {
	root := cfg.Root
	if root == "" {
		uid, _ := userns.OuterID()
		switch data := cfg.Getenv("XDG_DATA_HOME"); {
		case uid == 0:
			root = "/var/lib/camada"
		case data != "":
			root = filepath.Join(data, "camada")
		default:
			home, err := os.UserHomeDir()
			if err != nil {
				return "", errdefs.Invalid("no place for the store: %w; set HOME, or name a directory with --root or CAMADA_ROOT", err)
			}
			root = filepath.Join(home, ".local/share/camada")
		}
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return "", fmt.Errorf("find the store: %w", err)
	}
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	return root, nil
}
