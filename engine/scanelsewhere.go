package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/inventory"
	"github.com/camada/camada/inventory/language"
	"github.com/camada/camada/inventory/sbom"
)

// The kinds of what is scanned.
const (
	scanImage = iota
	scanDirectory
	scanSBOM
)

// scanKind tells what a name means: a prefix says it, or what lies there.
func scanKind(name string) (kind int, path string) {
	if rest, ok := strings.CutPrefix(name, "dir:"); ok {
		return scanDirectory, rest
	}
	if rest, ok := strings.CutPrefix(name, "sbom:"); ok {
		return scanSBOM, rest
	}
	// A bare word is an image, whatever lies here.
	if !strings.ContainsAny(name, "/.") {
		return scanImage, name
	}
	st, err := os.Stat(name)
	switch {
	case err != nil:
		return scanImage, name
	case st.IsDir():
		for _, mark := range []string{"oci-layout", "index.json", "manifest.json"} {
			if _, err := os.Stat(filepath.Join(name, mark)); err == nil {
				return scanImage, name
			}
		}
		return scanDirectory, name
	case st.Mode().IsRegular() && beginsAsJSON(name):
		return scanSBOM, name
	}
	return scanImage, name
}

// beginsAsJSON reports whether a file's first character that is no space is a brace. No archive begins so.
func beginsAsJSON(name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	start := make([]byte, 512)
	n, _ := io.ReadFull(f, start)
	return strings.HasPrefix(strings.TrimLeft(string(start[:n]), "\ufeff \t\r\n"), "{")
}

// scanTree reads the packages of the root file system, or of the project, in a directory. Links in it lead to nowhere else.
func scanTree(ctx context.Context, dir string) (*scanned, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		if os.IsNotExist(err) {
			return nil, errdefs.With(errdefs.ErrNotFound, err)
		}
		return nil, err
	}
	defer root.Close()
	inv, err := inventory.Read(ctx, root.FS())
	if err != nil {
		return nil, err
	}
	s := &scanned{functions: map[string]*language.Functions{}}
	pkgs, unread, err := language.ReadTreeWith(ctx, root.FS(), func(name string, f *language.Functions) { s.functions[name] = f })
	if err != nil {
		return nil, err
	}
	if err := inv.Join(pkgs, unread); err != nil {
		return nil, err
	}
	s.Inventory = inv
	return s, nil
}

// readSBOM reads the packages of an SBOM.
func (r *ScanReport) readSBOM(name string) (*scanned, error) {
	f, err := os.Open(name)
	if err != nil {
		if os.IsNotExist(err) {
			return nil, errdefs.With(errdefs.ErrNotFound, err)
		}
		return nil, err
	}
	defer f.Close()
	var buf bytes.Buffer
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
		buf.Grow(int(min(st.Size(), sbom.MaxDocument)) + bytes.MinRead)
	}
	if _, err := buf.ReadFrom(io.LimitReader(f, sbom.MaxDocument+1)); err != nil {
		return nil, err
	}
	res, err := sbom.Read(buf.Bytes())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r.Unnamed = res.Unnamed
	return placedAs(res), nil
}

// placedAs keeps what an SBOM says of layers.
func placedAs(res sbom.Result) *scanned {
	s := &scanned{Inventory: res.Inventory}
	places := map[inventory.Origin]int{}
	for _, o := range res.Origins {
		at := -1
		if o.Layer > 0 {
			var known bool
			if at, known = places[o]; !known {
				at = len(s.Places)
				places[o] = at
				s.Places = append(s.Places, ScanPlace{Layer: o.Layer, LayerDigest: o.Digest, Instruction: o.Instruction, Dockerfile: o.Dockerfile, Line: o.Line})
			}
		}
		s.Layers = append(s.Layers, at)
	}
	return s
}
