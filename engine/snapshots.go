package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/snapshot"
	"github.com/camada/camada/snapshot/native"
	"github.com/camada/camada/snapshot/overlay"
	"github.com/camada/camada/userns"
	"golang.org/x/sys/unix"
)

// snapshots is what the engine needs of a snapshotter.
type snapshots interface {
	snapshot.Snapshotter
	snapshot.Reclaimer
}

// choice is which snapshotter this machine and user can use, and why. It is remembered in the store for as long
// as the kernel stays, because probing mounts a file system.
type choice struct {
	Kernel      string `json:"kernel"`
	Identity    string `json:"identity"`
	Driver      string `json:"driver"`
	UserXattr   bool   `json:"userXattr,omitempty"`
	RecordOwner bool   `json:"recordOwner,omitempty"`
	Reflink     bool   `json:"reflink,omitempty"`
	// Reason says why overlay is not used.
	Reason string `json:"reason,omitempty"`
}

// snapshots returns the snapshotter, chosen on first use.
func (e *Engine) snapshots(ctx context.Context) (snapshots, error) {
	e.snapMu.Lock()
	defer e.snapMu.Unlock()
	if e.snaps != nil {
		return e.snaps, nil
	}
	c, err := e.choose(ctx)
	if err != nil {
		return nil, err
	}
	e.snaps = c.open(e.snapshotDir(), e.lease)
	return e.snaps, nil
}

func (e *Engine) snapshotDir() string { return filepath.Join(e.root, "snapshots") }

func (c choice) open(dir string, pins lease.Pinner) snapshots {
	if c.Driver == DriverOverlay {
		return overlay.Open(dir, overlay.Options{Pins: pins, UserXattr: c.UserXattr, RecordOwner: c.RecordOwner})
	}
	return native.Open(dir, native.Options{Pins: pins, RecordOwner: c.RecordOwner})
}

func (e *Engine) choose(ctx context.Context) (choice, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return choice{}, fmt.Errorf("ask for the kernel's name: %w", err)
	}
	outer, _ := userns.OuterID()
	want := choice{Kernel: unix.ByteSliceToString(u.Release[:]), Identity: fmt.Sprintf("%d/%d/%t/%s", outer, os.Geteuid(), userns.Rootless(), e.driver)}
	file := filepath.Join(e.snapshotDir(), "driver.json")
	var c choice
	if b, err := os.ReadFile(file); err == nil && json.Unmarshal(b, &c) == nil && c.Kernel == want.Kernel && c.Identity == want.Identity {
		return c, nil
	}
	tmp, remove, err := e.tempDir(ctx)
	if err != nil {
		return choice{}, err
	}
	defer remove()
	if c, err = e.probe(ctx, want, tmp); err != nil {
		return choice{}, err
	}
	if err := os.MkdirAll(e.snapshotDir(), 0o755); err != nil {
		return choice{}, fmt.Errorf("make the directory of snapshots: %w", err)
	}
	if b, err := json.Marshal(c); err == nil { // what cannot be remembered is probed again
		name := filepath.Join(tmp, "driver.json")
		if os.WriteFile(name, b, 0o644) == nil {
			_ = os.Rename(name, file)
		}
	}
	return c, nil
}

// probe tries in dir what the machine can do.
func (e *Engine) probe(ctx context.Context, c choice, dir string) (choice, error) {
	if e.driver != DriverNative {
		sup, err := overlay.Probe(ctx, dir)
		if err != nil {
			return c, err
		}
		if sup.OK {
			c.Driver, c.UserXattr, c.RecordOwner = DriverOverlay, sup.UserXattr, sup.RecordOwner
			return c, nil
		}
		if e.driver == DriverOverlay {
			return c, errdefs.Unsupported("overlay cannot be used in %s: %s", e.snapshotDir(), sup.Reason)
		}
		c.Reason = sup.Reason
	}
	sup, err := native.Probe(ctx, dir)
	if err != nil {
		return c, err
	}
	c.Driver, c.Reflink, c.RecordOwner = DriverNative, sup.Reflink, sup.RecordOwner
	return c, nil
}
