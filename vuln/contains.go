package vuln

import (
	"slices"

	"github.com/camada/camada/vuln/version"
)

// Sort puts the events of a range in the order of their versions, which Contains needs. "0" is before all.
func (r Range) Sort(compare version.Compare) {
	slices.SortStableFunc(r, func(a, b Event) int {
		switch az, bz := a.start(), b.start(); {
		case az && bz:
			return 0
		case az:
			return -1
		case bz:
			return 1
		}
		return compare(a.Version, b.Version)
	})
}

func (e Event) start() bool { return e.Kind == Introduced && e.Version == "0" }

// Contains reports whether a version is affected (OSV, "Evaluation"). The events are sorted.
func (r Range) Contains(v string, compare version.Compare) bool {
	in := false
	for _, e := range r {
		switch e.Kind {
		case Introduced:
			in = in || e.start() || compare(v, e.Version) >= 0
		case Fixed, Limit:
			in = in && compare(v, e.Version) < 0
		case LastAffected:
			in = in && (v == e.Version || compare(v, e.Version) <= 0)
		}
		if !in && !e.start() && compare(v, e.Version) < 0 {
			return false // all that comes is newer
		}
	}
	return in
}

// next is the oldest version that repairs v; "" when none is known.
func (r Range) next(v string, compare version.Compare) string {
	for _, e := range r {
		if e.Kind == Fixed && compare(e.Version, v) > 0 {
			return e.Version
		}
	}
	return ""
}

// contains tells whether a version is affected, and what repairs it.
func (a *Affected) contains(v string, compare version.Compare) (affected bool, fixed string) {
	for _, r := range a.Ranges {
		if !r.Contains(v, compare) {
			continue
		}
		affected = true
		if f := r.next(v, compare); f != "" && (fixed == "" || compare(f, fixed) < 0) {
			fixed = f
		}
	}
	if affected || !slices.Contains(a.Versions, v) {
		return affected, fixed
	}
	for _, r := range a.Ranges {
		if f := r.next(v, compare); f != "" && (fixed == "" || compare(f, fixed) < 0) {
			fixed = f
		}
	}
	return true, fixed
}

// open reports whether newer versions are affected as well, as far as is known.
func (a *Affected) open() bool {
	for _, r := range a.Ranges {
		if n := len(r); n > 0 && r[n-1].Kind == Introduced {
			return true
		}
	}
	return false
}
