package feed

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/vuln/db"
)

// zip reads an export: one advisory a file.
func (f *Feed) zip(ctx context.Context, r io.ReaderAt, size int64) (db.Source, error) {
	s := db.Source{Kind: KindOSV}
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return s, errdefs.Corrupt("the zip archive is damaged: %w", err)
	}
	files := slices.DeleteFunc(z.File, func(e *zip.File) bool { return !strings.HasSuffix(e.Name, ".json") })
	slices.SortStableFunc(files, func(a, b *zip.File) int { return strings.Compare(a.Name, b.Name) })
	if f.entries += len(files); f.entries > maxEntries {
		return s, errdefs.Limit("more than %d advisories", maxEntries)
	}
	var buf bytes.Buffer
	for _, e := range files {
		if err := ctx.Err(); err != nil {
			return s, err
		}
		if err := f.entry(&buf, e, &s); err != nil {
			return s, fmt.Errorf("%s: %w", e.Name, err)
		}
	}
	if s.Records == 0 {
		return db.Source{}, nil
	}
	return s, nil
}

// entry reads one advisory of an export.
func (f *Feed) entry(buf *bytes.Buffer, e *zip.File, s *db.Source) error {
	if e.UncompressedSize64 > maxRecord {
		return errdefs.Limit("an advisory of more than %d bytes", maxRecord)
	}
	r, err := e.Open()
	if err != nil {
		return errdefs.Corrupt("%w", err)
	}
	defer r.Close()
	buf.Reset()
	if _, err := io.Copy(buf, io.LimitReader(r, maxRecord+1)); err != nil {
		return errdefs.Corrupt("%w", err)
	}
	if buf.Len() > maxRecord {
		return errdefs.Limit("an advisory of more than %d bytes", maxRecord)
	}
	if f.total += int64(buf.Len()); f.total > maxTotal {
		return errdefs.Limit("more than %d bytes of advisories", int64(maxTotal))
	}
	a, err := ParseOSV(buf.Bytes())
	if err != nil {
		return err
	}
	return f.counted(s, a)
}

// readAll reads a document, that was compressed with gzip or not.
func readAll(r io.Reader, compressed bool) ([]byte, error) {
	if compressed {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, errdefs.Corrupt("%w", err)
		}
		defer z.Close()
		r = z
	}
	doc, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return nil, errdefs.Corrupt("%w", err)
	}
	if len(doc) > maxDocument {
		return nil, errdefs.Limit("a document of more than %d bytes", maxDocument)
	}
	return doc, nil
}

// document reads a document of any kind.
func (f *Feed) document(doc []byte) (db.Source, error) {
	doc = bytes.TrimPrefix(doc, []byte("\xef\xbb\xbf"))
	if !bytes.HasPrefix(bytes.TrimSpace(doc), []byte("{")) {
		return f.epss(doc)
	}
	var kind struct {
		ID             *string          `json:"id"`
		Affected       *json.RawMessage `json:"affected"`
		DistroVersion  *string          `json:"distroversion"`
		CatalogVersion *string          `json:"catalogVersion"`
	}
	if err := json.Unmarshal(doc, &kind); err != nil && !errors.As(err, new(*json.UnmarshalTypeError)) {
		return db.Source{}, errdefs.Invalid("no JSON: %w", err)
	}
	switch {
	case kind.ID != nil && len(doc) <= maxRecord:
		s := db.Source{Kind: KindOSV}
		a, err := ParseOSV(doc)
		if err != nil {
			return s, err
		}
		return s, f.counted(&s, a)
	case kind.DistroVersion != nil:
		return f.alpine(doc)
	case kind.CatalogVersion != nil:
		return f.kev(doc)
	}
	return f.debian(doc)
}
