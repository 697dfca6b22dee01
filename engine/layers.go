package engine

import (
	"time"

	"github.com/docker/go-units"
)

// LayerRow is one layer of a LayersReport. Sizes are in bytes.
type LayerRow struct {
	// Number counts from 1, the base.
	Number  int
	Digest  string
	DiffID  string
	ChainID string
	Created time.Time
	// Instruction is what made the layer, as the image's history has it.
	Instruction string
	Comment     string `json:",omitempty"`
	// Size is as it is stored, Unpacked of its files, Wasted of those that later layers hide.
	Size, Unpacked, Wasted int64
	// Files are the layer's entries; Added, Changed and Removed what it did to those below.
	Files, Added, Changed, Removed int
}

// WasteRow is a file that is in the image more than once, or for nothing.
type WasteRow struct {
	Path    string
	Bytes   int64
	Copies  int
	Layers  []int
	Removed bool `json:",omitempty"`
}

// LayersReport tells what an image is made of.
type LayersReport struct {
	Image    string
	ID       string
	Digest   string
	Platform string
	Layers   []LayerRow
	// Size is of the layers as they are stored, Unpacked of their files.
	Size, Unpacked int64
	// Wasted is what later layers hide or repeat, WastedPercent of what is in the layers above the lowest.
	Wasted        int64
	WastedPercent float64
	// Efficiency is between 0 and 1, 1 without any waste.
	Efficiency float64
	Waste      []WasteRow
}

// Report tells what the image is made of.
func (o *Opened) Report() LayersReport {
	p := o.Config.Platform
	r := LayersReport{
		Image: o.Name, ID: o.ID().String(), Digest: o.Descriptor.Digest.String(), Platform: p.OS + "/" + p.Architecture,
		Layers: []LayerRow{}, Wasted: o.Wasted(), WastedPercent: o.WastedPercent(), Efficiency: o.Efficiency(), Unpacked: o.Image.Size(), Waste: []WasteRow{},
	}
	if p.Variant != "" {
		r.Platform += "/" + p.Variant
	}
	for i := range o.Layers {
		l := &o.Layers[i]
		r.Size += l.Descriptor.Size
		r.Layers = append(r.Layers, LayerRow{
			Number: i + 1, Digest: l.Descriptor.Digest.String(), DiffID: l.DiffID.String(), ChainID: l.ChainID.String(), Created: l.Created,
			Instruction: l.Instruction, Comment: l.Comment, Size: l.Descriptor.Size, Unpacked: l.Unpacked, Wasted: l.Wasted,
			Files: l.Files, Added: l.Added, Changed: l.Changed, Removed: l.Removed,
		})
	}
	for _, w := range o.Waste() {
		r.Waste = append(r.Waste, WasteRow{Path: "/" + w.Path, Bytes: w.Bytes, Copies: w.Copies, Layers: w.Layers, Removed: w.Removed})
	}
	return r
}

// HumanSize is a size as docker shows it.
func HumanSize(n int64) string { return units.HumanSizeWithPrecision(float64(n), 3) }
