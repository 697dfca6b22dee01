package db

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/vuln"
)

// The file. All numbers are little endian. A reference to a text is its offset in the section of texts, where its length stands before
// it (a uvarint); the text at 0 is empty.
//
//	header    256 bytes: magic, version, size, times, counts, the place of each section, SHA-256 of the rest and of the header
//	texts
//	ecosystems  name, first package, number of packages; sorted by name
//	packages    name, first entry, number of entries; sorted within the ecosystem
//	entries     offset of the affected versions in data, offset of the advisory in data
//	ids         text, offset of the advisory in data; sorted
//	signals     text of the CVE, EPSS, percentile (millionths), day of exploitation (since 1970); sorted
//	data        advisories and affected versions, each a list of uvarints
//	sources     JSON
const (
	// Magic is what a database begins with.
	Magic      = "CAMADAVD"
	format     = 2
	headerSize = 256
	maxText    = 64 << 10
	maxList    = 1 << 20
	maxTenths  = 101
	million    = 1_000_000
	day        = 24 * 60 * 60
)

// The sections, by number.
const (
	texts = iota
	ecosystems
	packages
	entries
	ids
	signals
	data
	sources
	sectionCount
)

// The places of the header.
const (
	atVersion    = 8
	atSections   = 12
	atSize       = 16
	atCreated    = 24
	atNewest     = 32
	atAdvisories = 40
	atTable      = 64
	atBodySum    = atTable + 16*sectionCount
	atHeaderSum  = atBodySum + 32
)

// rowSize is the size of a section's rows in bytes; 0 when it has none.
func rowSize(section int) int {
	return [sectionCount]int{ecosystems: 12, packages: 12, entries: 8, ids: 8, signals: 16}[section]
}

// writer makes lists of uvarints.
type writer struct {
	buf  []byte
	text func(string) uint32
}

func (w *writer) number(n uint64) { w.buf = binary.AppendUvarint(w.buf, n) }

func (w *writer) string(s string) { w.number(uint64(w.text(s))) }

func (w *writer) strings(list []string) {
	w.number(uint64(len(list)))
	for _, s := range list {
		w.string(s)
	}
}

// time writes seconds since 1970, and 0 for no time.
func (w *writer) time(t time.Time) {
	if t.IsZero() || t.Unix() < 0 {
		w.number(0)
		return
	}
	w.number(uint64(t.Unix()))
}

func (w *writer) rating(r vuln.Rating) {
	w.string(r.Vector)
	w.number(uint64(r.Tenths))
	w.number(uint64(r.Word))
}

func (w *writer) advisory(a *vuln.Advisory) {
	w.string(a.ID)
	w.strings(a.Aliases)
	w.strings(a.Upstream)
	w.string(a.Summary)
	w.rating(a.Rating)
	w.time(a.Published)
	w.time(a.Modified)
	w.string(a.URL)
}

func (w *writer) affected(a *vuln.Affected) {
	w.number(uint64(a.State))
	w.rating(a.Rating)
	w.number(uint64(len(a.Ranges)))
	for _, r := range a.Ranges {
		w.number(uint64(len(r)))
		for _, e := range r {
			w.number(uint64(e.Kind))
			w.string(e.Version)
		}
	}
	w.strings(a.Versions)
	w.number(uint64(len(a.Imports)))
	for _, x := range a.Imports {
		w.string(x.Path)
		w.strings(x.Symbols)
		w.strings(x.GOOS)
		w.strings(x.GOARCH)
	}
}

// reader reads them. The first error stays, and all that follows is zero.
type reader struct {
	db  *DB
	buf []byte
	err error
}

func (r *reader) number(limit uint64) uint64 {
	if r.err != nil {
		return 0
	}
	n, size := binary.Uvarint(r.buf)
	if size <= 0 || n > limit {
		r.err = r.db.corrupt("a number is out of bounds")
		return 0
	}
	r.buf = r.buf[size:]
	return n
}

func (r *reader) string() string {
	ref := r.number(math.MaxUint32)
	if r.err != nil {
		return ""
	}
	s, err := r.db.text(uint32(ref))
	r.err = err
	return string(s)
}

// length is that of a list whose members take a byte at least.
func (r *reader) length() int {
	return int(r.number(uint64(min(maxList, len(r.buf)))))
}

func (r *reader) strings() []string {
	n := r.length()
	if n == 0 {
		return nil
	}
	list := make([]string, 0, n)
	for range n {
		list = append(list, r.string())
		if r.err != nil {
			return nil
		}
	}
	return list
}

func (r *reader) time() time.Time {
	n := r.number(1 << 40)
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(int64(n), 0).UTC()
}

func (r *reader) rating() vuln.Rating {
	return vuln.Rating{Vector: r.string(), Tenths: uint8(r.number(maxTenths)), Word: vuln.Severity(r.number(uint64(vuln.Critical)))}
}

func (r *reader) advisory() vuln.Advisory {
	return vuln.Advisory{ID: r.string(), Aliases: r.strings(), Upstream: r.strings(), Summary: r.string(), Rating: r.rating(), Published: r.time(), Modified: r.time(), URL: r.string()}
}

// affected leaves the imports to be read, which few ask for.
func (r *reader) affected(a *vuln.Affected) {
	a.State = vuln.State(r.number(uint64(vuln.Unsupported)))
	a.Rating = r.rating()
	n := r.length()
	a.Ranges = a.Ranges[:0]
	for range n {
		events := make(vuln.Range, 0, r.length())
		for range cap(events) {
			events = append(events, vuln.Event{Kind: vuln.EventKind(r.number(uint64(vuln.Limit))), Version: r.string()})
			if r.err != nil {
				return
			}
		}
		a.Ranges = append(a.Ranges, events)
	}
	a.Versions = r.strings()
}

func (r *reader) imports() []vuln.Import {
	n := r.length()
	var list []vuln.Import
	for range n {
		list = append(list, vuln.Import{Path: r.string(), Symbols: r.strings(), GOOS: r.strings(), GOARCH: r.strings()})
		if r.err != nil {
			return nil
		}
	}
	return list
}

func (d *DB) corrupt(what string) error {
	return errdefs.Corrupt("the advisory database %s is damaged: %s; make it anew with \"camada db update\"", d.name, what)
}
