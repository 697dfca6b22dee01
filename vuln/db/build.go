package db

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/vuln"
	"github.com/camada/camada/vuln/version"
)

// Meta is what a database says of itself.
type Meta struct {
	// Created is when it was made.
	Created time.Time
	Sources []Source
}

// Builder gathers advisories. It is not safe for use by several goroutines.
type Builder struct {
	advisories map[string]*vuln.Advisory
	signals    map[string]vuln.Signals
	// words makes texts that come often, such as versions, take memory once.
	words map[string]string
}

// NewBuilder returns an empty one.
func NewBuilder() *Builder {
	return &Builder{advisories: map[string]*vuln.Advisory{}, signals: map[string]vuln.Signals{}, words: map[string]string{}}
}

// Add adds an advisory, which it keeps. Of two with the same ID the one that was modified last stays, whatever their order. One whose time is not known, as
// trackers have it, adds to another what that one does not say. ErrInvalid for one without an ID, ErrLimit for texts that are too long.
func (b *Builder) Add(a vuln.Advisory) error {
	if err := b.check(&a); err != nil {
		return err
	}
	have, ok := b.advisories[a.ID]
	if !ok {
		b.advisories[a.ID] = &a
		return nil
	}
	newer, older := have, &a
	if newer.Modified.Before(older.Modified) {
		newer, older = older, newer
	}
	b.advisories[a.ID] = newer
	if older.Modified.Unix() <= 0 || older.Modified.Equal(newer.Modified) {
		complete(newer, older)
	}
	return nil
}

// complete adds to an advisory what another one knows of further packages, and what it says of the state of those that it has.
func complete(a, from *vuln.Advisory) {
	have := len(a.Affected)
	for _, x := range from.Affected {
		known := false
		for i := range a.Affected[:have] {
			if y := &a.Affected[i]; y.Ecosystem == x.Ecosystem && y.Name == x.Name {
				known = true
				if y.State == vuln.Undecided {
					y.State = x.State
				}
				if y.Rating == (vuln.Rating{}) {
					y.Rating = x.Rating
				}
			}
		}
		if !known {
			a.Affected = append(a.Affected, x)
		}
	}
}

// AddSignals adds what is known of a CVE to what was known before.
func (b *Builder) AddSignals(id string, s vuln.Signals) error {
	if err := b.word(&id); err != nil {
		return err
	}
	if id == "" || s.EPSS < 0 || s.EPSS > 1 || s.Percentile < 0 || s.Percentile > 1 {
		return errdefs.Invalid("%q has an EPSS of %v, percentile %v, which are no numbers from 0 to 1", id, s.EPSS, s.Percentile)
	}
	have := b.signals[id]
	have.EPSS, have.Percentile = max(have.EPSS, s.EPSS), max(have.Percentile, s.Percentile)
	if have.Exploited.IsZero() || !s.Exploited.IsZero() && s.Exploited.Before(have.Exploited) {
		have.Exploited = s.Exploited
	}
	b.signals[id] = have
	return nil
}

// Len is how many advisories there are.
func (b *Builder) Len() int { return len(b.advisories) }

// check checks an advisory, orders its ranges, and gives it the builder's texts.
func (b *Builder) check(a *vuln.Advisory) error {
	if a.ID == "" {
		return errdefs.Invalid("an advisory has no ID")
	}
	if a.Rating.Tenths > maxTenths {
		return errdefs.Invalid("the advisory %s has a score above 10", a.ID)
	}
	all := []*string{&a.ID, &a.Summary, &a.URL, &a.Rating.Vector}
	refs := func(list []string) {
		for i := range list {
			all = append(all, &list[i])
		}
	}
	refs(a.Aliases)
	refs(a.Upstream)
	for i := range a.Affected {
		x := &a.Affected[i]
		x.Name = vuln.Key(x.Ecosystem, x.Name)
		x.Rating.Tenths = min(x.Rating.Tenths, maxTenths)
		all = append(all, &x.Ecosystem, &x.Name, &x.Rating.Vector)
		refs(x.Versions)
		for j := range x.Imports {
			all = append(all, &x.Imports[j].Path)
			refs(x.Imports[j].Symbols)
			refs(x.Imports[j].GOOS)
			refs(x.Imports[j].GOARCH)
			if len(x.Imports[j].Symbols) > maxList || len(x.Imports) > maxList {
				return errdefs.Limit("the advisory %s names more than %d functions", a.ID, maxList)
			}
		}
		compare, known := version.For(x.Ecosystem)
		for _, r := range x.Ranges {
			if known {
				r.Sort(compare)
			}
			for j := range r {
				all = append(all, &r[j].Version)
			}
			if len(r) > maxList {
				return errdefs.Limit("the advisory %s has more than %d events", a.ID, maxList)
			}
		}
		if len(x.Versions) > maxList || len(x.Ranges) > maxList {
			return errdefs.Limit("the advisory %s has more than %d versions", a.ID, maxList)
		}
	}
	for _, s := range all {
		if err := b.word(s); err != nil {
			return fmt.Errorf("the advisory %s: %w", a.ID[:min(len(a.ID), 100)], err)
		}
	}
	return nil
}

// word replaces a text by the same one that is kept already.
func (b *Builder) word(s *string) error {
	if len(*s) > maxText {
		return errdefs.Limit("a text has more than %d bytes", maxText)
	}
	have, ok := b.words[*s]
	if !ok {
		have = strings.Clone(*s)
		b.words[have] = have
	}
	*s = have
	return nil
}

// Write writes the database to a file: aside, synced, and renamed. A file of that name that is open stays as it is for who has it.
func (b *Builder) Write(name string, m Meta) error {
	parts, err := b.encode(m)
	if err != nil {
		return err
	}
	return Install(name, func(f *os.File) error {
		for _, part := range parts {
			if _, err := f.Write(part); err != nil {
				return err
			}
		}
		return nil
	})
}

// Install makes a file of what write writes, which is whole or not there.
func Install(name string, write func(*os.File) error) error {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the directory of the advisory database: %w", err)
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("write the advisory database: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := write(f); err != nil {
		return fmt.Errorf("write the advisory database: %w", err)
	}
	for _, step := range []func() error{
		func() error { return f.Chmod(0o644) }, f.Sync, f.Close,
		func() error { return os.Rename(f.Name(), name) },
		func() error { return syncDir(dir) },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("write the advisory database: %w", err)
		}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// encoder makes the sections.
type encoder struct {
	section [sectionCount][]byte
	refs    map[string]uint32
	err     error
}

// text returns the reference of a text.
func (e *encoder) text(s string) uint32 {
	if ref, ok := e.refs[s]; ok {
		return ref
	}
	off := len(e.section[texts])
	e.section[texts] = append(binary.AppendUvarint(e.section[texts], uint64(len(s))), s...)
	e.refs[s] = e.offset(off)
	return e.refs[s]
}

func (e *encoder) offset(n int) uint32 {
	if uint64(n) > math.MaxUint32 {
		e.err = errdefs.Limit("the advisory database would have more than %d bytes of one kind", uint64(math.MaxUint32))
	}
	return uint32(n)
}

func (e *encoder) row(section int, numbers ...uint32) {
	for _, n := range numbers {
		e.section[section] = binary.LittleEndian.AppendUint32(e.section[section], n)
	}
}

// put writes a list to data and returns its offset.
func (e *encoder) put(write func(*writer)) uint32 {
	off := e.offset(len(e.section[data]))
	w := &writer{buf: e.section[data], text: e.text}
	write(w)
	e.section[data] = w.buf
	return off
}

// pair is an affected package with where its advisory lies.
type pair struct {
	affected *vuln.Affected
	advisory uint32
}

// encode makes the file, in parts.
func (b *Builder) encode(m Meta) ([][]byte, error) {
	e := &encoder{refs: map[string]uint32{}}
	e.text("")
	var pairs []pair
	var newest time.Time
	count := uint32(0)
	for _, id := range slices.Sorted(maps.Keys(b.advisories)) {
		a := b.advisories[id]
		if a.Modified.After(newest) {
			newest = a.Modified
		}
		if !a.Withdrawn.IsZero() || len(a.Affected) == 0 {
			continue
		}
		count++
		at := e.put(func(w *writer) { w.advisory(a) })
		e.row(ids, e.text(id), at)
		for i := range a.Affected {
			pairs = append(pairs, pair{&a.Affected[i], at})
		}
	}
	e.tables(pairs)
	for _, id := range slices.Sorted(maps.Keys(b.signals)) {
		s := b.signals[id]
		days := uint32(0)
		if !s.Exploited.IsZero() {
			days = uint32(max(s.Exploited.Unix()/day, 1))
		}
		e.row(signals, e.text(id), uint32(math.Round(s.EPSS*million)), uint32(math.Round(s.Percentile*million)), days)
	}
	list, err := json.Marshal(append([]Source{}, m.Sources...))
	if err != nil {
		return nil, err
	}
	e.section[sources] = list
	return e.file(m.Created, newest, count), e.err
}

// tables makes the tables of ecosystems, packages and entries.
func (e *encoder) tables(pairs []pair) {
	slices.SortStableFunc(pairs, func(a, b pair) int {
		return cmp.Or(strings.Compare(a.affected.Ecosystem, b.affected.Ecosystem), strings.Compare(a.affected.Name, b.affected.Name))
	})
	for i := 0; i < len(pairs); {
		eco, firstPackage, n := pairs[i].affected.Ecosystem, e.rows(packages), uint32(0)
		for i < len(pairs) && pairs[i].affected.Ecosystem == eco {
			name, first, count := pairs[i].affected.Name, e.rows(entries), uint32(0)
			for ; i < len(pairs) && pairs[i].affected.Ecosystem == eco && pairs[i].affected.Name == name; i++ {
				e.row(entries, e.put(func(w *writer) { w.affected(pairs[i].affected) }), pairs[i].advisory)
				count++
			}
			e.row(packages, e.text(name), first, count)
			n++
		}
		e.row(ecosystems, e.text(eco), firstPackage, n)
	}
}

func (e *encoder) rows(section int) uint32 {
	return e.offset(len(e.section[section]) / rowSize(section))
}

// file puts the sections together, each at a multiple of eight: the header, and what follows it.
func (e *encoder) file(created, newest time.Time, advisories uint32) [][]byte {
	le := binary.LittleEndian
	head := make([]byte, headerSize)
	parts, size, body := [][]byte{head}, headerSize, sha256.New()
	add := func(part []byte) {
		parts, size = append(parts, part), size+len(part)
		body.Write(part)
	}
	for i, s := range e.section {
		add(make([]byte, -size&7))
		le.PutUint64(head[atTable+16*i:], uint64(size))
		le.PutUint64(head[atTable+16*i+8:], uint64(len(s)))
		add(s)
	}
	copy(head, Magic)
	le.PutUint32(head[atVersion:], format)
	le.PutUint32(head[atSections:], sectionCount)
	le.PutUint64(head[atSize:], uint64(size))
	le.PutUint64(head[atCreated:], uint64(created.Unix()))
	if !newest.IsZero() {
		le.PutUint64(head[atNewest:], uint64(newest.Unix()))
	}
	le.PutUint32(head[atAdvisories:], advisories)
	copy(head[atBodySum:], body.Sum(nil))
	sum := sha256.Sum256(head[:atHeaderSum])
	copy(head[atHeaderSum:], sum[:])
	return parts
}
