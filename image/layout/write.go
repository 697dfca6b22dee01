package layout

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/internal/flock"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Set moves a ref, or makes it. The blobs that desc needs are in the store and
// durable before (content.Syncer), and pinned until Set returns. A Set that
// changes nothing is not logged, unless it is always to be.
func (r *Refs) Set(ctx context.Context, ref reference.Reference, desc ocispec.Descriptor, opts image.SetOptions) error {
	if err := checkDescriptor(desc); err != nil {
		return err
	}
	desc = clean(desc)
	return r.move(ctx, ref, &desc, opts)
}

// Delete removes a ref; ErrNotFound when there is none.
func (r *Refs) Delete(ctx context.Context, ref reference.Reference, opts image.SetOptions) error {
	return r.move(ctx, ref, nil, opts)
}

// clean drops what belongs to the place that a descriptor came from.
func clean(desc ocispec.Descriptor) ocispec.Descriptor {
	if _, ok := desc.Annotations[ocispec.AnnotationRefName]; ok {
		kept := make(map[string]string, len(desc.Annotations))
		for k, v := range desc.Annotations {
			if k != ocispec.AnnotationRefName {
				kept[k] = v
			}
		}
		desc.Annotations = kept
	}
	if len(desc.Annotations) == 0 {
		desc.Annotations = nil
	}
	desc.Data = nil
	return desc
}

// move moves a ref to a descriptor, nil for nothing.
func (r *Refs) move(ctx context.Context, ref reference.Reference, to *ocispec.Descriptor, opts image.SetOptions) error {
	ref, err := tagOf(ref)
	if err != nil {
		return err
	}
	unlock, err := r.lock(ctx, flock.Exclusive)
	if err != nil {
		return err
	}
	defer unlock()
	if err := r.initLocked(); err != nil {
		return err
	}
	if err := r.finishPending(); err != nil {
		return err
	}
	if to == nil && !r.known(ref) {
		return errdefs.NotFound("no image is named %s", ref.Familiar())
	}
	log, err := r.openLog(ref)
	if err != nil {
		return err
	}
	defer log.close()
	cur, err := r.replay(ref, log)
	if err != nil {
		return err
	}
	if err := allowed(ref, cur, to, opts); err != nil {
		return err
	}
	immutable := to != nil && (opts.Immutable || cur != nil && cur.Immutable)
	if cur != nil && to != nil && immutable == cur.Immutable && reflect.DeepEqual(*to, cur.Descriptor) && opts.Verb != VerbRollback && !opts.Always {
		return nil
	}
	next := line{To: to, Verb: opts.Verb, Note: opts.Note, Immutable: immutable}
	last := time.Time{}
	if log.last != nil {
		last = log.last.Time
	}
	if cur != nil {
		next.From = &cur.Descriptor
		if cur.Updated.After(last) {
			last = cur.Updated
		}
	}
	next.Time = later(last)
	return r.commit(ref, log, next)
}

// known tells whether a ref has a file, or a log to make it from.
func (r *Refs) known(ref reference.Reference) bool {
	file, log := r.paths(ref)
	_, err := os.Lstat(file)
	_, lerr := os.Lstat(log)
	return err == nil || lerr == nil
}

// allowed checks a move against what the ref points to now.
func allowed(ref reference.Reference, cur *value, to *ocispec.Descriptor, opts image.SetOptions) error {
	var now digest.Digest
	if cur != nil {
		now = cur.Descriptor.Digest
	}
	if opts.Expect != nil && *opts.Expect != now {
		return errdefs.Conflict("%s points to %s, not to %s", ref.Familiar(), orNothing(now), orNothing(*opts.Expect))
	}
	switch {
	case cur == nil && to == nil:
		return errdefs.NotFound("no image is named %s", ref.Familiar())
	case cur == nil || !cur.Immutable:
		return nil
	case to == nil:
		return errdefs.Conflict("%s is immutable and cannot be removed", ref.Familiar())
	case to.Digest != now:
		return errdefs.Conflict("%s is immutable and points to %s; it cannot be moved to %s", ref.Familiar(), now, to.Digest)
	}
	return nil
}

func orNothing(d digest.Digest) string {
	if d == "" {
		return "nothing"
	}
	return d.String()
}

// commit makes a move: steps 1 to 5 of the package comment. What needs room on the
// disk is written before the line that makes the move.
func (r *Refs) commit(ref reference.Reference, log *reflog, next line) error {
	pending := r.pendingFile()
	err := os.WriteFile(pending, []byte(ref.String()), 0o644)
	if err == nil {
		if err = r.prepare(ref, next); err == nil {
			err = log.append(next)
		}
	} else {
		err = class("begin move", err)
	}
	if err != nil {
		r.dropTemporary()
		os.Remove(pending)
		return err
	}
	// From here on the ref has moved; what fails now is done by the next one.
	if next.To == nil {
		err = r.remove(ref)
	} else {
		file, _ := r.paths(ref)
		err = r.rename(r.temporary("value"), file)
	}
	if err != nil {
		return err
	}
	if err := r.rename(r.temporary("index"), filepath.Join(r.root, ocispec.ImageIndexFile)); err != nil {
		return err
	}
	return r.donePending()
}

// prepare writes the files that are renamed once the ref has moved.
func (r *Refs) prepare(ref reference.Reference, next line) error {
	tags, err := r.listWhole()
	if err != nil {
		return err
	}
	tags = slices.DeleteFunc(tags, func(t image.Tag) bool { return t.Reference == ref })
	if next.To != nil {
		v := value{Descriptor: *next.To, Updated: next.Time, Immutable: next.Immutable}
		if err := r.prepareValue(ref, v); err != nil {
			return err
		}
		tags = append(tags, v.tag(ref))
		sortTags(tags)
	}
	index, err := indexOf(tags)
	if err != nil {
		return err
	}
	return writeSync(r.temporary("index"), index)
}

func (r *Refs) prepareValue(ref reference.Reference, v value) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(data) >= maxFile {
		return errdefs.Limit("ref %s: a descriptor of %d bytes", ref.Familiar(), len(data))
	}
	file, _ := r.paths(ref)
	if err := makeDir(filepath.Dir(file)); err != nil {
		return err
	}
	return writeSync(r.temporary("value"), append(data, '\n'))
}

// remove removes a ref's file durably, and the directories that get empty.
func (r *Refs) remove(ref reference.Reference) error {
	file, _ := r.paths(ref)
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return class("remove ref", err)
	}
	dir := filepath.Dir(file)
	if err := syncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// The first directory that is not empty ends it.
	for base := filepath.Join(r.root, "refs"); dir != base && os.Remove(dir) == nil; {
		dir = filepath.Dir(dir)
	}
	return nil
}

// apply makes the ref's file what a line of its log says.
func (r *Refs) apply(ref reference.Reference, l line) error {
	if l.To == nil {
		return r.remove(ref)
	}
	v := value{Descriptor: *l.To, Updated: l.Time, Immutable: l.Immutable}
	if err := r.prepareValue(ref, v); err != nil {
		return err
	}
	file, _ := r.paths(ref)
	return r.rename(r.temporary("value"), file)
}

// donePending is the last step of a move.
func (r *Refs) donePending() error {
	if err := os.Remove(r.pendingFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return class("end move", err)
	}
	return nil
}

// replay returns what a ref points to now, nil for nothing: the newer one of
// its file and the last line of its log. They differ after a machine stopped in the middle of
// a move; then the file is made from the line.
func (r *Refs) replay(ref reference.Reference, log *reflog) (*value, error) {
	cur, err := r.read(ref)
	switch {
	case err == nil && (log.last == nil || cur.Updated.After(log.last.Time)):
		return &cur, nil
	case err != nil && !errdefs.IsNotFound(err) && !errdefs.IsCorrupt(err) && !errdefs.IsLimit(err):
		return nil, err
	case err != nil && log.last == nil:
		if errdefs.IsNotFound(err) {
			return nil, nil
		}
		return nil, err
	}
	if log.last.To == nil {
		if err == nil {
			return nil, r.apply(ref, *log.last)
		}
		return nil, nil
	}
	want := value{Descriptor: *log.last.To, Updated: log.last.Time, Immutable: log.last.Immutable}
	if err == nil && reflect.DeepEqual(cur, want) {
		return &cur, nil
	}
	return &want, r.apply(ref, *log.last)
}

func (r *Refs) pendingFile() string { return filepath.Join(r.root, "refs", ".pending") }

// finishPending ends a move that a killed process left. The exclusive lock is held.
func (r *Refs) finishPending() error {
	data, err := os.ReadFile(r.pendingFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return class("finish move", err)
	}
	// A name that is not whole was written before anything else happened.
	if ref, err := reference.Parse(strings.TrimSpace(string(data))); err == nil && ref.Tag != "" && r.known(ref) {
		log, err := r.openLog(ref)
		if err != nil {
			return err
		}
		defer log.close()
		if _, err := r.replay(ref, log); err != nil {
			return err
		}
	}
	if err := r.writeIndex(); err != nil {
		return err
	}
	r.dropTemporary()
	return r.donePending()
}

// dropTemporary removes what was prepared for a move that did not happen.
func (r *Refs) dropTemporary() {
	for _, name := range []string{"value", "index"} {
		os.Remove(r.temporary(name)) //nolint:errcheck // the next move writes over it
	}
}

// heal is finishPending for readers of one ref, who take no lock: it does nothing when another process is at work, or when the
// store cannot be written.
func (r *Refs) heal() {
	if !r.pending() {
		return
	}
	f, err := r.openLock()
	if err != nil {
		return
	}
	defer f.Close()
	if ok, err := flock.TryExclusive(f); err != nil || !ok {
		return
	}
	// An error comes again for the next writer, who can report it.
	_ = r.finishPending()
}

func (r *Refs) pending() bool {
	_, err := os.Lstat(r.pendingFile())
	return err == nil
}

// readLock takes the shared lock when no move is half done. Under that lock nobody moves, so that what is pending then was left by a
// killed process; it is finished first, unless the store cannot be written.
func (r *Refs) readLock(ctx context.Context) (unlock func(), err error) {
	for {
		if unlock, err = r.lock(ctx, flock.Shared); err != nil || !r.pending() {
			return unlock, err
		}
		unlock()
		alone, err := r.lock(ctx, flock.Exclusive)
		if err != nil {
			return nil, err
		}
		err = r.finishPending()
		alone()
		if err != nil {
			return r.lock(ctx, flock.Shared)
		}
	}
}
