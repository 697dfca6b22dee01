package language

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"io"
	"runtime/debug"
	"strings"

	"github.com/camada/camada/errdefs"
)

const (
	// maxAudit is the size of the list of crates in a program, in bytes, and when it is not compressed.
	maxAudit = 16 << 20
	// goMark begins the build information of a Go program.
	goMark = "\xff Go buildinf:"
	// maxMarks is how many marks are tried, and maxModules the size of a text about modules.
	maxMarks   = 64
	maxModules = 16 << 20
)

// readProgram reads what is linked into a program: of Go's the modules, of Rust's the crates when it was built with cargo auditable. Others have none.
func readProgram(f *found, data []byte) error {
	if !isProgram(data) {
		return nil
	}
	goes, rust := bytes.Contains(data, []byte(goMark)), bytes.Contains(data, []byte(".dep-v0\x00"))
	if !goes && !rust {
		return nil
	}
	p, err := openProgram(data)
	if err != nil {
		return err
	}
	if goes {
		if err := readGo(f, p); err != nil {
			return err
		}
	}
	if rust {
		return readAuditable(f, p)
	}
	return nil
}

// readGo adds the modules of a Go program. The standard library is the module "stdlib". A program that has the mark for another reason, such as one that reads the information
// of others, has no modules.
func readGo(f *found, p *program) error {
	version, modules := goInfo(p)
	version, _, _ = strings.Cut(version, " ")
	if v, ok := strings.CutPrefix(version, "go"); ok {
		v, _, _ = strings.Cut(v, "-") // what a distribution adds
		if err := f.add("golang", "stdlib", v, "BSD-3-Clause"); err != nil {
			return err
		}
	}
	if modules == "" {
		return nil
	}
	info, err := debug.ParseBuildInfo(modules)
	if err != nil {
		return err
	}
	if info.Main.Version != "(devel)" {
		if err := f.add("golang", info.Main.Path, info.Main.Version, ""); err != nil {
			return err
		}
	}
	if f.want {
		f.functions = functionsOf(p, info)
	}
	for _, d := range info.Deps {
		if d.Replace != nil && d.Replace.Version != "" {
			d = d.Replace
		}
		if err := f.add("golang", d.Path, d.Version, ""); err != nil {
			return err
		}
	}
	return nil
}

// goInfo returns the version of Go and the text about modules, as the linker puts them into a section of their own, or into the data where there are no sections.
func goInfo(p *program) (version, modules string) {
	if b, ok := p.section(".go.buildinfo"); ok && bytes.HasPrefix(b, []byte(goMark)) {
		if version, modules = goInfoAt(p, b); version != "" {
			return version, modules
		}
	}
	rest := p.data
	for tries := 0; tries < maxMarks; rest = rest[1:] {
		i := bytes.Index(rest, []byte(goMark))
		if i < 0 {
			return "", ""
		}
		rest = rest[i:]
		if (len(p.data)-len(rest))%16 != 0 { // a text of the program
			continue
		}
		tries++
		if version, modules = goInfoAt(p, rest); strings.HasPrefix(version, "go") || strings.HasPrefix(version, "devel") {
			return version, modules
		}
	}
	return "", ""
}

// goInfoAt reads the information behind a mark (Go's debug/buildinfo): since Go 1.18 two texts with their lengths, before that two pointers to texts.
func goInfoAt(p *program, b []byte) (version, modules string) {
	if len(b) < 32 {
		return "", ""
	}
	if b[15]&2 != 0 {
		rest := b[32:]
		version, rest = varText(rest)
		modules, _ = varText(rest)
	} else {
		version, modules = p.goText(b, 0), p.goText(b, 1)
	}
	// Sixteen bytes on each side mark the text in memory.
	if n := len(modules); n >= 33 && modules[n-17] == '\n' {
		return version, modules[16 : n-16]
	}
	return version, ""
}

// varText cuts a text with its length before it; "" when it is cut off.
func varText(b []byte) (text string, rest []byte) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) || size > maxModules {
		return "", nil
	}
	return string(b[n : n+int(size)]), b[n+int(size):]
}

// goText follows a pointer to a text, which is an address and a length.
func (p *program) goText(b []byte, i int) string {
	size := int(b[14])
	order := binary.ByteOrder(binary.LittleEndian)
	if b[15]&1 != 0 {
		order = binary.BigEndian
	}
	if size != 4 && size != 8 {
		return ""
	}
	read := func(b []byte, i int) uint64 {
		if size == 4 {
			return uint64(order.Uint32(b[i*size:]))
		}
		return order.Uint64(b[i*size:])
	}
	head, ok := p.loaded(read(b[16:], i))
	if !ok || len(head) < 2*size {
		return ""
	}
	text, ok := p.loaded(read(head, 0))
	if length := read(head, 1); ok && length <= uint64(len(text)) && length <= maxModules {
		return string(text[:length])
	}
	return ""
}

// readAuditable reads the section .dep-v0 (github.com/rust-secure-code/cargo-auditable, "The format"): JSON, compressed with zlib.
func readAuditable(f *found, p *program) error {
	packed, ok := p.section(".dep-v0")
	if !ok {
		return nil
	}
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	defer z.Close()
	list, err := io.ReadAll(io.LimitReader(z, maxAudit+1))
	if err != nil {
		return err
	}
	if len(list) > maxAudit {
		return errdefs.Limit("the list of crates of %s has more than %d bytes", f.name, maxAudit)
	}
	var audit struct {
		Packages []struct{ Name, Version, Kind string }
	}
	if err := json.Unmarshal(list, &audit); err != nil {
		return err
	}
	for _, x := range audit.Packages {
		if x.Kind == "build" || x.Kind == "dev" {
			continue // it is not in the program
		}
		if err := f.add("cargo", x.Name, x.Version, ""); err != nil {
			return err
		}
	}
	return nil
}
