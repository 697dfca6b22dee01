package kv

import (
	"context"
	"os"
	"slices"
)

// Collect removes segments that hold no bodies any more, and moves bodies out of those that hold few. It returns how many bytes it freed. One
// collects at a time.
func (d *DB) Collect(ctx context.Context) (int64, error) {
	d.stateMu.Lock()
	segments := slices.Clone(d.state.Segments)
	d.stateMu.Unlock()
	live := map[uint64]int64{}
	err := d.eachBody(ctx, func(e Entry) error {
		live[e.body.segment] += recordSize(e)
		return nil
	})
	if err != nil {
		return 0, err
	}
	var going []uint64
	var freed int64
	for _, n := range segments {
		fi, err := os.Stat(segmentPath(d.dir, n))
		if err != nil {
			return 0, class("look at a segment", err)
		}
		if live[n] < fi.Size()/2 {
			going = append(going, n)
			freed += fi.Size() - live[n]
		}
	}
	if len(going) == 0 {
		return 0, nil
	}
	if err := d.moveBodies(ctx, going, live); err != nil {
		return 0, err
	}
	return freed, d.dropSegments(going)
}

// recordSize is about what an entry takes in a segment of nothing else. Were it the body's size alone, segments of small bodies would be written again each time.
func recordSize(e Entry) int64 { return recHeader + int64(len(e.Key)+len(e.Head)) + e.BodySize }

func (d *DB) eachBody(ctx context.Context, fn func(Entry) error) error {
	return d.Scan(nil, nil, func(e Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.BodySize < 0 {
			return nil
		}
		return fn(e)
	})
}

// moveBodies writes the bodies that lie in some segments once more.
func (d *DB) moveBodies(ctx context.Context, segments []uint64, live map[uint64]int64) error {
	if !slices.ContainsFunc(segments, func(n uint64) bool { return live[n] > 0 }) {
		return nil
	}
	going := make(map[uint64]bool, len(segments))
	for _, n := range segments {
		going[n] = true
	}
	var some []Entry
	size := int64(0)
	flush := func() error {
		err := d.moveSome(some)
		some, size = some[:0], 0
		return err
	}
	err := d.eachBody(ctx, func(e Entry) error {
		if !going[e.body.segment] {
			return nil
		}
		some, size = append(some, e), size+e.BodySize
		if len(some) < moveAtOnce && size < moveBytes {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// moveAtOnce is how many bodies, and moveBytes about how many bytes of them, are moved by one record. Nobody writes while they are looked up.
const (
	moveAtOnce = 32
	moveBytes  = 1 << 20
)

// moveSome writes some bodies once more, but those that were changed or removed since.
func (d *DB) moveSome(some []Entry) error {
	if len(some) == 0 {
		return nil
	}
	bodies := make([][]byte, len(some))
	for i, e := range some {
		bodies[i] = make([]byte, e.BodySize)
		if err := d.bodies.read(e.body, bodies[i]); err != nil {
			return err
		}
	}
	if err := d.room.wait(); err != nil {
		return err
	}
	var b Batch
	_, err := d.journal.append(&b, func() (bool, error) {
		for i, e := range some {
			now, ok, err := d.Get(e.Key)
			if err != nil {
				return false, err
			}
			if ok && now.BodySize >= 0 && now.body == e.body {
				b.PutBody(e.Key, e.Head, bodies[i])
			}
		}
		return b.Len() > 0, nil
	})
	return err
}

// dropSegments removes segments in which nothing lies any more.
func (d *DB) dropSegments(going []uint64) error {
	// What says so must not be lost after they are.
	d.journal.mu.Lock()
	seq := d.journal.seq
	d.journal.mu.Unlock()
	if err := d.Sync(seq); err != nil {
		return err
	}
	d.stateMu.Lock()
	defer d.stateMu.Unlock()
	s := d.state
	s.Segments = slices.DeleteFunc(slices.Clone(s.Segments), func(n uint64) bool { return slices.Contains(going, n) })
	if err := d.saveState(s); err != nil {
		return err
	}
	for _, n := range going {
		d.bodies.drop(n)
	}
	return nil
}
