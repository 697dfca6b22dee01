// Package delta makes the layers of an image from what a machine has of earlier versions, and the few bytes that it lacks.
//
// Who publishes an image has its layers and those of earlier versions:
//
//	pub, err := delta.Make(ctx, targets, versions, delta.MakeOptions{Dir: tmp})
//	defer pub.Close()
//	pub.Document, pub.Pack()        // two blobs, for a referrer of the image's manifest
//
// Who pulls it reads the document, which is small, and of the pack the ranges that it needs:
//
//	doc, err := delta.Parse(data)
//	plan := doc.Plan(lacking, have) // which layers are worth it, and what they cost
//	job, err := plan.Collect(ctx, delta.Local{...})
//	err = job.Write(ctx, layer, w)  // the layer's tar
//
// A layer is taken apart into the contents of its files, in order, and the rest: headers, names, padding. A content that some earlier
// layer has is named by its place there. All others are one stream, and so is the rest. Both streams are cut into units of at
// most patch.Max bytes, and of each unit the pack has a patch from what the earlier versions have in its
// place, and the unit itself, compressed, for those who have nothing.
//
// A document is not trusted: what comes out counts only when it has the layer's diffID and, compressed again, the blob's digest.
package delta

import "github.com/opencontainers/go-digest"

const (
	// ArtifactType is the type of the manifest that refers to the image's.
	ArtifactType = "application/vnd.camada.delta.v1"
	// MediaTypeDocument and MediaTypePack are those of its two blobs, in this order.
	MediaTypeDocument = "application/vnd.camada.delta.document.v1+zstd"
	MediaTypePack     = "application/vnd.camada.delta.pack.v1"
)

// What a document may have. A layer with more has no delta.
const (
	// MaxDocument is how big the blob may be, and maxBody what it unpacks to, in bytes.
	MaxDocument = 32 << 20
	maxBody     = 64 << 20
	maxSources  = 512
	maxLayers   = 128
	maxMembers  = 2 << 20
	maxUnits    = 1 << 20
	maxWays     = 8
	maxRefs     = 1 << 20
	maxTar      = 256 << 30
	maxPack     = 64 << 30
	maxSums     = 8 * (maxMembers + maxRefs)
)

// Document says how to make layers.
type Document struct {
	// Sources are the diffIDs of the layers that have what is not in the pack.
	Sources []digest.Digest
	Layers  []Layer
	// Size of the pack in bytes.
	Size int64
}

// Layer says how to make one layer.
type Layer struct {
	// Digest of the blob, DiffID of its tar, and Size of the tar in bytes.
	Digest, DiffID digest.Digest
	Size           int64
	// Recipe makes the blob of the tar: see Compress.
	Recipe string
	// Runs are the contents of the files in the order of the tar.
	Runs []Run
	// Rest is all of the tar that is no content, Fresh the contents that no source has, one after the other.
	Rest, Fresh []Unit
	// Sums of contents that sources have lie in the pack there: 8 bytes of the SHA-256 of each content of a run with a source, then of each
	// whole member that a unit refers to. They help those who have these contents elsewhere.
	Sums Range
}

// Run is some contents that come one after the other.
type Run struct {
	Count int
	// Source has them, from its member First on; or -1: they are fresh.
	Source, First int
}

// Unit is a piece of a stream.
type Unit struct {
	// Size in bytes, at most patch.Max.
	Size int
	// Ways to make it. What is added is independent of the others.
	Ways []Way
}

// Way is a patch.
type Way struct {
	// Rank orders the pack: all ways of one rank lie side by side.
	Rank int
	// Refs are what the old file of the patch is made of, one after the other; none for a patch from nothing.
	Refs []Ref
	// Range of the patch in the pack.
	Range Range

	made int64 // where Make keeps it
}

// Ref is a piece of a source.
type Ref struct {
	Source int
	// Member is 0 for the rest of the source's tar, and 1 for the first content of a file.
	Member         int
	Offset, Length int64
}

// Range is a piece of the pack, in bytes.
type Range struct{ Offset, Length int64 }

// unitSize is what small contents are gathered to, so that they are compressed together.
const unitSize = 256 << 10
