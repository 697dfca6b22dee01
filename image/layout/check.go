package layout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/internal/flock"
	"github.com/camada/camada/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The kinds of findings.
const (
	// BadRef: a ref's file cannot be read.
	BadRef = "bad-ref"
	// MissingRef: the reflog says that the ref points to something, and it is not there.
	MissingRef = "missing-ref"
	// StaleRef: the ref's file is not what its reflog says.
	StaleRef = "stale-ref"
	// MissingLog: a ref has no reflog, or one that ends too early.
	MissingLog = "missing-reflog"
	// TornLog: a reflog ends in the middle of a line.
	TornLog = "torn-reflog"
	// BadLine: a line of a reflog cannot be read.
	BadLine = "bad-reflog-line"
	// Stray: a file that does not belong where it is.
	Stray = "stray-file"
	// BadIndex: index.json is not what the refs say.
	BadIndex = "bad-index"
	// BadLayout: oci-layout is missing or not valid.
	BadLayout = "bad-layout"
)

// Finding is something that is wrong with refs.
type Finding struct {
	// Kind is one of the constants above.
	Kind string
	// Path is relative to the root.
	Path string
	// Err says what is wrong.
	Err error
	// Repaired tells that it is wrong no more.
	Repaired bool
}

// Check compares refs, reflogs, index.json and oci-layout with each other, and
// repairs them when repair is set: lines and files that cannot be read go to the directory
// lost, refs are made anew from their logs, and index.json from the refs. A
// move that a killed process left is finished before, and is no finding.
func (r *Refs) Check(ctx context.Context, repair bool, lost string, report func(Finding)) error {
	if _, err := os.Lstat(filepath.Join(r.root, "refs")); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(filepath.Join(r.root, "reflog")); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	lock := r.readLock
	if repair {
		r.heal()
		lock = func(ctx context.Context) (func(), error) { return r.lock(ctx, flock.Exclusive) }
	}
	unlock, err := lock(ctx)
	if err != nil {
		return fmt.Errorf("check refs: %w", err)
	}
	defer unlock()
	c := &checker{Refs: r, repair: repair, lost: lost, report: report}
	for _, step := range []func(context.Context) error{c.logs, c.values, c.index} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("check refs: %w", err)
		}
	}
	return nil
}

type checker struct {
	*Refs
	repair bool
	lost   string
	report func(Finding)
}

// found reports a finding, after fix was called when there is one and repair is wanted.
func (c *checker) found(kind, path string, what error, fix func() error) {
	f := Finding{Kind: kind, Path: path, Err: what}
	if rel, err := filepath.Rel(c.root, path); err == nil {
		f.Path = rel
	}
	if c.repair && fix != nil {
		if err := fix(); err != nil {
			f.Err = errors.Join(what, fmt.Errorf("repair: %w", err))
		} else {
			f.Repaired = true
		}
	}
	c.report(f)
}

// keep moves a file to the lost directory.
func (c *checker) keep(path string) error {
	rel, err := filepath.Rel(c.root, path)
	if err != nil {
		return err
	}
	if err := makeDir(c.lost); err != nil {
		return err
	}
	return c.rename(path, filepath.Join(c.lost, strings.ReplaceAll(rel, "/", "%")))
}

// strays reports the files below kind that are no refs.
func (c *checker) strays(ctx context.Context, kind string) error {
	base := filepath.Join(c.root, kind)
	return filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && d.IsDir() {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(path, base+"/")
		if _, ok := refOf(rel); ok && d.Type().IsRegular() || !strings.Contains(rel, "/") && rel[0] == '.' {
			return nil
		}
		c.found(Stray, path, errdefs.Corrupt("it is not the name of a tag"), func() error { return c.keep(path) })
		return nil
	})
}

// logs checks that each line of each reflog can be read.
func (c *checker) logs(ctx context.Context) error {
	if err := c.strays(ctx, "reflog"); err != nil {
		return err
	}
	return c.each(ctx, "reflog", func(ref reference.Reference) error {
		_, path := c.paths(ref)
		data, err := readBounded(path, maxLog)
		if err != nil {
			c.found(BadLine, path, err, nil)
			return nil
		}
		whole := data[:bytes.LastIndexByte(data, '\n')+1]
		if len(whole) < len(data) {
			c.found(TornLog, path, errdefs.Corrupt("the last %d bytes are no whole line", len(data)-len(whole)), func() error {
				return os.Truncate(path, int64(len(whole)))
			})
		}
		if _, bad := parseLog(whole); len(bad) > 0 {
			c.found(BadLine, path, errdefs.Corrupt("line %d: %w (%d lines in all)", bad[0].number, bad[0].err, len(bad)), func() error {
				return c.dropLines(path, whole)
			})
		}
		return nil
	})
}

// dropLines keeps a copy of a reflog in the lost directory, and in its place the lines that can
// be read.
func (c *checker) dropLines(path string, data []byte) error {
	var good []byte
	for text := range bytes.Lines(data) {
		if _, err := parseLine(text); err == nil {
			good = append(good, text...)
		}
	}
	tmp := c.temporary("log")
	if err := writeSync(tmp, good); err != nil {
		return err
	}
	if err := c.keep(path); err != nil {
		return err
	}
	return c.rename(tmp, path)
}

// values checks that each ref's file is what its log says.
func (c *checker) values(ctx context.Context) error {
	if err := c.strays(ctx, "refs"); err != nil {
		return err
	}
	refs := map[reference.Reference]bool{}
	for _, kind := range []string{"refs", "reflog"} {
		err := c.each(ctx, kind, func(ref reference.Reference) error {
			refs[ref] = true
			return nil
		})
		if err != nil {
			return err
		}
	}
	for ref := range refs {
		c.value(ref)
	}
	return nil
}

func (c *checker) value(ref reference.Reference) {
	file, path := c.paths(ref)
	cur, err := c.read(ref)
	last, hasLog := c.last(path)
	if err != nil && !errdefs.IsNotFound(err) {
		c.found(BadRef, file, err, func() error {
			if hasLog {
				return c.apply(ref, last)
			}
			return c.keep(file)
		})
		return
	}
	there := err == nil
	apply := func() error { return c.apply(ref, last) }
	switch {
	case there && (!hasLog || cur.Updated.After(last.Time)):
		c.found(MissingLog, path, errdefs.Corrupt("it does not have the last move of %s", ref.Familiar()), func() error {
			return c.addLine(ref, cur)
		})
	case there && last.To == nil:
		c.found(StaleRef, file, errdefs.Corrupt("the reflog says that it was removed"), apply)
	case there && !reflect.DeepEqual(cur, value{*last.To, last.Time, last.Immutable}):
		c.found(StaleRef, file, errdefs.Corrupt("the reflog says that it points to %s", last.To.Digest), apply)
	case !there && hasLog && last.To != nil:
		c.found(MissingRef, file, errdefs.Corrupt("the reflog says that it points to %s", last.To.Digest), apply)
	}
}

// last returns the last line of a reflog that can be read.
func (c *checker) last(path string) (line, bool) {
	data, err := readBounded(path, maxLog)
	if err != nil {
		return line{}, false
	}
	lines, _ := parseLog(data)
	if len(lines) == 0 {
		return line{}, false
	}
	return lines[len(lines)-1], true
}

// addLine writes the line that a ref's file shows to be missing.
func (c *checker) addLine(ref reference.Reference, cur value) error {
	log, err := c.openLog(ref)
	if err != nil {
		return err
	}
	defer log.close()
	next := line{Time: cur.Updated, To: &cur.Descriptor, Verb: "fsck", Immutable: cur.Immutable}
	if log.last != nil {
		next.From = log.last.To
	}
	return log.append(next)
}

// index checks the files that other tools read.
func (c *checker) index(ctx context.Context) error {
	tags, err := c.listReadable(ctx)
	if err != nil {
		return err
	}
	want, err := indexOf(tags)
	if err != nil {
		return err
	}
	path := filepath.Join(c.root, ocispec.ImageIndexFile)
	if data, err := os.ReadFile(path); err != nil || !sameJSON(data, want) {
		if err == nil {
			err = errdefs.Corrupt("it is not what the refs say")
		}
		c.found(BadIndex, path, err, c.writeIndex)
	}
	path = filepath.Join(c.root, ocispec.ImageLayoutFile)
	var l ocispec.ImageLayout
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &l)
	}
	if err == nil && l.Version != ocispec.ImageLayoutVersion {
		err = errdefs.Corrupt("its version is %.20q, not %q", l.Version, ocispec.ImageLayoutVersion)
	}
	if err != nil {
		c.found(BadLayout, path, err, func() error {
			os.Remove(path)
			return c.initLocked()
		})
	}
	return nil
}

// listReadable is list without the refs that cannot be read.
func (c *checker) listReadable(ctx context.Context) ([]image.Tag, error) {
	var tags []image.Tag
	err := c.each(ctx, "refs", func(ref reference.Reference) error {
		if v, err := c.read(ref); err == nil {
			tags = append(tags, v.tag(ref))
		}
		return nil
	})
	sortTags(tags)
	return tags, err
}

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}
