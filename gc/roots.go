package gc

import (
	"context"
	"time"

	"github.com/camada/camada/image"
	"github.com/camada/camada/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Keep says how long a reflog entry keeps what it names.
type Keep struct {
	// Time is how long what a ref pointed to stays after the ref was moved.
	Time time.Duration
	// Last is how many of its last entries stay longer, as long as there is the ref.
	Last int
}

// DefaultKeep keeps what a ref pointed to for 30 days, and its last 10 entries.
func DefaultKeep() Keep { return Keep{Time: 30 * 24 * time.Hour, Last: 10} }

// Refs yields what refs point to.
func Refs(refs image.RefReader) Source {
	return func(ctx context.Context, yield func(Root) error) error {
		tags, err := refs.List(ctx)
		if err != nil {
			return err
		}
		for _, t := range tags {
			if err := yield(Root{Kind: "ref", Name: t.Reference.Familiar(), Descriptor: t.Descriptor}); err != nil {
				return err
			}
		}
		return nil
	}
}

// Reflog yields what refs pointed to, so that a rollback finds it: what a ref was moved
// away from less than keep.Time before now, and the last keep.Last entries of
// refs that still are.
func Reflog(refs image.RefLogger, keep Keep, now time.Time) Source {
	return func(ctx context.Context, yield func(Root) error) error {
		var log []image.LogEntry
		var of reference.Reference
		flush := func() error {
			for _, d := range kept(log, keep, now) {
				if err := yield(Root{Kind: "reflog", Name: of.Familiar(), Descriptor: d}); err != nil {
					return err
				}
			}
			return nil
		}
		err := refs.WalkLogs(ctx, func(ref reference.Reference, e image.LogEntry) error {
			if ref != of {
				if err := flush(); err != nil {
					return err
				}
				of, log = ref, nil
			}
			log = append(log, e)
			return nil
		})
		if err != nil {
			return err
		}
		return flush()
	}
}

// kept returns what the entries of one ref keep. The oldest entry is the first.
func kept(log []image.LogEntry, keep Keep, now time.Time) []ocispec.Descriptor {
	var out []ocispec.Descriptor
	lastKept := len(log)
	if len(log) > 0 && log[len(log)-1].To.Digest != "" {
		lastKept = len(log) - keep.Last
	}
	for i, e := range log {
		recent := now.Sub(e.Time) < keep.Time
		// From was current until this entry.
		if e.From.Digest != "" && recent {
			out = append(out, e.From)
		}
		if e.To.Digest != "" && (recent || i >= lastKept) {
			out = append(out, e.To)
		}
	}
	return out
}
