package engine

import (
	"context"
	"fmt"

	"github.com/camada/camada/image"
	"github.com/camada/camada/progress"
	"github.com/opencontainers/go-digest"
)

// ScannedImage is one image of the store, with what was found in it.
type ScannedImage struct {
	// Names are all tags of the image; the report has the first.
	Names []string
	*ScanReport
	// Err says why it could not be scanned; the report has its name then, and no more.
	Err string `json:",omitempty"`

	err error
}

// Failed is why the image could not be scanned; nil when it was.
func (s *ScannedImage) Failed() error { return s.err }

// ScanAll scans all images of the store that have a tag, each once whatever its tags. Those that were scanned before are not opened. One that is damaged does not keep the others from being scanned.
func (e *Engine) ScanAll(ctx context.Context, o ScanOptions, sink progress.Sink) ([]*ScannedImage, error) {
	x, err := e.beginScan(o, sink)
	if err != nil {
		return nil, err
	}
	defer x.close()
	tags, err := e.refs.List(ctx)
	if err != nil {
		return nil, err
	}
	list, err := image.List(ctx, e.content, tags)
	if err != nil {
		return nil, err
	}
	out := []*ScannedImage{}
	byID := map[digest.Digest]*ScannedImage{}
	for _, row := range list {
		name, id := row.Ref.Reference.Familiar(), row.ID
		if o.Platform != "" { // the row is of the host's
			id = row.Digest
		}
		if have := byID[id]; have != nil && row.Err == nil {
			have.Names = append(have.Names, name)
			continue
		}
		s := &ScannedImage{Names: []string{name}, err: row.Err}
		if s.err == nil {
			byID[id] = s
			s.ScanReport, s.err = x.scanStored(ctx, name, row.Ref.Descriptor)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if s.err != nil {
			s.ScanReport, s.Err = &ScanReport{Image: name, Findings: []ScanFinding{}, Counts: map[string]int{}}, s.err.Error()
			s.err = fmt.Errorf("scan %s: %w", name, s.err)
		}
		out = append(out, s)
	}
	return out, nil
}
