package test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// account walks through all files of a store from which all was collected that may be, and returns
// those that nothing explains. It reads the store as docs/store.md describes it, with no code of
// camada's own. No camada may run meanwhile.
func account(t *testing.T, root string) (odd []string) {
	t.Helper()
	a := &accountant{t: t, root: root, blobs: map[digest.Digest]bool{}, chains: map[digest.Digest]bool{}, snapshots: map[string]bool{}}
	a.names()
	a.containers()
	a.snapshotsOf()
	a.builds()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		parts := strings.Split(rel, "/")
		if parts[0] == "snapshots" && len(parts) == 4 && parts[3] == "fs" {
			return fs.SkipDir // what is in an image is its own affair
		}
		if why := a.explain(parts, d); why != "" {
			odd = append(odd, rel+": "+why)
			if d.IsDir() {
				return fs.SkipDir
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return odd
}

type accountant struct {
	t         *testing.T
	root      string
	blobs     map[digest.Digest]bool
	chains    map[digest.Digest]bool
	snapshots map[string]bool
	ids       []string // of containers
	history   map[string]bool
}

// builds marks what the history of builds leads to.
func (a *accountant) builds() {
	a.history = map[string]bool{"lock": true, "key": true}
	object := func(hex string) { a.history["objects/"+hex[:2]+"/"+hex] = true }
	names, _ := filepath.Glob(filepath.Join(a.root, "history/builds/[0-9a-f]*-*-*"))
	for _, name := range names {
		a.history["builds/"+filepath.Base(name)] = true
		data, err := os.ReadFile(name)
		if err != nil {
			a.t.Error(err)
		}
		for l := range strings.Lines(string(data)) {
			var line struct {
				Begin struct{ Plan string }
				Step  struct {
					Files   digest.Digest
					Mounted []digest.Digest
				}
			}
			if err := json.Unmarshal([]byte(l), &line); err != nil {
				continue // torn
			}
			if line.Begin.Plan != "" {
				object(line.Begin.Plan)
			}
			for _, d := range append(line.Step.Mounted, line.Step.Files) {
				if d == "" {
					continue
				}
				list := "lists/" + d.Encoded()
				a.history[list] = true
				sums, err := os.ReadFile(filepath.Join(a.root, "history", list))
				if err != nil {
					a.t.Error(err)
				}
				for s := range slices.Chunk(sums[strings.IndexByte(string(sums), '\n')+1:], 32) {
					object(digest.NewDigestFromBytes(digest.SHA256, s).Encoded())
				}
			}
		}
	}
}

func (a *accountant) read(name string, v any) {
	a.t.Helper()
	b, err := os.ReadFile(filepath.Join(a.root, name))
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		a.t.Errorf("%s: %v", name, err)
	}
}

// names follows the refs, whose files and index.json must say the same.
func (a *accountant) names() {
	var index ocispec.Index
	a.read("index.json", &index)
	listed := map[digest.Digest]int{}
	for _, d := range index.Manifests {
		listed[d.Digest]++
	}
	err := filepath.WalkDir(filepath.Join(a.root, "refs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == ".lock" {
			return err
		}
		var ref struct{ Descriptor ocispec.Descriptor }
		rel, _ := filepath.Rel(a.root, path)
		a.read(rel, &ref)
		listed[ref.Descriptor.Digest]--
		a.image(ref.Descriptor.Digest)
		return nil
	})
	if err != nil {
		a.t.Error(err)
	}
	for d, n := range listed {
		if n != 0 {
			a.t.Errorf("index.json and refs/ differ about %s", d)
		}
	}
}

// image marks what a manifest or an index leads to.
func (a *accountant) image(d digest.Digest) {
	if a.blobs[d] {
		return
	}
	a.blobs[d] = true
	var doc struct {
		Manifests, Layers []ocispec.Descriptor
		Config            ocispec.Descriptor
	}
	a.read("blobs/"+d.Algorithm().String()+"/"+d.Encoded(), &doc)
	for _, m := range doc.Manifests {
		a.image(m.Digest)
	}
	for _, l := range doc.Layers {
		a.blobs[l.Digest] = true
	}
	if c := doc.Config.Digest; c != "" {
		a.blobs[c] = true
		var cfg ocispec.Image
		a.read("blobs/"+c.Algorithm().String()+"/"+c.Encoded(), &cfg)
		for _, chain := range identity.ChainIDs(slices.Clone(cfg.RootFS.DiffIDs)) {
			a.chains[chain] = true
		}
	}
}

// containers marks what containers are made of.
func (a *accountant) containers() {
	dirs, _ := filepath.Glob(filepath.Join(a.root, "containers/*/config.json"))
	for _, c := range dirs {
		var cfg struct {
			ID, Snapshot string
			Image        ocispec.Descriptor
		}
		rel, _ := filepath.Rel(a.root, c)
		a.read(rel, &cfg)
		a.ids = append(a.ids, cfg.ID)
		a.image(cfg.Image.Digest)
		a.snapshots[cfg.Snapshot] = true
	}
}

// snapshotsOf marks the snapshots of chains and of containers, and those below them.
func (a *accountant) snapshotsOf() {
	links, _ := filepath.Glob(filepath.Join(a.root, "snapshots/*/by-chain/*"))
	for _, l := range links {
		text, _ := os.Readlink(l)
		id, _, _ := strings.Cut(text, "@")
		alg, hex, _ := strings.Cut(filepath.Base(l), "-")
		if a.chains[digest.NewDigestFromEncoded(digest.Algorithm(alg), hex)] {
			a.snapshots[id] = true
		}
	}
	for _, driver := range []string{"overlay", "native"} {
		for id := range a.snapshots {
			var rec struct{ Below []string }
			name := "snapshots/" + driver + "/" + id + "/record.json"
			if _, err := os.Stat(filepath.Join(a.root, name)); err != nil {
				continue
			}
			a.read(name, &rec)
			for _, b := range rec.Below {
				a.snapshots[b] = true
			}
		}
	}
}

// explain says what is wrong with a file or directory being there, "" for nothing.
func (a *accountant) explain(p []string, d fs.DirEntry) string {
	one := func(names ...string) string {
		if slices.Contains(names, p[len(p)-1]) {
			return ""
		}
		return "not a file of the store"
	}
	switch {
	case len(p) == 1:
		return one(".", "oci-layout", "index.json", "blobs", "ingest", "refs", "reflog", "leases", "snapshots", "cache", "history", "containers", "volumes", "tmp", "events", "networks")
	case p[0] == "blobs" && len(p) == 3:
		return a.explainBlob(digest.NewDigestFromEncoded(digest.Algorithm(p[1]), p[2]), d)
	case p[0] == "refs" || p[0] == "reflog":
		if d.IsDir() || len(p) > 3 && p[len(p)-2] == "_tags" {
			return ""
		}
		return one(".lock")
	case p[0] == "leases":
		return one("pin.lock", "collector.lock")
	case p[0] == "ingest" && len(p) > 1, p[0] == "tmp" && len(p) > 1, p[0] == "lost+found":
		return "left by somebody"
	case p[0] == "containers":
		return a.explainContainer(p)
	case p[0] == "snapshots" && len(p) == 2:
		return one("driver.json", "overlay", "native")
	case p[0] == "snapshots":
		return a.explainSnapshot(p)
	case p[0] == "history" && len(p) > 1 && !d.IsDir() && !a.history[strings.Join(p[1:], "/")]:
		return "no build needs it"
	case p[0] == "cache" && len(p) > 2:
		if p[1] == "build" {
			return "a record that was to expire"
		}
		if p[1] == "context" && len(p) == 3 && strings.Contains(p[2], ".") {
			return "not whole"
		}
	}
	return ""
}

func (a *accountant) explainBlob(dgst digest.Digest, d fs.DirEntry) string {
	if dgst.Validate() != nil {
		return "not a blob"
	}
	if !a.blobs[dgst] {
		return "no ref and no container leads to it"
	}
	if info, err := d.Info(); err != nil || info.Mode().Perm() != 0o444 {
		return "a ref points to it, and it is not durable"
	}
	return ""
}

func (a *accountant) explainContainer(p []string) string {
	switch {
	case len(p) == 2 && p[1] == "names" || len(p) > 1 && slices.Contains(a.ids, p[1]):
		return ""
	case len(p) == 3 && p[1] == "names":
		id, _ := os.Readlink(filepath.Join(append([]string{a.root}, p...)...))
		if slices.Contains(a.ids, id) {
			return ""
		}
		return "the name of no container"
	}
	return "no container"
}

func (a *accountant) explainSnapshot(p []string) string {
	switch {
	case p[2] == "lock" || len(p) == 3 && (p[2] == "busy" || p[2] == "by-chain"):
		return ""
	case p[2] == "busy":
		return "nobody unpacks this chain"
	case p[2] == "by-chain":
		text, _ := os.Readlink(filepath.Join(append([]string{a.root}, p...)...))
		if id, _, _ := strings.Cut(text, "@"); a.snapshots[id] {
			return ""
		}
		return "no image has this chain"
	case !a.snapshots[p[2]]:
		return "no image and no container leads to it"
	case len(p) == 5 && p[3] == "children" && !a.snapshots[p[4]]:
		return "no such child"
	}
	return ""
}
