package lease

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/flock"
)

// maxLease bounds how much of one lease file is read, 64 MiB: some 800,000 blobs.
const maxLease = 64 << 20

// Collector is the right to delete resources of a store. There is one at a
// time. It is used by one goroutine.
type Collector struct {
	m      *Manager
	gate   *os.File // pin.lock
	lock   *os.File // collector.lock, held exclusively
	leases map[string]*seen
}

// seen is what a collector has read of one lease file, which only grows.
type seen struct {
	offset    int64
	resources map[Resource]struct{}
}

// Collect begins a collection: read the refs and other roots after it, not
// before. Leases of processes that ended are removed. While another Collector
// lives it waits for it as long as ctx allows. The caller closes the Collector.
func (m *Manager) Collect(ctx context.Context) (*Collector, error) {
	c := &Collector{m: m, leases: map[string]*seen{}}
	var err error
	if c.lock, err = m.openLock("collector.lock"); err != nil {
		return nil, err
	}
	if c.gate, err = m.openLock("pin.lock"); err != nil {
		c.lock.Close()
		return nil, err
	}
	if err := flock.Exclusive(ctx, c.lock); err != nil {
		c.Close()
		return nil, errdefs.With(errdefs.ErrUnavailable, fmt.Errorf("begin collection: %w", err))
	}
	err = c.excluding(ctx, c.removeDead)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("begin collection: %w", err)
	}
	return c, nil
}

// Live returns all resources that leases hold now.
func (c *Collector) Live(ctx context.Context) ([]Resource, error) {
	var all []Resource
	err := c.excluding(ctx, func() error {
		if err := c.read(); err != nil {
			return err
		}
		set := map[Resource]struct{}{}
		for _, s := range c.leases {
			for r := range s.resources {
				if _, ok := set[r]; !ok {
					set[r] = struct{}{}
					all = append(all, r)
				}
			}
		}
		return nil
	})
	return all, err
}

// Sweep calls fn while nobody can pin. live tells whether a lease holds a
// resource; fn deletes what is not live. All who want to pin wait meanwhile: fn
// deletes a few things and returns, and Sweep is called again for the next ones.
func (c *Collector) Sweep(ctx context.Context, fn func(ctx context.Context, live func(Resource) bool) error) error {
	return c.excluding(ctx, func() error {
		if err := c.read(); err != nil {
			return err
		}
		return fn(ctx, c.live)
	})
}

// Close ends the collection.
func (c *Collector) Close() error {
	c.gate.Close()
	return c.lock.Close()
}

func (c *Collector) live(r Resource) bool {
	for _, s := range c.leases {
		if _, ok := s.resources[r]; ok {
			return true
		}
	}
	return false
}

// excluding runs fn while nobody pins. After an error of the lock the
// collector is of no more use, as its context is done.
func (c *Collector) excluding(ctx context.Context, fn func() error) error {
	if err := flock.Exclusive(ctx, c.gate); err != nil {
		return err
	}
	defer flock.Unlock(c.gate)
	return fn()
}

// removeDead removes the files of leases whose process ended.
func (c *Collector) removeDead() error {
	return c.m.each(func(name string, f *os.File) error {
		// The holder has an exclusive lock as long as it lives.
		dead, err := flock.TryShared(f)
		if err != nil || !dead {
			return err
		}
		if err := os.Remove(f.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return class("remove dead lease", err)
		}
		return nil
	})
}

// read reads what was added to all lease files, of living processes and of
// ones that ended since the collection began.
func (c *Collector) read() error {
	return c.m.each(func(name string, f *os.File) error {
		s := c.leases[name]
		if s == nil {
			s = &seen{resources: map[Resource]struct{}{}}
			c.leases[name] = s
		}
		data, err := io.ReadAll(io.NewSectionReader(f, s.offset, maxLease))
		if err != nil {
			return fmt.Errorf("read lease: %w", err)
		}
		// What follows the last newline is a write that failed.
		whole := data[:bytes.LastIndexByte(data, '\n')+1]
		for line := range bytes.Lines(whole) {
			s.resources[Resource(bytes.TrimSuffix(line, []byte{'\n'}))] = struct{}{}
		}
		s.offset += int64(len(whole))
		return nil
	})
}

// each calls fn with every lease file, open for reading during the call.
func (m *Manager) each(fn func(name string, f *os.File) error) error {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return class("list leases", err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".lock") || !e.Type().IsRegular() {
			continue
		}
		f, err := os.Open(filepath.Join(m.dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return class("open lease", err)
		}
		err = fn(e.Name(), f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// Info describes a lease file, for reports.
type Info struct {
	// Path of the file.
	Path string
	// Alive tells whether a process holds it.
	Alive bool
	// Resources are how many it pins.
	Resources int
}

// List describes all leases. It is a snapshot that may be stale when it returns.
func (m *Manager) List(ctx context.Context) ([]Info, error) {
	if _, err := os.Stat(m.dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	gate, err := m.openLock("pin.lock")
	if err != nil {
		return nil, err
	}
	defer gate.Close()
	// A lease that is just being made must not meet our lock on its file.
	if err := flock.Exclusive(ctx, gate); err != nil {
		return nil, err
	}
	var infos []Info
	err = m.each(func(_ string, f *os.File) error {
		data, err := io.ReadAll(io.LimitReader(f, maxLease))
		if err != nil {
			return fmt.Errorf("read lease: %w", err)
		}
		dead, err := flock.TryShared(f)
		if err != nil {
			return err
		}
		infos = append(infos, Info{Path: f.Name(), Alive: !dead, Resources: bytes.Count(data, []byte{'\n'})})
		return nil
	})
	return infos, err
}
