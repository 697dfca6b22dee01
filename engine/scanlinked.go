package engine

import (
	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/inventory"
	"github.com/camada/camada/inventory/language"
	"github.com/camada/camada/vuln"
	"github.com/opencontainers/go-digest"
)

// place notes which layers have the programs of Go whose functions are kept.
func (s *scanned) place(a *anatomy.Image, kept *anatomy.ListStore) {
	looked := map[string]bool{}
	for i := range s.Inventory.Packages {
		p := &s.Inventory.Packages[i]
		if p.Type != "golang" || looked[p.Found] {
			continue
		}
		looked[p.Found] = true
		if holder := a.Holder(p.Found); holder != "" && kept.HasFunctions(holder, p.Found) {
			if s.Programs == nil {
				s.Programs = map[string]digest.Digest{}
			}
			s.Programs[p.Found] = holder
		}
	}
}

// hasFunctions reports whether the functions of all programs are still kept.
func (s *scanned) hasFunctions(kept *anatomy.ListStore) bool {
	for program, holder := range s.Programs {
		if !kept.HasFunctions(holder, program) {
			return false
		}
	}
	return true
}

// linked tells of the functions of programs, which are opened when they are asked for first. The caller calls done when it asks no more.
func (s *scanned) linked(kept *anatomy.ListStore) (of func(*inventory.Package) vuln.Linked, done func()) {
	read := map[string]*language.Functions{}
	var opened []func()
	of = func(p *inventory.Package) vuln.Linked {
		f, ok := s.functions[p.Found]
		if !ok {
			f, ok = read[p.Found]
		}
		if holder := s.Programs[p.Found]; !ok && holder != "" {
			var done func()
			if f, done = kept.Functions(holder, p.Found); f != nil {
				opened = append(opened, done)
			}
			read[p.Found] = f
		}
		if f == nil {
			return nil
		}
		return f
	}
	return of, func() {
		for _, done := range opened {
			done()
		}
	}
}

// OnlyReachable leaves out the findings whose vulnerable functions are not in the program, and counts them.
func (r *ScanReport) OnlyReachable() {
	before := len(r.Findings)
	r.Filter(func(f *ScanFinding) bool { return f.Reachable != vuln.ReachNo })
	r.NotReachable += before - len(r.Findings)
}
