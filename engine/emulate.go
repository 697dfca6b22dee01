package engine

import (
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/platform"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// binfmtDir is where the kernel tells which foreign programs it starts, and with what.
const binfmtDir = "/proc/sys/fs/binfmt_misc"

// emulated fails with ErrUnsupported when this machine cannot execute programs of a platform. "" is the machine's own.
func emulated(name string) error {
	if name == "" {
		return nil
	}
	p, err := platform.Parse(name)
	if err != nil {
		return err
	}
	host := platform.Host()
	if host.Architecture == p.Architecture || host.Architecture == "amd64" && p.Architecture == "386" {
		return nil
	}
	header := elfHeader(p.Architecture)
	if header == nil {
		return errdefs.Unsupported("nothing is known that executes programs of %s here", name)
	}
	why := "no emulator for them is registered with the kernel"
	entries, _ := os.ReadDir(binfmtDir) // not mounted: nothing is registered
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(binfmtDir, e.Name()))
		if err != nil {
			continue
		}
		r := parseBinfmt(string(b))
		switch {
		case !r.matches(header):
		case !strings.Contains(r.flags, "F"):
			why = "the emulator " + r.interpreter + " is registered without the flag F, so that no container finds it"
		default:
			return nil
		}
	}
	return errdefs.Unsupported("this machine (%s) cannot execute programs of %s: %s; install qemu-user-static with binfmt support "+
		"(Debian, Ubuntu: apt install qemu-user-static binfmt-support; Fedora: dnf install qemu-user-static), or let only stages with FROM --platform=$BUILDPLATFORM execute programs",
		platform.Format(host), name, why)
}

// executes tells whether this machine can execute programs of a platform.
func executes(p ocispec.Platform) bool {
	return p.OS == platform.Host().OS && emulated(platform.Format(p)) == nil
}

// binfmt is an entry of the kernel's table (Documentation/admin-guide/binfmt-misc.rst).
type binfmt struct {
	enabled            bool
	interpreter, flags string
	offset             int
	magic, mask        []byte
}

func parseBinfmt(text string) binfmt {
	var b binfmt
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "enabled":
			b.enabled = true
		case "interpreter":
			b.interpreter = value
		case "flags:":
			b.flags = value
		case "offset":
			b.offset, _ = strconv.Atoi(value)
		case "magic":
			b.magic, _ = hex.DecodeString(value)
		case "mask":
			b.mask, _ = hex.DecodeString(value)
		}
	}
	return b
}

// matches reports whether the kernel would use the entry for a program that begins with header.
func (b binfmt) matches(header []byte) bool {
	if !b.enabled || len(b.magic) == 0 || b.offset < 0 || b.offset+len(b.magic) > len(header) {
		return false
	}
	for i, want := range b.magic {
		have := header[b.offset+i]
		if i < len(b.mask) {
			have, want = have&b.mask[i], want&b.mask[i]
		}
		if have != want {
			return false
		}
	}
	return true
}

// elfHeader is how programs of an architecture begin (System V ABI, "ELF Header"): up to e_version. nil when
// the architecture is not known.
func elfHeader(arch string) []byte {
	const (
		bits32, bits64 = 1, 2
		little, big    = 1, 2
	)
	var class, data byte = bits64, little
	var machine uint16
	switch arch {
	case "386":
		class, machine = bits32, 3
	case "amd64":
		machine = 62
	case "arm":
		class, machine = bits32, 40
	case "arm64":
		machine = 183
	case "riscv64":
		machine = 243
	case "ppc64le":
		machine = 21
	case "ppc64":
		data, machine = big, 21
	case "s390x":
		data, machine = big, 22
	case "loong64":
		machine = 258
	case "mips64le":
		machine = 8
	case "mips64":
		data, machine = big, 8
	case "mipsle":
		class, machine = bits32, 8
	case "mips":
		class, data, machine = bits32, big, 8
	default:
		return nil
	}
	h := []byte{0x7f, 'E', 'L', 'F', class, data, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	var order binary.AppendByteOrder = binary.LittleEndian
	if data == big {
		order = binary.BigEndian
	}
	h = order.AppendUint16(h, 2) // e_type: an executable
	h = order.AppendUint16(h, machine)
	return order.AppendUint32(h, 1)
}
