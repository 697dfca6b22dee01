package db

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/inventory"
	"github.com/camada/camada/vuln"
)

// FuzzOpen changes the body of a database, and the places of its sections, under a header whose checksum is right.
func FuzzOpen(f *testing.F) {
	b := NewBuilder()
	if err := b.Add(vuln.Advisory{ID: "GO-1", Affected: []vuln.Affected{{Ecosystem: "Go", Name: "m", Versions: []string{"1.0.0"}, Imports: []vuln.Import{{Path: "m/p", Symbols: []string{"F"}}}}}}); err != nil {
		f.Fatal(err)
	}
	for _, id := range []string{"A", "B"} {
		err := b.Add(vuln.Advisory{ID: id, Aliases: []string{"CVE-1"}, Affected: []vuln.Affected{{Ecosystem: "npm", Name: "a", Versions: []string{"1.0.0"}, Ranges: []vuln.Range{{{Version: "0"}}}}}})
		if err != nil {
			f.Fatal(err)
		}
	}
	if err := b.AddSignals("CVE-1", vuln.Signals{EPSS: 0.5}); err != nil {
		f.Fatal(err)
	}
	parts, err := b.encode(Meta{Created: time.Unix(1, 0)})
	if err != nil {
		f.Fatal(err)
	}
	doc := bytes.Join(parts, nil)
	f.Add(doc)
	for i := headerSize; i < len(doc); i += 13 {
		other := append([]byte{}, doc...)
		other[i] ^= 0x81
		f.Add(other)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) < headerSize {
			return
		}
		doc := bytes.Clone(input)
		copy(doc, Magic)
		binary.LittleEndian.PutUint32(doc[atVersion:], format)
		binary.LittleEndian.PutUint32(doc[atSections:], sectionCount)
		binary.LittleEndian.PutUint64(doc[atSize:], uint64(len(doc)))
		sum := sha256.Sum256(doc[:atHeaderSum])
		copy(doc[atHeaderSum:], sum[:])
		name := filepath.Join(dir, strconv.Itoa(os.Getpid()))
		if err := os.WriteFile(name, doc, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Open(name)
		if err != nil {
			if !errdefs.IsCorrupt(err) {
				t.Fatalf("%v is not of class ErrCorrupt", err)
			}
			return
		}
		defer d.Close()
		inv := inventory.Inventory{Packages: []inventory.Package{{Type: "npm", Name: "a", Version: "1.0.0"}, {Type: "npm", Name: "b"}, {Type: "golang", Name: "m", Version: "v1.0.0"}}}
		linked := func(*inventory.Package) vuln.Linked { return nothing{} }
		if _, err := vuln.Match(t.Context(), d, inv, vuln.Options{Linked: linked}); err != nil && !errdefs.IsCorrupt(err) {
			t.Fatalf("%v is not of class ErrCorrupt", err)
		}
		_, _ = d.Ecosystems()
		_, _ = d.Sources()
		_, _ = d.Lookup("A")
	})
}

// nothing is a program without functions.
type nothing struct{}

func (nothing) Has(_, _ string) bool       { return false }
func (nothing) HasModule(string) bool      { return false }
func (nothing) Complete() bool             { return true }
func (nothing) Platform() (string, string) { return "", "" }
