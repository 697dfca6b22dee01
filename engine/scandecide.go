package engine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/camada/camada/vuln"
	"github.com/camada/camada/vuln/vex"
)

// IgnoredFinding is a finding that someone decided to leave out.
type IgnoredFinding struct {
	ScanFinding
	// Decision is ignored, or the status of the VEX document: not_affected, fixed, false_positive, resolved. Reason is what it says.
	Decision, Reason string
	// Until is the end of the last day on which it holds; zero is for ever.
	Until time.Time `json:",omitzero"`
}

// decisions reads VEX documents and an ignore file, in this order: of what contradicts, the later counts.
func (o *ScanOptions) decisions() ([]vex.Statement, error) {
	var all []vex.Statement
	read := func(name string, parse func([]byte) ([]vex.Statement, error)) error {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("read decisions about findings: %w", err)
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, vex.MaxDocument+1))
		if err != nil {
			return err
		}
		s, err := parse(data)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		all = append(all, s...)
		return nil
	}
	for _, name := range o.VEX {
		if err := read(name, vex.Parse); err != nil {
			return nil, err
		}
	}
	if o.Ignore == "" {
		return all, nil
	}
	err := read(o.Ignore, vex.ParseIgnore)
	if o.IgnoreMayLack && errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return all, err
}

// decide leaves out what statements say that does not matter, and tells it.
func (r *ScanReport) decide(found []vuln.Finding, statements []vex.Statement, s *scanned) []vuln.Finding {
	d := vex.Apply(found, statements, vex.Image{Name: r.Image, Digest: r.Digest}, time.Now())
	for i := range d.Ignored {
		x := &d.Ignored[i]
		r.Ignored = append(r.Ignored, IgnoredFinding{ScanFinding: findingRow(&x.Finding, s), Decision: x.Statement.Status, Reason: x.Statement.Reason, Until: x.Statement.Until})
	}
	for _, x := range d.Expired {
		r.Expired = append(r.Expired, fmt.Sprintf("%s until %s: %s", x.IDs[0], x.Until.AddDate(0, 0, -1).Format(time.DateOnly), x.Reason))
	}
	return d.Kept
}

// Since leaves the findings that another image has not: those of packages that it had with the same vulnerability, in whatever version, go.
func (r *ScanReport) Since(old *ScanReport) {
	type key struct{ typ, name, arch, id string }
	had := map[key]bool{}
	for i := range old.Findings {
		f := &old.Findings[i]
		had[key{f.Type, f.Package, f.Arch, f.ID}] = true
	}
	for i := range old.Ignored {
		f := &old.Ignored[i]
		had[key{f.Type, f.Package, f.Arch, f.ID}] = true
	}
	before := len(r.Findings)
	r.Filter(func(f *ScanFinding) bool { return !had[key{f.Type, f.Package, f.Arch, f.ID}] })
	r.Known = before - len(r.Findings)
	r.NewSince = old.Image
}
