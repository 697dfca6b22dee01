// Package snapshottest is the suite that every implementation of
// snapshot.Snapshotter passes.
//
//	func TestMain(m *testing.M) { snapshottest.Main(m, open) }
//	func TestSuite(t *testing.T) { snapshottest.Run(t, open) }
//
// Main lets the suite start the test program again as other processes, which are
// killed in the middle of their work.
package snapshottest

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/mount"
	"github.com/camada/camada/snapshot"
	"github.com/opencontainers/go-digest"
)

// Open returns the Snapshotter at dir, which is empty at first. It is called several
// times, also by other processes, with the same dir.
type Open func(dir string, pins lease.Pinner) (snapshot.Snapshotter, error)

// Run runs the suite.
func Run(t *testing.T, open Open) {
	tests := []struct {
		name string
		fn   func(*testing.T, Open)
	}{
		{"Layers", testLayers},
		{"OpaqueRoot", testOpaqueRoot},
		{"RootAttributes", testRootAttributes},
		{"Owners", testOwners},
		{"RoundTrip", testRoundTrip},
		{"FromNothing", testFromNothing},
		{"States", testStates},
		{"BrokenLayer", testBrokenLayer},
		{"Lookup", testLookup},
		{"Remove", testRemove},
		{"Discard", testDiscard},
		{"View", testView},
		{"Usage", testUsage},
		{"Pins", testPins},
		{"ManyLayers", testManyLayers},
		{"NameRace", testNameRace},
		{"Reserve", testReserve},
		{"Concurrent", testConcurrent},
		{"KilledInApply", testKilledInApply},
		{"KilledAnywhere", testKilledAnywhere},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.fn(t, open) })
	}
}

// fixture is a Snapshotter with what tests do again and again.
type fixture struct {
	snapshot.Snapshotter
	t   *testing.T
	dir string
}

func newFixture(t *testing.T, open Open) *fixture {
	t.Helper()
	dir := t.TempDir()
	s, err := open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{s, t, dir}
}

// apply unpacks a layer onto parent.
func (f *fixture) apply(parent string, entries ...entry) string {
	f.t.Helper()
	info, err := f.Apply(f.t.Context(), parent, layerOf(entries...))
	if err != nil {
		f.t.Fatalf("Apply: %v", err)
	}
	if info.State != snapshot.Frozen || info.Parent != parent || info.ID == "" {
		f.t.Fatalf("Apply on %q returned %+v", parent, info)
	}
	return info.ID
}

func (f *fixture) prepare(parent string) string {
	f.t.Helper()
	info, err := f.Prepare(f.t.Context(), parent)
	if err != nil {
		f.t.Fatalf("Prepare: %v", err)
	}
	if info.State != snapshot.Active || info.Parent != parent {
		f.t.Fatalf("Prepare on %q returned %+v", parent, info)
	}
	return info.ID
}

func (f *fixture) freeze(id string) {
	f.t.Helper()
	info, err := f.Freeze(f.t.Context(), id)
	if err != nil || info.State != snapshot.Frozen {
		f.t.Fatalf("Freeze: %+v, %v", info, err)
	}
}

func (f *fixture) remove(id string) {
	f.t.Helper()
	if err := f.Remove(f.t.Context(), id); err != nil {
		f.t.Fatalf("Remove: %v", err)
	}
}

// edit calls fn with the directory of an active snapshot, mounted.
func (f *fixture) edit(id string, fn func(dir string) error) {
	f.t.Helper()
	m, err := f.Mount(f.t.Context(), id)
	if err != nil {
		f.t.Fatalf("Mount: %v", err)
	}
	if m.Kind == mount.Bind {
		if m.ReadOnly {
			f.t.Fatalf("Mount of an active snapshot is read-only: %+v", m)
		}
		if err := fn(m.Source); err != nil {
			f.t.Fatalf("write into snapshot: %v", err)
		}
		return
	}
	fd, err := mount.Detached(m)
	if err != nil {
		f.t.Fatalf("Detached: %v", err)
	}
	defer fd.Close()
	if err := fn(fmt.Sprintf("/proc/self/fd/%d/.", fd.Fd())); err != nil {
		f.t.Fatalf("write into snapshot: %v", err)
	}
}

// tree describes each file of a snapshot's merged tree, by its path.
func (f *fixture) tree(id string) map[string]string {
	f.t.Helper()
	v, err := f.View(f.t.Context(), id)
	if err != nil {
		f.t.Fatalf("View: %v", err)
	}
	defer v.Close()
	files, inodes := map[string]string{}, map[uint64]string{}
	err = archive.Walk(f.t.Context(), v.Dir(), archive.WalkOptions{}, func(n *archive.Node) error {
		e := n.Entry
		text := fmt.Sprintf("%c %04o %d:%d %d", e.Type, e.Mode, e.UID, e.GID, e.ModTime.UnixNano())
		switch e.Type {
		case archive.TypeReg:
			r, err := n.Open()
			if err != nil {
				return err
			}
			defer r.Close()
			h := sha256.New()
			if _, err := io.Copy(h, r); err != nil {
				return err
			}
			text += fmt.Sprintf(" %d %.8x", e.Size, h.Sum(nil))
		case archive.TypeSymlink:
			text += " -> " + e.Linkname
		}
		if n.Nlink > 1 && e.Type != archive.TypeDir {
			if inodes[n.Ino] == "" {
				inodes[n.Ino] = e.Name
			}
			text += " = " + inodes[n.Ino]
		}
		var attrs []string
		for k, v := range e.Xattrs {
			attrs = append(attrs, fmt.Sprintf(" %s=%q", k, v))
		}
		sort.Strings(attrs)
		files[e.Name] = text + strings.Join(attrs, "")
		return nil
	})
	if err != nil {
		f.t.Fatalf("walk the view: %v", err)
	}
	return files
}

// names are the paths of a tree, sorted.
func names(tree map[string]string) []string {
	list := make([]string, 0, len(tree))
	for name := range tree {
		list = append(list, name)
	}
	sort.Strings(list)
	return list
}

// all are the snapshots that Walk shows, by id.
func (f *fixture) all() map[string]snapshot.Info {
	f.t.Helper()
	found := map[string]snapshot.Info{}
	err := f.Walk(f.t.Context(), func(i snapshot.Info) error {
		if _, ok := found[i.ID]; ok {
			f.t.Errorf("Walk showed %s twice", i.ID)
		}
		found[i.ID] = i
		return nil
	})
	if err != nil {
		f.t.Fatalf("Walk: %v", err)
	}
	return found
}

// recover is Recover where the implementation has it.
func (f *fixture) recover() {
	f.t.Helper()
	if r, ok := f.Snapshotter.(snapshot.Reclaimer); ok {
		if err := r.Recover(f.t.Context()); err != nil {
			f.t.Fatalf("Recover: %v", err)
		}
	}
}

// entry is one member of a layer.
type entry struct {
	tar.Header
	content string
}

var epoch = time.Unix(1_600_000_000, 123_456_000)

func file(name, content string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, ModTime: epoch, Size: int64(len(content))}, content}
}

func dir(name string) entry {
	return entry{tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: epoch}, ""}
}

func symlink(name, target string) entry {
	return entry{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, ModTime: epoch}, ""}
}

func link(name, target string) entry {
	return entry{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644, ModTime: epoch}, ""}
}

func (e entry) owned(uid, gid int) entry { e.Uid, e.Gid = uid, gid; return e }
func (e entry) mode(mode int64) entry    { e.Mode = mode; return e }
func (e entry) xattr(name, value string) entry {
	e.PAXRecords = map[string]string{"SCHILY.xattr." + name: value}
	return e
}

// layerOf writes a tar.
func layerOf(entries ...entry) *bytes.Buffer {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Format = tar.FormatPAX
		if err := w.WriteHeader(&e.Header); err != nil {
			panic(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return &b
}

// chainOf is a chainID for tests.
func chainOf(text string) digest.Digest { return digest.FromString(text) }

// recorder is a Pinner that remembers.
type recorder struct {
	mu   sync.Mutex
	pins map[lease.Resource]bool
}

func (r *recorder) Pin(_ context.Context, rs ...lease.Resource) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range rs {
		r.pins[x] = true
	}
	return nil
}

func (r *recorder) has(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pins[lease.Snapshot(id)]
}

// write makes or replaces a file.
func write(dir, name, content string) error {
	return os.WriteFile(dir+"/"+name, []byte(content), 0o644)
}
