package gc

import (
	"context"

	"github.com/camada/camada/content"
	"github.com/opencontainers/go-digest"
)

// Usage is what a store holds, by kind.
type Usage struct {
	// Blobs are all blobs.
	Blobs Count `json:"blobs"`
	// Shared blobs are parts of more than one image that refs name: they are stored once.
	Shared Count `json:"shared"`
	// Saved is what the shared blobs would take more if each image had its own, in bytes.
	Saved int64 `json:"saved"`
	// ReclaimableBlobs are what a collection would remove now.
	ReclaimableBlobs Count `json:"reclaimableBlobs"`
	// Snapshots are all snapshots, and what a collection would remove of them.
	Snapshots            Count `json:"snapshots"`
	ReclaimableSnapshots Count `json:"reclaimableSnapshots"`
	// Images is how many different images refs name.
	Images int `json:"images"`
	// Refs is how many refs there are.
	Refs int `json:"refs"`
}

// Measure counts what the store holds. It removes nothing.
func Measure(ctx context.Context, s Store) (Usage, error) {
	res, err := collect(ctx, Store{Blobs: s.Blobs, Snapshots: s.Snapshots, Leases: s.Leases, Referrers: s.Referrers, Roots: s.Roots}, Options{DryRun: true}, true)
	if err != nil {
		return Usage{}, err
	}
	u := Usage{ReclaimableBlobs: res.Blobs, ReclaimableSnapshots: res.Snapshots}
	u.Blobs = Count{res.Blobs.Count + res.KeptBlobs.Count, res.Blobs.Bytes + res.KeptBlobs.Bytes}
	u.Snapshots = Count{res.Snapshots.Count + res.KeptSnapshots.Count, res.Snapshots.Bytes + res.KeptSnapshots.Bytes}
	images, err := u.images(ctx, s)
	if err != nil {
		return Usage{}, err
	}
	return u, u.shares(ctx, s.Blobs, images)
}

// images returns the blobs of each image that a ref names.
func (u *Usage) images(ctx context.Context, s Store) (map[digest.Digest]*marks, error) {
	images := map[digest.Digest]*marks{}
	for _, source := range s.Roots {
		err := source(ctx, func(r Root) error {
			if r.Kind != "ref" {
				return nil
			}
			u.Refs++
			if images[r.Descriptor.Digest] != nil {
				return nil
			}
			m := newMarks(s.Blobs)
			m.add(r)
			images[r.Descriptor.Digest] = m
			return m.follow(ctx)
		})
		if err != nil {
			return nil, err
		}
	}
	u.Images = len(images)
	return images, nil
}

// shares counts the blobs that more than one image has.
func (u *Usage) shares(ctx context.Context, blobs content.Walker, images map[digest.Digest]*marks) error {
	users := map[digest.Digest]int64{}
	for _, m := range images {
		for d := range m.seen {
			users[d]++
		}
	}
	return blobs.Walk(ctx, func(i content.Info) error {
		if n := users[i.Digest]; n > 1 {
			u.Shared.add(i.Size)
			u.Saved += (n - 1) * i.Size
		}
		return nil
	})
}
