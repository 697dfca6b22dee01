// Package index reads the index files of a Debian archive and checks what
// vouches for them: a key vouches for InRelease, InRelease for Packages by size and
// digest, and Packages for each package file.
//
//	text, err := keyring.Open(inRelease, now)
//	rel, err := index.ParseRelease(text)
//	err = rel.Check("bookworm", now, false)
//	file, err := rel.Find("main/binary-amd64/Packages.gz")
//	err = index.ReadPackages(r, func(p index.Package) error { ... })
package index

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/base/debian/control"
	"github.com/camada/camada/errdefs"
)

const maxReleaseFiles = 1 << 20

// skew is how far a Release's Date may lie in the future: clocks differ.
const skew = 24 * time.Hour

// File is an index file that a Release vouches for.
type File struct {
	// Path is relative to the Release's directory.
	Path   string
	Size   int64
	SHA256 string
}

// Release is the top index of one suite.
type Release struct {
	Origin, Label, Suite, Codename string
	Date                           time.Time
	// ValidUntil is zero when there is no end.
	ValidUntil time.Time
	// ByHash tells that index files can be fetched by their digest.
	ByHash                    bool
	Architectures, Components []string
	// Snapshots is where old states of the archive can be had; it has
	// "@SNAPSHOTID@" in place of the time.
	Snapshots string

	noAll bool
	files map[string]File
}

// SeparateAll reports whether packages for all architectures are in an index of their
// own only, and not in that of each architecture as well.
func (r *Release) SeparateAll() bool {
	return !r.noAll && slices.Contains(r.Architectures, "all")
}

// ParseRelease reads a Release file, which must have been verified. Errors are of
// class ErrCorrupt or ErrLimit.
func ParseRelease(text []byte) (*Release, error) {
	p, err := control.NewReader(bytes.NewReader(text)).Next()
	if err != nil {
		return nil, errdefs.Corrupt("read Release: %w", err)
	}
	r := &Release{
		Origin: p.Get("Origin"), Label: p.Get("Label"), Suite: p.Get("Suite"), Codename: p.Get("Codename"),
		ByHash:        p.Get("Acquire-By-Hash") == "yes",
		Architectures: p.Words("Architectures"), Components: p.Words("Components"),
		Snapshots: p.Get("Snapshots"),
		noAll:     strings.Contains(p.Get("No-Support-for-Architecture-all"), "Packages"),
		files:     map[string]File{},
	}
	if r.Date, err = parseTime(p.Get("Date")); err != nil {
		return nil, errdefs.Corrupt("read Release: Date: %w", err)
	}
	if v := p.Get("Valid-Until"); v != "" {
		if r.ValidUntil, err = parseTime(v); err != nil {
			return nil, errdefs.Corrupt("read Release: Valid-Until: %w", err)
		}
	}
	n := 0
	for line := range strings.SplitSeq(p.Get("SHA256"), "\n") {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if n++; n > maxReleaseFiles {
			return nil, errdefs.Limit("read Release: more than %d files", maxReleaseFiles)
		}
		f, err := parseFile(words)
		if err != nil {
			return nil, errdefs.Corrupt("read Release: %q: %w", line, err)
		}
		r.files[f.Path] = f
	}
	return r, nil
}

func parseFile(words []string) (File, error) {
	if len(words) != 3 {
		return File{}, errdefs.Corrupt("want digest, size and name")
	}
	if !isSHA256(words[0]) {
		return File{}, errdefs.Corrupt("not a SHA-256")
	}
	size, err := strconv.ParseInt(words[1], 10, 64)
	if err != nil || size < 0 {
		return File{}, errdefs.Corrupt("not a size")
	}
	if err := CheckPath(words[2]); err != nil {
		return File{}, err
	}
	return File{Path: words[2], Size: size, SHA256: words[0]}, nil
}

func isSHA256(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && strings.ToLower(s) == s
}

// CheckPath returns an error of class ErrCorrupt when p is not a clean path
// below the directory that it is relative to.
func CheckPath(p string) error {
	if p == "" || len(p) > 4096 {
		return errdefs.Corrupt("path %q: empty or too long", p)
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == "" || part == "." || part == ".." {
			return errdefs.Corrupt("path %q: leads out of its directory or is not clean", p)
		}
	}
	if strings.ContainsAny(p, "\x00\\\n\r") {
		return errdefs.Corrupt("path %q: has a character that is not allowed", p)
	}
	return nil
}

// parseTime reads the time formats of Release files. They are in UTC.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{"Mon, _2 Jan 2006 15:04:05 MST", time.RFC1123Z} {
		if t, err := time.Parse(layout, s); err == nil {
			if _, off := t.Zone(); off != 0 || layout == time.RFC1123Z || t.Location() == time.UTC || strings.HasSuffix(s, "GMT") {
				return t.UTC(), nil
			}
		}
	}
	return time.Time{}, errdefs.Corrupt("%q is not a time in UTC", s)
}

// Check tells whether r is the Release of the suite that was asked for (by its
// name or codename) and of this time. With old, it may have run out. A wrong suite is
// ErrCorrupt: a mirror must not answer for another. A time that is wrong is ErrUnavailable.
func (r *Release) Check(suite string, now time.Time, old bool) error {
	if suite != r.Suite && suite != r.Codename {
		return errdefs.Corrupt("suite %s was asked for, but the archive sent that of %s (%s)", suite, r.Codename, r.Suite)
	}
	if r.Date.After(now.Add(skew)) {
		return errdefs.Unavailable("suite %s is of %s, which is in the future: check the clock", suite, r.Date.Format(time.RFC3339))
	}
	if !old && !r.ValidUntil.IsZero() && now.After(r.ValidUntil) {
		return errdefs.Unavailable("suite %s was valid until %s only: the mirror is out of date", suite, r.ValidUntil.Format(time.RFC3339))
	}
	return nil
}

// Find returns the first of the paths that the Release vouches for, ErrNotFound when
// there is none.
func (r *Release) Find(paths ...string) (File, error) {
	for _, p := range paths {
		if f, ok := r.files[p]; ok {
			return f, nil
		}
	}
	return File{}, errdefs.NotFound("suite %s has none of %s", r.Codename, strings.Join(paths, ", "))
}
