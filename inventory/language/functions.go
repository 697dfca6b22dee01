package language

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"net/url"
	"runtime/debug"
	"slices"
	"sort"
	"strings"

	"github.com/camada/camada/errdefs"
)

const (
	// functionsMagic begins what MarshalBinary makes; it changes with the form, and with what is found.
	functionsMagic = "CAMADAF2"
	// maxFunctions is how many functions a program may have.
	maxFunctions = 4 << 20
)

// Functions are the functions that are linked into one program of Go. Only sums of their names are kept, eight bytes for each: whoever asks knows the names. It is safe for use by several
// goroutines.
type Functions struct {
	// OS and Arch are GOOS and GOARCH; empty when they are not known.
	OS, Arch string
	// Whole says that those are among them which the compiler put into their callers. Then what is not there is not in the program.
	Whole bool

	sums []uint64 // sorted
	// raw is the same as it is kept, in place of sums.
	raw []byte
}

// Has reports whether a function is linked in: "Parse", or "Decoder.Decode" for a method, whether of the type or of pointers to it. An empty function is any of the package. The package is its
// path of import, that of a main package too.
func (f *Functions) Has(pkg, function string) bool { return f.has(sumOf(pkg, function)) }

// HasModule reports whether any function of a module is linked in.
func (f *Functions) HasModule(path string) bool { return f.has(moduleSum(path)) }

// Complete is Whole.
func (f *Functions) Complete() bool { return f.Whole }

// Platform is OS and Arch.
func (f *Functions) Platform() (os, arch string) { return f.OS, f.Arch }

func (f *Functions) has(sum uint64) bool {
	if f.raw == nil {
		_, ok := slices.BinarySearch(f.sums, sum)
		return ok
	}
	n := len(f.raw) / 8
	at := func(i int) uint64 { return binary.LittleEndian.Uint64(f.raw[8*i:]) }
	i := sort.Search(n, func(i int) bool { return at(i) >= sum })
	return i < n && at(i) == sum
}

// sumOf is FNV-1a. One who makes another program's names meet makes a finding that is none, and no more: nothing is found less.
func sumOf(pkg, function string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := range len(pkg) {
		h = (h ^ uint64(pkg[i])) * prime
	}
	h *= prime
	for i := range len(function) {
		h = (h ^ uint64(function[i])) * prime
	}
	return h
}

// moduleSum is of no function: none has a name of one space.
func moduleSum(path string) uint64 { return sumOf(path, " ") }

// MarshalBinary implements encoding.BinaryMarshaler: a magic, a checksum of the rest, the platform, and the sums.
func (f *Functions) MarshalBinary() ([]byte, error) {
	out := make([]byte, 0, len(functionsMagic)+32+len(f.OS)+len(f.Arch)+8*len(f.sums)+len(f.raw))
	out = append(append(out, functionsMagic...), 0, 0, 0, 0)
	for _, s := range []string{f.OS, f.Arch} {
		s = s[:min(len(s), 255)]
		out = append(append(out, byte(len(s))), s...)
	}
	whole := byte(0)
	if f.Whole {
		whole = 1
	}
	out = append(out, whole)
	for _, s := range f.sums {
		out = binary.LittleEndian.AppendUint64(out, s)
	}
	out = append(out, f.raw...)
	const head = len(functionsMagic) + 4
	binary.LittleEndian.PutUint32(out[head-4:], crc32.ChecksumIEEE(out[head:]))
	return out, nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler, and keeps the bytes, which must not change as long as the functions are asked for. What MarshalBinary did not make, or what was cut, is
// ErrCorrupt.
func (f *Functions) UnmarshalBinary(data []byte) error {
	damaged := errdefs.Corrupt("what was kept of the functions of a program is damaged")
	data, ok := bytes.CutPrefix(data, []byte(functionsMagic))
	if !ok || len(data) < 4 || crc32.ChecksumIEEE(data[4:]) != binary.LittleEndian.Uint32(data) {
		return damaged
	}
	data = data[4:]
	var words [2]string
	for i := range words {
		if len(data) == 0 || len(data) < 1+int(data[0]) {
			return damaged
		}
		words[i], data = string(data[1:1+int(data[0])]), data[1+int(data[0]):]
	}
	if len(data) == 0 || data[0] > 1 || (len(data)-1)%8 != 0 {
		return damaged
	}
	*f = Functions{OS: words[0], Arch: words[1], Whole: data[0] == 1, raw: data[1:]}
	return nil
}

// functionsOf finds the functions of a program; nil when it has no table of them that can be read.
func functionsOf(p *program, info *debug.BuildInfo) *Functions {
	t := p.functionTable()
	if t == nil {
		return nil
	}
	f := &Functions{}
	for _, s := range info.Settings {
		switch s.Key {
		case "GOOS":
			f.OS = s.Value
		case "GOARCH":
			f.Arch = s.Value
		}
	}
	paths := pathsOf(info)
	packages := map[string]string{} // as the table has them -> path of import
	add := func(name string) bool {
		pkg, function := functionName(name)
		if pkg == "" {
			return true
		}
		full, ok := packages[pkg]
		if !ok {
			var module string
			full, module = paths.of(pkg)
			packages[pkg] = full
			f.sums = append(f.sums, sumOf(full, ""), moduleSum(module))
		}
		f.sums = append(f.sums, sumOf(full, function))
		return len(f.sums) <= maxFunctions
	}
	f.Whole = t.each(add)
	slices.Sort(f.sums)
	f.sums = slices.Clip(slices.Compact(f.sums))
	return f
}

// functionName cuts the name of a symbol (cmd/internal/objabi): "a.org/b.(*T[...]).M" is M of T in a.org/b. What is of no package, such as types, has none.
func functionName(name string) (pkg, function string) {
	if i, j := strings.IndexByte(name, '['), strings.LastIndexByte(name, ']'); i >= 0 && j > i {
		name = name[:i] + name[j+1:]
	}
	if strings.HasPrefix(name, "go:") || strings.HasPrefix(name, "type:") {
		return "", ""
	}
	slash := max(strings.LastIndexByte(name, '/'), 0)
	dot := strings.IndexByte(name[slash:], '.')
	if dot < 0 {
		return "", ""
	}
	pkg, function = name[:slash+dot], name[slash+dot+1:]
	if strings.Contains(pkg, "%") { // dots in the last part of a path
		if plain, err := url.PathUnescape(pkg); err == nil {
			pkg = plain
		}
	}
	if rest, ok := strings.CutPrefix(function, "(*"); ok {
		if typ, method, ok := strings.Cut(rest, ")."); ok {
			function = typ + "." + method
		}
	}
	return pkg, function
}

// paths know where packages come from.
type paths struct {
	main    string
	modules []debug.Module
}

func pathsOf(info *debug.BuildInfo) *paths {
	p := &paths{main: info.Path, modules: []debug.Module{info.Main}}
	for _, d := range info.Deps {
		p.modules = append(p.modules, *d)
	}
	return p
}

// of returns the path by which advisories know a package, which is that in the module that replaces its own, and that module.
func (p *paths) of(pkg string) (full, module string) {
	if pkg == "main" && p.main != "" {
		pkg = p.main
	}
	best := -1
	for i := range p.modules {
		m := &p.modules[i]
		rest, ok := strings.CutPrefix(pkg, m.Path)
		if ok && m.Path != "" && (rest == "" || rest[0] == '/') && (best < 0 || len(m.Path) > len(p.modules[best].Path)) {
			best = i
		}
	}
	if best < 0 {
		return pkg, "stdlib"
	}
	m := &p.modules[best]
	if m.Replace != nil && m.Replace.Version != "" {
		return m.Replace.Path + strings.TrimPrefix(pkg, m.Path), m.Replace.Path
	}
	return pkg, m.Path
}
