package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
	Module     *struct{ Main bool }
}

// list returns the module's packages, without their tests.
func list(t *testing.T) map[string]goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports,Deps,Module", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	pkgs := map[string]goPackage{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Module != nil && p.Module.Main {
			pkgs[strings.TrimPrefix(p.ImportPath, module+"/")] = p
		}
	}
}

func TestImportsGoDownOnly(t *testing.T) {
	used := map[string]bool{}
	for name, p := range list(t) {
		floor, folder := floorOf(name)
		if floor == 0 {
			t.Errorf("%s stands on no floor: add it to floors", name)
			continue
		}
		for _, imp := range p.Imports {
			dep, ours := strings.CutPrefix(imp, module+"/")
			if !ours {
				continue
			}
			below, depFolder := floorOf(dep)
			switch {
			case below < floor:
			case depFolder == folder:
				if !strings.HasPrefix(name, dep+"/") && strings.HasPrefix(dep, name+"/") && name == folder && floor < 4 &&
					!strings.HasPrefix(dep, name+"/internal/") && parts[name+" -> "+dep] == "" {
					t.Errorf("%s imports its child %s: parents hold interfaces, children hold implementations", name, dep)
				}
			case below == floor && sameFloor[folder+" -> "+depFolder] != "":
				used[folder+" -> "+depFolder] = true
			default:
				t.Errorf("%s (floor %d) imports %s (floor %d): imports go down only", name, floor, dep, below)
			}
		}
	}
	for pair := range sameFloor {
		if !used[pair] {
			t.Errorf("sameFloor allows %s, which no package needs", pair)
		}
	}
}

func TestWalls(t *testing.T) {
	pkgs := list(t)
	for _, w := range walls {
		for name, p := range pkgs {
			if name != w.from && !strings.HasPrefix(name, w.from+"/") {
				continue
			}
			for _, to := range w.to {
				if to == module+"/"+w.from {
					continue
				}
				if slices.ContainsFunc(p.Deps, func(d string) bool { return d == to || strings.HasPrefix(d, to+"/") && strings.HasPrefix(to, module) }) {
					t.Errorf("%s reaches %s: %s", name, to, w.reason)
				}
			}
		}
	}
}
