package imagelint

import (
	"encoding/binary"
	"path"
	"strings"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/layer/index"
)

// HeadSize is how many bytes of a program IsStatic wants.
const HeadSize = 64 << 10

// Program finds the file that an image runs, as far as its config says: "" and nil when it runs a shell, or nothing that is there.
func Program(img *anatomy.Image) (string, *anatomy.Version) {
	cfg := &img.Config.Config
	line := append(append([]string{}, cfg.Entrypoint...), cfg.Cmd...)
	if len(line) == 0 {
		return "", nil
	}
	name := line[0]
	var tries []string
	switch {
	case path.IsAbs(name):
		tries = []string{name}
	case strings.Contains(name, "/"):
		tries = []string{path.Join("/", cfg.WorkingDir, name)}
	default:
		dirs := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
		for _, kv := range cfg.Env {
			if v, ok := strings.CutPrefix(kv, "PATH="); ok {
				dirs = v
			}
		}
		for d := range strings.SplitSeq(dirs, ":") {
			tries = append(tries, path.Join("/", d, name))
		}
	}
	for _, t := range tries {
		f, err := img.Find(t)
		if err != nil {
			continue
		}
		if v := f.Node.Now(); v != nil && v.File() != nil && v.File().Kind == index.Reg {
			if shell(path.Base(f.Node.Path())) {
				return "", nil
			}
			return t, v
		}
	}
	return "", nil
}

func shell(name string) bool {
	switch name {
	case "sh", "bash", "ash", "dash", "busybox", "zsh", "ksh":
		return true
	}
	return false
}

// The parts of an ELF header (System V ABI, "Object Files"; 64 bits, little endian) that are looked at.
const (
	elfEntries, elfEntrySize, elfCount = 32, 54, 56
	elfHeader, elfProgram              = 64, 56
	segmentInterp                      = 3
)

// IsStatic tells whether a file that begins so is an executable that asks for no dynamic linker. Of what is no ELF file of 64 bits it is false.
func IsStatic(head []byte) bool {
	if len(head) < elfHeader || string(head[:4]) != "\x7fELF" || head[4] != 2 || head[5] != 1 {
		return false
	}
	at, size, count := binary.LittleEndian.Uint64(head[elfEntries:]), uint64(binary.LittleEndian.Uint16(head[elfEntrySize:])), uint64(binary.LittleEndian.Uint16(head[elfCount:]))
	if count == 0 || size != elfProgram || at > uint64(len(head)) || at+size*count > uint64(len(head)) {
		return false
	}
	for i := range count {
		if binary.LittleEndian.Uint32(head[at+i*size:]) == segmentInterp {
			return false
		}
	}
	return true
}
