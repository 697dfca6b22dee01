package test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
)

// layerBytes is a layer as it is stored.
type layerBytes struct {
	digest string
	data   []byte
}

// layerShelf keeps the entries of layers, because most images of a test share them.
type layerShelf struct {
	mu      sync.Mutex
	entries map[string][]layerEntry
}

// layerEntry is one header of a layer's tar, and what is told of the file.
type layerEntry struct {
	name, link string
	dir, hard  bool
	text       string
}

// stubs are the directories that BuildKit's RUN steps leave as places for mounts, and camada's do not.
func stubs() []string { return []string{"dev ", "proc ", "sys "} }

// layer reads a layer, once.
func (s *layerShelf) layer(l layerBytes) ([]layerEntry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.entries[l.digest]; ok {
		return have, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(l.data))
	if err != nil {
		return nil, err
	}
	var out []layerEntry
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		e, err := entryOf(h, r)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	if s.entries == nil {
		s.entries = map[string][]layerEntry{}
	}
	s.entries[l.digest] = out
	return out, nil
}

func entryOf(h *tar.Header, r io.Reader) (layerEntry, error) {
	e := layerEntry{name: path.Clean("/" + h.Name), dir: h.Typeflag == tar.TypeDir}
	if h.Typeflag == tar.TypeLink {
		e.hard, e.link = true, path.Clean("/"+h.Linkname)
		return e, nil
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return e, err
	}
	content := string(data)
	if len(content) > 2000 {
		content = fmt.Sprintf("%x", sha256.Sum256(data))
	}
	age := fmt.Sprint(h.ModTime.Unix())
	if h.ModTime.Unix() == parityEpoch {
		age = "new"
	}
	e.text = fmt.Sprintf("%c %o %d:%d %d,%d %s -> %q %q", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Devmajor, h.Devminor, age, h.Linkname, content)
	for _, k := range sortedKeys(h.PAXRecords) {
		if strings.HasPrefix(k, "SCHILY.xattr.") {
			e.text += fmt.Sprintf(" %s=%q", k, h.PAXRecords[k])
		}
	}
	return e, nil
}

// inode is a file that may have several names.
type inode struct {
	text string
	dir  bool
}

// listing puts layers on top of each other, as the image-spec says, and tells each file in a line.
func (s *layerShelf) listing(t *testing.T, layers []layerBytes) []string {
	t.Helper()
	fs := map[string]*inode{}
	for _, l := range layers {
		entries, err := s.layer(l)
		if err != nil {
			t.Fatalf("layer %s: %v", l.digest, err)
		}
		lower := sortedKeys(fs)
		remove := func(name string, itself bool) {
			for _, k := range lower {
				if strings.HasPrefix(k, strings.TrimSuffix(name, "/")+"/") || itself && k == name {
					delete(fs, k)
				}
			}
		}
		for _, e := range entries { // what a layer hides is below it
			dir, file := path.Split(e.name)
			if file == ".wh..wh..opq" {
				remove(path.Clean(dir), false)
			} else if hidden, ok := strings.CutPrefix(file, ".wh."); ok {
				remove(path.Join(dir, hidden), true)
			} else if old := fs[e.name]; old != nil && old.dir && !e.dir {
				remove(e.name, true)
			}
		}
		for _, e := range entries {
			switch {
			case strings.HasPrefix(path.Base(e.name), ".wh."):
			case e.hard && fs[e.link] == nil:
				t.Fatalf("layer %s: %s is a hard link to %s, which is not there", l.digest, e.name, e.link)
			case e.hard:
				fs[e.name] = fs[e.link]
			default:
				fs[e.name] = &inode{text: e.text, dir: e.dir}
			}
		}
	}
	return lines(fs)
}

// lines tells each file; those that are one file with others name the first of them.
func lines(fs map[string]*inode) []string {
	first := map[*inode]string{}
	var out []string
	for _, name := range sortedKeys(fs) {
		n := fs[name]
		line := strings.TrimPrefix(name, "/") + " "
		if f, ok := first[n]; ok {
			line += "is " + f
		} else {
			first[n] = strings.TrimPrefix(name, "/")
			line += n.text
		}
		isStub := slices.Contains(stubs(), strings.TrimPrefix(name, "/")+" ") && n.text == `5 755 0:0 0,0 new -> "" ""`
		if !isStub {
			out = append(out, line)
		}
		for d := path.Dir(name); d != "/" && fs[d] == nil; d = path.Dir(d) {
			out = append(out, strings.TrimPrefix(d, "/")+" has no header")
		}
	}
	return slices.Compact(out)
}

// readArchive reads the image in an OCI archive.
func (pc *parityCase) readArchive(data []byte) built {
	pc.t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		pc.check(err)
		files[path.Clean(h.Name)], err = io.ReadAll(r)
		pc.check(err)
	}
	blob := func(digest string) []byte { return files["blobs/"+strings.Replace(digest, ":", "/", 1)] }
	var index struct{ Manifests []struct{ Digest string } }
	pc.check(json.Unmarshal(files["index.json"], &index))
	if len(index.Manifests) != 1 {
		pc.t.Fatalf("BuildKit made %d images", len(index.Manifests))
	}
	return pc.readImage(index.Manifests[0].Digest, blob)
}

// readImage reads a manifest and what it names.
func (pc *parityCase) readImage(digest string, blob func(string) []byte) built {
	pc.t.Helper()
	var m struct {
		Config struct{ Digest string }
		Layers []struct{ Digest string }
	}
	pc.check(json.Unmarshal(blob(digest), &m))
	config, err := parityConfig(blob(m.Config.Digest))
	pc.check(err)
	b := built{config: config}
	for _, l := range m.Layers {
		b.layers = append(b.layers, layerBytes{l.Digest, blob(l.Digest)})
	}
	return b
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
