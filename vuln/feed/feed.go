// Package feed reads advisories in the forms in which others publish them.
//
//	f := feed.Feed{Advisory: builder.Add, Signals: builder.AddSignals}
//	sources, err := f.Read(ctx, "/srv/osv")
//
// It takes a file or a directory with all that lies below it: exports of OSV (all.zip, of any ecosystem), single advisories in OSV's form
// (such as a clone of GitHub's advisory database), the JSON of Debian's security tracker and of Alpine's secdb, EPSS (CSV, also
// with .gz) and CISA's catalog of exploited vulnerabilities (JSON). What a file is, is told by what is in it.
//
// The bytes are foreign: sizes and counts are bounded, and what cannot be read is an error that names the file, never a gap.
package feed

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/vuln"
	"github.com/camada/camada/vuln/db"
)

// The bounds of what is read.
const (
	// maxRecord is the size of one advisory in bytes, maxDocument that of a tracker's whole JSON.
	maxRecord   = 16 << 20
	maxDocument = 1 << 30
	// maxEntries is how many files an export or a directory has, maxTotal how many bytes they have when they are unpacked.
	maxEntries = 4 << 20
	maxTotal   = 64 << 30
)

// The kinds of sources.
const (
	KindOSV    = "osv"
	KindDebian = "debian-tracker"
	KindAlpine = "alpine-secdb"
	KindEPSS   = "epss"
	KindKEV    = "kev"
)

// Feed is where advisories go.
type Feed struct {
	// Advisory and Signals take what was read.
	Advisory func(vuln.Advisory) error
	Signals  func(id string, s vuln.Signals) error
	// Progress, when there is one, hears of each file that is begun, and of the advisories so far.
	Progress func(name string, records int)

	total   int64
	entries int
	records int
}

// Read reads a file or a directory, in the order of names. A directory in which there is nothing that is known is ErrNotFound.
func (f *Feed) Read(ctx context.Context, name string) ([]db.Source, error) {
	st, err := os.Stat(name)
	if err != nil {
		if os.IsNotExist(err) {
			return nil, errdefs.NotFound("read advisories: %w", err)
		}
		return nil, fmt.Errorf("read advisories: %w", err)
	}
	if !st.IsDir() {
		s, err := f.file(ctx, name, filepath.Base(name))
		if err != nil {
			return nil, err
		}
		if s.Kind == "" {
			return nil, errdefs.Invalid("%s holds no advisories in a form that is known", name)
		}
		return []db.Source{s}, nil
	}
	var list []db.Source
	single := db.Source{Name: ".", Kind: KindOSV}
	err = filepath.WalkDir(name, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && p != name {
			return filepath.SkipDir // such as .git
		}
		if !d.Type().IsRegular() || !candidate(d.Name()) {
			return ctx.Err()
		}
		rel, err := filepath.Rel(name, p)
		if err != nil {
			return err
		}
		s, err := f.file(ctx, p, rel)
		switch {
		case err != nil || s.Kind == "":
			return err
		case s.Kind == KindOSV && !strings.HasSuffix(p, ".zip"):
			single.Records += s.Records
			if s.Newest.After(single.Newest) {
				single.Newest = s.Newest
			}
			return nil
		}
		list = append(list, s)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if single.Records > 0 {
		list = append(list, single)
	}
	if len(list) == 0 {
		return nil, errdefs.NotFound("there are no advisories in %s, in a form that is known", name)
	}
	return list, nil
}

// candidate tells by a name whether a file may hold advisories.
func candidate(name string) bool {
	for _, end := range []string{".zip", ".json", ".csv", ".csv.gz", ".json.gz"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// file reads one file; its kind is empty when it holds nothing that is known.
func (f *Feed) file(ctx context.Context, name, shown string) (db.Source, error) {
	if err := ctx.Err(); err != nil {
		return db.Source{}, err
	}
	s, err := f.open(ctx, name, shown)
	if err != nil {
		return s, fmt.Errorf("read advisories from %s: %w", name, err)
	}
	s.Name = shown
	return s, nil
}

func (f *Feed) open(ctx context.Context, name, shown string) (db.Source, error) {
	file, err := os.Open(name)
	if err != nil {
		return db.Source{}, err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return db.Source{}, err
	}
	if f.Progress != nil && st.Size() > maxRecord/64 {
		f.Progress(shown, f.records)
	}
	start := make([]byte, 4)
	if n, err := io.ReadFull(file, start); err != nil {
		start = start[:n]
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return db.Source{}, err
	}
	if bytes.HasPrefix(start, []byte("PK\x03\x04")) || bytes.HasPrefix(start, []byte("PK\x05\x06")) {
		s, err := f.zip(ctx, file, st.Size())
		if err != nil {
			return s, err
		}
		s.Digest, err = digest(file)
		return s, err
	}
	doc, err := readAll(file, bytes.HasPrefix(start, []byte{0x1f, 0x8b}))
	if err != nil {
		return db.Source{}, err
	}
	s, err := f.document(doc)
	if s.Kind != KindOSV {
		sum := sha256.Sum256(doc)
		s.Digest = hex.EncodeToString(sum[:])
	}
	return s, err
}

func digest(f *os.File) (string, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// counted hands an advisory on and counts it.
func (f *Feed) counted(s *db.Source, a vuln.Advisory) error {
	if err := f.Advisory(a); err != nil {
		return err
	}
	f.records++
	s.Records++
	if a.Modified.After(s.Newest) {
		s.Newest = a.Modified
	}
	return nil
}

// clock reads a time; "" and what is none is zero.
func clock(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
