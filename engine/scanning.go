package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/vuln"
	"github.com/camada/camada/vuln/db"
	"github.com/camada/camada/vuln/vex"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// scanning is what scans of several images have in common.
type scanning struct {
	e          *Engine
	o          ScanOptions
	sink       progress.Sink
	statements []vex.Statement
	db         *db.DB
	// before is the database before its last update, when findings are to be new since then.
	before *db.DB
}

// beginScan reads what was decided, and opens the database. The caller closes.
func (e *Engine) beginScan(o ScanOptions, sink progress.Sink) (*scanning, error) {
	statements, err := o.decisions()
	if err != nil {
		return nil, err
	}
	d, err := e.openAdvisories(o.MaxAge)
	if err != nil {
		return nil, err
	}
	x := &scanning{e: e, o: o, sink: progress.Or(sink), statements: statements, db: d}
	if o.NewSinceUpdate {
		x.before, err = db.Open(e.advisoriesPath() + advisoriesBefore)
		if errdefs.IsNotFound(err) {
			err = errdefs.New(ErrNoAdvisories, "the advisory database was not updated since it was made, so there is nothing that is new since then")
		}
		if err != nil {
			return nil, errors.Join(errdefs.With(ErrNoAdvisories, err), d.Close())
		}
	}
	return x, nil
}

func (x *scanning) close() {
	x.db.Close()
	if x.before != nil {
		x.before.Close()
	}
}

// scan scans what has a name.
func (x *scanning) scan(ctx context.Context, name string) (*ScanReport, error) {
	r := &ScanReport{Image: name}
	s, err := x.e.scanned(ctx, r, x.o.Platform, x.sink)
	return x.report(ctx, r, s, err)
}

// scanStored scans an image of the store, whatever else has its name.
func (x *scanning) scanStored(ctx context.Context, name string, desc ocispec.Descriptor) (*ScanReport, error) {
	r := &ScanReport{Image: name}
	img, err := x.e.openImage(ctx, x.e.content, desc, x.o.Platform)
	if err != nil {
		return nil, fmt.Errorf("read the packages of %s: %w", name, err)
	}
	s, err := x.e.scannedImage(ctx, r, located{provider: x.e.content, image: img, root: desc}, x.sink)
	return x.report(ctx, r, s, err)
}

// report looks up what was read, or fails as that did.
func (x *scanning) report(ctx context.Context, r *ScanReport, s *scanned, err error) (*ScanReport, error) {
	name := r.Image
	if err != nil {
		return nil, fmt.Errorf("read the packages of %s: %w", name, err)
	}
	if err := x.match(ctx, x.db, r, s); err != nil {
		return nil, err
	}
	if x.before != nil {
		old := &ScanReport{Image: name, Digest: r.Digest}
		if err := x.match(ctx, x.before, old, s); err != nil {
			return nil, err
		}
		r.Since(old)
		r.NewSince = "the advisories of " + old.Database.Created.Format(time.DateOnly)
	}
	return r, nil
}

// match looks up what was read, in one database.
func (x *scanning) match(ctx context.Context, d *db.DB, r *ScanReport, s *scanned) error {
	inv, kernel := s.Inventory, 0
	if !x.o.Kernel {
		inv.Packages = slices.DeleteFunc(slices.Clone(inv.Packages), ofKernel)
		kernel = len(s.Inventory.Packages) - len(inv.Packages)
	}
	linked, done := s.linked(x.e.packageLists())
	defer done()
	res, err := vuln.Match(ctx, d, inv, vuln.Options{Now: time.Now(), Linked: linked})
	if err != nil {
		return fmt.Errorf("scan %s: %w", r.Image, err)
	}
	info := d.Info()
	r.Database = ScanDatabase{Created: info.Created, Newest: info.Newest, Digest: info.Digest}
	r.Distribution, r.EndOfLife, r.Uncovered, r.Unread = s.Inventory.Distribution, res.EndOfLife, res.Uncovered, s.Inventory.Unread
	r.Packages, r.Checked, r.Kernel = len(s.Inventory.Packages), res.Checked, kernel
	r.inventory = s.Inventory
	r.add(r.decide(res.Findings, x.statements, s), s)
	return nil
}

// openAdvisories opens the database, when it is there and young enough.
func (e *Engine) openAdvisories(maxAge time.Duration) (*db.DB, error) {
	d, err := db.Open(e.advisoriesPath())
	if err != nil {
		return nil, errdefs.With(ErrNoAdvisories, err)
	}
	created := d.Info().Created
	switch age := time.Since(created); {
	case maxAge > 0 && age > maxAge:
		err = errdefs.New(ErrNoAdvisories, "the advisory database is of %s, older than %s; bring it up to date with \"camada db update\", or allow more with --max-age", created.Format(time.DateOnly), ageText(maxAge))
	case maxAge > 0 && age < -24*time.Hour:
		err = errdefs.New(ErrNoAdvisories, "the advisory database says that it is of %s, which is in the future; look at the clock, or make it anew with \"camada db update\"", created.Format(time.DateOnly))
	default:
		return d, nil
	}
	return nil, errors.Join(err, d.Close())
}

// ageText is a time in days where it is made of days.
func ageText(d time.Duration) string {
	const day = 24 * time.Hour
	if d%day == 0 {
		return fmt.Sprintf("%d days", d/day)
	}
	return d.String()
}
