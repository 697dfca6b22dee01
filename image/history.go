package image

import (
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// Missing is the ID of steps of a history whose own image is not known, as
// Docker shows them.
const Missing = "<missing>"

// HistoryRow is one step that made an image.
type HistoryRow struct {
	// ID is the image ID at the last step and Missing at all others.
	ID string
	// Created is zero when it is not known.
	Created   time.Time
	CreatedBy string
	Author    string
	Comment   string
	// Layer and Size are the digest of the step's layer and its size as it is
	// stored (and so compressed, mostly), in bytes; zero when it made none.
	Layer digest.Digest
	Size  int64
	// EmptyLayer is set when the step made no layer.
	EmptyLayer bool
}

// History returns the steps that made the image, the newest first. Layers that the
// config's history does not know get rows of their own, as the newest; steps
// that claim layers that are not there have none.
func (img *Image) History() []HistoryRow {
	layers := img.Layers
	var rows []HistoryRow
	add := func(r HistoryRow) {
		if !r.EmptyLayer && len(layers) > 0 {
			r.Layer, r.Size = layers[0].Digest, layers[0].Size
			layers = layers[1:]
		}
		rows = append(rows, r)
	}
	for _, h := range img.Config.History {
		r := HistoryRow{ID: Missing, CreatedBy: h.CreatedBy, Author: h.Author, Comment: h.Comment, EmptyLayer: h.EmptyLayer}
		if h.Created != nil {
			r.Created = *h.Created
		}
		add(r)
	}
	for len(layers) > 0 {
		add(HistoryRow{ID: Missing})
	}
	slices.Reverse(rows)
	if len(rows) > 0 {
		rows[0].ID = img.ID().String()
	}
	return rows
}
