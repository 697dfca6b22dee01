// Package db keeps advisories in one file that is mapped into memory and searched in place.
//
//	b := db.NewBuilder()
//	b.Add(advisory)
//	err := b.Write("advisories.db", db.Meta{Created: now})
//
//	d, err := db.Open("advisories.db")
//	defer d.Close()
//	vuln.Match(ctx, d, inv, vuln.Options{})
//
// To open one reads its header and nothing else, so it takes the same time whatever it has. Nothing in the file is believed: each
// offset is checked when it is followed, and a damaged file is an error of class ErrCorrupt. Verify reads all of it.
//
// The same advisories and the same Meta make the same bytes. A file is written aside and renamed; who has the old one open keeps it.
package db

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"sort"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/vuln"
	"golang.org/x/sys/unix"
)

// MaxSize is the size of a database in bytes.
const MaxSize = 8 << 30

// DB is an open database. It is safe for use by several goroutines until Close.
type DB struct {
	name    string
	file    []byte
	section [sectionCount][]byte
	info    Info
}

// Info is what the header tells.
type Info struct {
	// Created is when the database was made, Newest when the newest of its advisories was changed.
	Created time.Time `json:"created"`
	Newest  time.Time `json:"newest"`
	// Advisories, Packages and Ecosystems count.
	Advisories int `json:"advisories"`
	Packages   int `json:"packages"`
	Ecosystems int `json:"ecosystems"`
	// Signals is how many CVEs it has EPSS or KEV of.
	Signals int `json:"signals"`
	// Size is the file's, in bytes; Digest the SHA-256 of what follows the header, which names its contents.
	Size   int64  `json:"size"`
	Digest string `json:"digest"`
}

// Source is where advisories came from.
type Source struct {
	// Name is the path below what was given, or the URL.
	Name string `json:"name"`
	// Kind is what it is: osv, debian-tracker, alpine-secdb, epss or kev.
	Kind string `json:"kind"`
	// Digest is the SHA-256 of the file, "" for a directory of single files; Records is how many it had, and Newest the newest of them.
	Digest  string    `json:"digest,omitempty"`
	Records int       `json:"records"`
	Newest  time.Time `json:"newest,omitzero"`
}

// Ecosystem is one of those that a database has.
type Ecosystem struct {
	Name string `json:"name"`
	// Packages and Entries are how many packages it has, and pairs of a package and an advisory.
	Packages int `json:"packages"`
	Entries  int `json:"entries"`
}

// Open maps a database. A file that is not there is ErrNotFound, one that is no whole database ErrCorrupt, one of another version of camada ErrUnsupported. The
// caller closes it.
func Open(name string) (*DB, error) {
	f, err := os.Open(name)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, errdefs.NotFound("there is no advisory database at %s; make one with \"camada db update\"", name)
		}
		return nil, fmt.Errorf("open the advisory database: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open the advisory database: %w", err)
	}
	d := &DB{name: name}
	if !st.Mode().IsRegular() || st.Size() < headerSize || st.Size() > MaxSize || uint64(st.Size()) > math.MaxInt {
		return nil, d.corrupt(fmt.Sprintf("it is no file of %d bytes to %d", headerSize, int64(MaxSize)))
	}
	d.file, err = unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the advisory database %s: %w", name, err)
	}
	if err := d.header(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Close unmaps it.
func (d *DB) Close() error {
	file := d.file
	d.file, d.section = nil, [sectionCount][]byte{}
	if file == nil {
		return nil
	}
	return unix.Munmap(file)
}

// guard turns the fault of a page that is not there any more, because someone cut the file short, into an error.
func (d *DB) guard(err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			fault, ok := r.(interface{ Addr() uintptr })
			if !ok {
				panic(r)
			}
			*err = d.corrupt(fmt.Sprintf("it was cut short while it was read (at %#x)", fault.Addr()))
		}
	}
}

// header checks the header.
func (d *DB) header() (err error) {
	defer d.guard(&err)()
	h := d.file[:headerSize]
	le := binary.LittleEndian
	if string(h[:len(Magic)]) != Magic {
		return d.corrupt("it does not begin as one")
	}
	if v := le.Uint32(h[atVersion:]); v != format {
		return errdefs.Unsupported("the advisory database %s has format %d, this camada reads %d; make it anew with \"camada db update\"", d.name, v, format)
	}
	if sum := sha256.Sum256(h[:atHeaderSum]); !bytes.Equal(sum[:], h[atHeaderSum:atHeaderSum+32]) {
		return d.corrupt("the checksum of its header is wrong")
	}
	if le.Uint32(h[atSections:]) != sectionCount || le.Uint64(h[atSize:]) != uint64(len(d.file)) {
		return d.corrupt(fmt.Sprintf("it has %d bytes instead of %d", len(d.file), le.Uint64(h[atSize:])))
	}
	for i := range d.section {
		off, size := le.Uint64(h[atTable+16*i:]), le.Uint64(h[atTable+16*i+8:])
		row := max(rowSize(i), 1)
		if off < headerSize || off > uint64(len(d.file)) || size > uint64(len(d.file))-off || size%uint64(row) != 0 {
			return d.corrupt(fmt.Sprintf("section %d is out of bounds", i))
		}
		d.section[i] = d.file[off : off+size : off+size]
	}
	d.info = Info{
		Created: time.Unix(int64(le.Uint64(h[atCreated:])), 0).UTC(), Newest: time.Unix(int64(le.Uint64(h[atNewest:])), 0).UTC(),
		Advisories: int(le.Uint32(h[atAdvisories:])), Packages: d.rows(packages), Ecosystems: d.rows(ecosystems), Signals: d.rows(signals),
		Size: int64(len(d.file)), Digest: hex.EncodeToString(h[atBodySum:atHeaderSum]),
	}
	return nil
}

// Info returns what the header tells.
func (d *DB) Info() Info { return d.info }

// Verify reads the whole file and compares its checksum.
func (d *DB) Verify() (err error) {
	defer d.guard(&err)()
	if sum := sha256.Sum256(d.file[headerSize:]); hex.EncodeToString(sum[:]) != d.info.Digest {
		return d.corrupt("its checksum is wrong")
	}
	return nil
}

// Sources lists where the advisories came from.
func (d *DB) Sources() (list []Source, err error) {
	defer d.guard(&err)()
	if err := json.Unmarshal(d.section[sources], &list); err != nil {
		return nil, d.corrupt("its list of sources cannot be read")
	}
	return list, nil
}

// Ecosystems lists what it has, by name.
func (d *DB) Ecosystems() (list []Ecosystem, err error) {
	defer d.guard(&err)()
	for i := range d.rows(ecosystems) {
		name, err := d.text(d.field(ecosystems, i, 0))
		if err != nil {
			return nil, err
		}
		first, n, err := d.span(ecosystems, i, packages)
		if err != nil {
			return nil, err
		}
		e := Ecosystem{Name: string(name), Packages: n}
		for p := first; p < first+n; p++ {
			_, n, err := d.span(packages, p, entries)
			if err != nil {
				return nil, err
			}
			e.Entries += n
		}
		list = append(list, e)
	}
	return list, nil
}

// rows is how many a section has.
func (d *DB) rows(section int) int { return len(d.section[section]) / rowSize(section) }

// field is a number of a row.
func (d *DB) field(section, row, field int) uint32 {
	return binary.LittleEndian.Uint32(d.section[section][row*rowSize(section)+4*field:])
}

// text is one of the texts; it lies in the file.
func (d *DB) text(ref uint32) ([]byte, error) {
	area := d.section[texts]
	if uint64(ref) >= uint64(len(area)) {
		return nil, d.corrupt("a text is out of bounds")
	}
	n, size := binary.Uvarint(area[ref:])
	rest := area[ref:]
	if size <= 0 || n > maxText || n > uint64(len(rest)-size) {
		return nil, d.corrupt("the length of a text is out of bounds")
	}
	return rest[size : size+int(n)], nil
}

// span is what a row says of the rows of another section that belong to it.
func (d *DB) span(section, row, of int) (first, n int, err error) {
	first, n = int(d.field(section, row, 1)), int(d.field(section, row, 2))
	if have := d.rows(of); first > have || n > have-first {
		return 0, 0, d.corrupt("a table points out of bounds")
	}
	return first, n, nil
}

// search finds a row by the text in its first field, among n rows from first.
func (d *DB) search(section, first, n int, want string) (row int, ok bool, err error) {
	i := sort.Search(n, func(i int) bool {
		s, e := d.text(d.field(section, first+i, 0))
		if e != nil {
			err = e
		}
		return e != nil || string(s) >= want
	})
	if err != nil || i == n {
		return 0, false, err
	}
	s, err := d.text(d.field(section, first+i, 0))
	return first + i, err == nil && string(s) == want, err
}

// Covers implements vuln.Database.
func (d *DB) Covers(ecosystem string) (ok bool) {
	var fault error
	defer d.guard(&fault)()
	_, ok, err := d.search(ecosystems, 0, d.rows(ecosystems), ecosystem)
	return ok && err == nil
}

// Find implements vuln.Database.
func (d *DB) Find(ecosystem, key string, fn func(*vuln.Entry) error) (err error) {
	defer d.guard(&err)()
	row, ok, err := d.search(ecosystems, 0, d.rows(ecosystems), ecosystem)
	if err != nil || !ok {
		return err
	}
	first, n, err := d.span(ecosystems, row, packages)
	if err != nil {
		return err
	}
	row, ok, err = d.search(packages, first, n, key)
	if err != nil || !ok {
		return err
	}
	first, n, err = d.span(packages, row, entries)
	if err != nil {
		return err
	}
	e := vuln.Entry{}
	for i := first; i < first+n; i++ {
		e.Ecosystem, e.Name = ecosystem, key
		r, err := d.reader(d.field(entries, i, 0))
		if err != nil {
			return err
		}
		if r.affected(&e.Affected); r.err != nil {
			return r.err
		}
		at := d.field(entries, i, 1)
		e.Advisory = func() (vuln.Advisory, error) { return d.advisory(at) }
		e.ReadImports = func() ([]vuln.Import, error) {
			rest := *r
			return rest.imports(), rest.err
		}
		if err := fn(&e); err != nil {
			return err
		}
	}
	return nil
}

// reader begins at an offset of the section data.
func (d *DB) reader(off uint32) (*reader, error) {
	if uint64(off) >= uint64(len(d.section[data])) {
		return nil, d.corrupt("an offset is out of bounds")
	}
	return &reader{db: d, buf: d.section[data][off:]}, nil
}

func (d *DB) advisory(off uint32) (vuln.Advisory, error) {
	r, err := d.reader(off)
	if err != nil {
		return vuln.Advisory{}, err
	}
	a := r.advisory()
	return a, r.err
}

// Lookup finds an advisory by its ID; one that is not there is ErrNotFound. Affected is left out.
func (d *DB) Lookup(id string) (a vuln.Advisory, err error) {
	defer d.guard(&err)()
	row, ok, err := d.search(ids, 0, d.rows(ids), id)
	if err != nil {
		return a, err
	}
	if !ok {
		return a, errdefs.NotFound("the advisory database has no %s", id)
	}
	return d.advisory(d.field(ids, row, 1))
}

// Signals implements vuln.Database.
func (d *DB) Signals(id string) (s vuln.Signals, err error) {
	if len(d.section[signals]) == 0 {
		return s, nil
	}
	defer d.guard(&err)()
	row, ok, err := d.search(signals, 0, d.rows(signals), id)
	if err != nil || !ok {
		return s, err
	}
	s.EPSS, s.Percentile = float64(d.field(signals, row, 1))/million, float64(d.field(signals, row, 2))/million
	if days := d.field(signals, row, 3); days != 0 {
		s.Exploited = time.Unix(int64(days)*day, 0).UTC()
	}
	return s, nil
}
