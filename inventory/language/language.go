// Package language finds the packages of programming languages: what is installed (Go and Rust binaries, node_modules, Python's dist-info, jars,
// gems), and what lock files ask for.
//
//	if language.Wanted(name, mode, size) {
//		pkgs, err := language.Parse(name, data)
//	}
//	pkgs, unread, err := language.ReadTree(ctx, os.DirFS(root))
//
// Each file is read by itself, by a pure function of its name and bytes. So what is in a layer can be kept, and stays true. A pom.xml alone says little: ParseProject reads what it
// says, and Resolve makes packages of all that a tree has.
//
// Files are hostile: their sizes, the numbers of packages, and the depths and sizes of archives in archives are bounded. What breaks its own format, or a
// bound, is an error, and whoever lists packages must tell of it.
package language

import (
	"bytes"
	"io/fs"
	"path"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/inventory"
)

// The bounds of what is read, in bytes.
const (
	// maxText is the size of a lock file or another text.
	maxText = 64 << 20
	// MaxFile is the size of a program or an archive: of any file.
	MaxFile = 384 << 20
	// minProgram is the size of the smallest program that is looked at. Those that Go and Rust make are larger.
	minProgram = 96 << 10
)

// found collects the packages of one file.
type found struct {
	name string
	out  []inventory.Package
	seen map[string]bool
	// functions are those of a program of Go, which are looked for only when they are wanted.
	functions *Functions
	want      bool
	// broken says what in an archive could not be read.
	broken error
}

// add keeps a package, once. One without a version is none: nothing can be said of it.
func (f *found) add(typ, name, version, license string) error {
	key := name + "\x00" + version
	if name == "" || version == "" || f.seen[key] {
		return nil
	}
	f.seen[key] = true
	if len(f.out) >= inventory.MaxPackages {
		return errdefs.Limit("more than %d packages", inventory.MaxPackages)
	}
	p, err := inventory.Library(inventory.Package{Type: typ, Name: name, Version: version, License: license, Found: f.name})
	if err != nil {
		return err
	}
	f.out = append(f.out, p)
	return nil
}

// format is one kind of file.
type format struct {
	limit int64
	read  func(f *found, data []byte) error
}

// formatOf returns the kind of a file by its path; false when it is none. It is asked for each file of an image.
func formatOf(name string) (format, bool) {
	base := path.Base(name)
	switch base {
	case "yarn.lock":
		return format{maxText, readYarn}, true
	case "pnpm-lock.yaml":
		return format{maxText, readPnpm}, true
	case "Pipfile.lock":
		return format{maxText, readPipfile}, true
	case "poetry.lock", "uv.lock", "pdm.lock":
		return format{maxText, readPythonLock}, true
	case "Cargo.lock":
		return format{maxText, readCargo}, true
	case "Gemfile.lock", "gems.locked":
		return format{maxText, readGemfile}, true
	case "composer.lock":
		return format{maxText, readComposer}, true
	case "packages.lock.json":
		return format{maxText, readNuGet}, true
	}
	switch {
	case isNodePackage(name, base):
		return format{maxText, readNodePackage}, true
	case isNodeLock(name, base):
		return format{maxText, readNodeLock}, true
	case isPythonMetadata(name, base):
		return format{maxText, readPythonMetadata}, true
	case isRequirements(name, base):
		return format{maxText, readRequirements}, true
	case isGemspec(name, base):
		return format{maxText, readGemspec}, true
	case isComposerInstalled(name, base):
		return format{maxText, readComposer}, true
	case strings.HasSuffix(base, ".deps.json"):
		return format{maxText, readDeps}, true
	case isGradle(name, base):
		return format{maxText, readGradle}, true
	case isPackedPom(name, base):
		return format{maxText, readPackedPom}, true
	case isJar(base):
		return format{MaxFile, readJar}, true
	}
	return format{}, false
}

// Wanted reports whether Parse, or ParseProject where IsProject says so, is to be asked about a regular file: one with a name that tells of packages, or what may be a program. The path is clean and
// relative to the root; size is in bytes.
func Wanted(name string, mode fs.FileMode, size int64) bool {
	return mode&0o111 != 0 && size >= minProgram || IsProject(name) || isFormat(name)
}

func isFormat(name string) bool {
	_, ok := formatOf(name)
	return ok
}

// isProgram reports whether a file begins as a program does (ELF).
func isProgram(data []byte) bool { return bytes.HasPrefix(data, []byte("\x7fELF")) }

// Parse reads the packages that a file tells of, each once. A file that breaks its format is ErrInvalid, one that is too large, or has too many,
// ErrLimit. Of an archive that is broken in part, what could be read comes with the error.
func Parse(name string, data []byte) ([]inventory.Package, error) {
	f, err := parse(name, data, false)
	return f.out, err
}

func parse(name string, data []byte, functions bool) (*found, error) {
	f := &found{name: name, seen: map[string]bool{}, want: functions}
	x, ok := formatOf(name)
	if !ok {
		x = format{limit: MaxFile, read: readProgram}
	}
	if int64(len(data)) > x.limit {
		return f, errdefs.Limit("%s is larger than %d bytes", name, x.limit)
	}
	if err := x.read(f, data); err != nil {
		f.out, f.broken = nil, err
	}
	if f.broken != nil && !errdefs.IsLimit(f.broken) {
		return f, errdefs.Invalid("read the packages of %s: %w", name, f.broken)
	}
	return f, f.broken
}

// within reports whether a directory of this name is on the path.
func within(name, dir string) bool {
	return strings.HasPrefix(name, dir+"/") || strings.Contains(name, "/"+dir+"/")
}
