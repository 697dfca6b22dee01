// Package fsck finds out whether a store is whole, and repairs what can be repaired.
//
//	rep, err := fsck.Run(ctx, fsck.Store{Root: root, Blobs: blobs, Refs: refs, Leases: leases}, fsck.Options{})
//	if !rep.Whole() { ... rep.Problems ... }
//
// It runs beside everything else. What a killed process can leave (an ingest,
// the lease of a dead process, a move that is not finished) is no problem: it is
// used, removed or finished by whoever comes next, and only noted.
//
// A repair never deletes: what is damaged is moved to lost+found/ in the store.
package fsck

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image/layout"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/progress"
)

// The kinds of problems, beside those of package layout.
const (
	// BadBlob: the bytes of a blob are not what its name says.
	BadBlob = "bad-blob"
	// StrayFile: a file among the blobs that is no blob.
	StrayFile = layout.Stray
	// MissingBlob: an image that a ref names lacks a part.
	MissingBlob = "missing-blob"
	// BadManifest: a manifest, index or config cannot be understood, or names a
	// blob with a wrong size.
	BadManifest = "bad-manifest"
	// BadSnapshot: a snapshot is not whole.
	BadSnapshot = "bad-snapshot"
)

// Problem is something that is wrong.
type Problem struct {
	// Kind is one of the constants here and in package layout.
	Kind string `json:"kind"`
	// Path is relative to the root of the store, or the name of a ref.
	Path string `json:"path"`
	// Detail says what is wrong.
	Detail string `json:"detail"`
	// Advice says what to do when it is not Repaired.
	Advice   string `json:"advice,omitempty"`
	Repaired bool   `json:"repaired,omitempty"`
}

// Report is the result of Run.
type Report struct {
	Problems []Problem `json:"problems"`
	// Notes are things that are as they should be and still worth to know.
	Notes []string `json:"notes,omitempty"`
	// Blobs and Bytes were verified.
	Blobs int   `json:"blobs"`
	Bytes int64 `json:"bytes"`
	// Refs were followed.
	Refs int `json:"refs"`
}

// Whole reports whether nothing is wrong (any more).
func (r Report) Whole() bool {
	return !slices.ContainsFunc(r.Problems, func(p Problem) bool { return !p.Repaired })
}

// Snapshots checks snapshots; an implementation of package snapshot can have it.
type Snapshots interface {
	// Check calls report for each snapshot that is not whole, and repairs when asked to.
	// path is relative to the root of the store.
	Check(ctx context.Context, repair bool, report func(path, detail string, repaired bool)) error
}

// Store is what is checked.
type Store struct {
	Root string
	// Blobs pin nothing: they are opened without a Pinner.
	Blobs  *local.Store
	Refs   *layout.Refs
	Leases *lease.Manager
	// Snapshots may be nil.
	Snapshots Snapshots
}

// Options shape a Run.
type Options struct {
	// Repair what can be repaired.
	Repair bool
	// Quick leaves out the verification of the blobs' bytes.
	Quick bool
	// Progress is told of the bytes that are verified; nil for nobody.
	Progress progress.Sink
}

// Run checks a store. The error is about the check; what is wrong is in the Report.
func Run(ctx context.Context, s Store, opts Options) (Report, error) {
	c := &check{s: s, opts: opts, lost: filepath.Join(s.Root, "lost+found")}
	steps := []struct {
		name string
		run  func(context.Context) error
	}{
		{"blobs", c.blobs}, {"refs", c.refs}, {"images", c.images},
		{"snapshots", c.snapshots}, {"ingests", c.ingests}, {"leases", c.leases},
	}
	for _, step := range steps {
		if err := step.run(ctx); err != nil {
			return c.rep, fmt.Errorf("check %s: %w", step.name, err)
		}
	}
	slices.SortStableFunc(c.rep.Problems, func(a, b Problem) int {
		return strings.Compare(a.Kind+" "+a.Path, b.Kind+" "+b.Path)
	})
	return c.rep, nil
}

type check struct {
	s    Store
	opts Options
	lost string

	mu  sync.Mutex // guards rep while blobs are verified
	rep Report
}

func (c *check) problem(p Problem) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rep.Problems = append(c.rep.Problems, p)
}

// repair calls fix when repair is wanted, and reports the problem.
func (c *check) repair(p Problem, fix func() error) {
	if c.opts.Repair && fix != nil {
		if err := fix(); err != nil {
			p.Detail += "; repair: " + err.Error()
		} else {
			p.Repaired = true
		}
	}
	c.problem(p)
}

// keep moves a file of the store to lost+found.
func (c *check) keep(rel string) error {
	if err := os.MkdirAll(c.lost, 0o700); err != nil {
		return err
	}
	return os.Rename(filepath.Join(c.s.Root, rel), filepath.Join(c.lost, strings.ReplaceAll(rel, "/", "%")))
}

// refs checks the files of refs.
func (c *check) refs(ctx context.Context) error {
	return c.s.Refs.Check(ctx, c.opts.Repair, c.lost, func(f layout.Finding) {
		p := Problem{Kind: f.Kind, Path: f.Path, Detail: f.Err.Error(), Repaired: f.Repaired}
		if !f.Repaired {
			p.Advice = refAdvice(f.Kind)
		}
		c.problem(p)
	})
}

func refAdvice(kind string) string {
	switch kind {
	case layout.Stray, layout.BadLine:
		return "--repair moves it to lost+found"
	case layout.MissingRef, layout.StaleRef, layout.BadRef:
		return "--repair makes the ref anew from its reflog"
	}
	return "--repair makes it anew"
}

func (c *check) snapshots(ctx context.Context) error {
	if c.s.Snapshots == nil {
		return nil
	}
	return c.s.Snapshots.Check(ctx, c.opts.Repair, func(path, detail string, repaired bool) {
		p := Problem{Kind: BadSnapshot, Path: path, Detail: detail, Repaired: repaired}
		if !repaired {
			p.Advice = "--repair removes it; it is unpacked again from its layers when it is needed"
		}
		c.problem(p)
	})
}

func (c *check) ingests(ctx context.Context) error {
	all, err := c.s.Blobs.Ingests(ctx)
	if err != nil {
		return err
	}
	for _, in := range all {
		if !in.Active {
			c.rep.Notes = append(c.rep.Notes, fmt.Sprintf("ingest %s (%q): %d bytes, can be resumed; gc removes it in time", in.ID, in.Ref, in.Size))
		}
	}
	return nil
}

func (c *check) leases(ctx context.Context) error {
	all, err := c.s.Leases.List(ctx)
	if errdefs.IsPermission(err) {
		// A store that cannot be written is checked all the same.
		c.rep.Notes = append(c.rep.Notes, "leases: "+err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	for _, l := range all {
		if !l.Alive {
			c.rep.Notes = append(c.rep.Notes, fmt.Sprintf("lease %s of a process that ended; gc removes it", filepath.Base(l.Path)))
		}
	}
	return nil
}
