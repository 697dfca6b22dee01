package cgroup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The device filter of a v2 group is a program of type
// BPF_PROG_TYPE_CGROUP_DEVICE. The kernel runs it at mknod and open with
//
//	struct bpf_cgroup_dev_ctx {
//		__u32 access_type; // access bits << 16 | type (1 block, 2 character)
//		__u32 major;
//		__u32 minor;
//	};
//
// and refuses the access when it returns 0. The rules are tried from the last to
// the first. An allowing rule takes its access bits off what is asked for, and
// none left means yes; a denying rule that has one of those left means no. So
// read and write may be allowed by two rules, as v1's list has it.

// insn is an instruction of eBPF (linux/bpf.h struct bpf_insn), eight bytes.
type insn struct {
	op       byte
	dst, src byte // registers
	off      int16
	imm      int32
}

// The opcodes that the filter uses.
const (
	opLoad   = unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W
	opMov    = unix.BPF_ALU | opMovBits | unix.BPF_K
	opMovReg = unix.BPF_ALU | opMovBits | unix.BPF_X
	opAnd    = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	opShift  = unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K
	opEqual  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	opOther  = unix.BPF_JMP | opJneBits | unix.BPF_K
	opExit   = unix.BPF_JMP | opExitBits

	opMovBits  = 0xb0 // BPF_MOV
	opJneBits  = 0x50 // BPF_JNE
	opExitBits = 0x90 // BPF_EXIT

	// The registers: the result, the context, then what was asked for.
	rResult, rContext, rKind, rAccess, rMajor, rMinor = 0, 1, 2, 3, 4, 5
)

// deviceProgram assembles the filter for the rules.
func deviceProgram(rules []device) []insn {
	p := []insn{
		{op: opLoad, dst: rKind, src: rContext, off: 0},
		{op: opMovReg, dst: rAccess, src: rKind},
		{op: opAnd, dst: rKind, imm: 0xffff},
		{op: opShift, dst: rAccess, imm: 16},
		{op: opLoad, dst: rMajor, src: rContext, off: 4},
		{op: opLoad, dst: rMinor, src: rContext, off: 8},
	}
	for i := len(rules) - 1; i >= 0; i-- {
		d := rules[i]
		p = append(p, d.instructions()...)
		if d.kind == 'a' && d.major < 0 && d.minor < 0 && d.access == accessMknod|accessRead|accessWrite {
			// It decides every access: earlier rules are never reached, and the
			// verifier refuses instructions that cannot be.
			return append(p, insn{op: opMov, dst: rResult, imm: truth(d.allow)}, insn{op: opExit})
		}
	}
	return append(p, insn{op: opMov, dst: rResult, imm: 1}, insn{op: opExit})
}

// instructions of one rule: conditions that jump behind it, then the verdict.
func (d device) instructions() []insn {
	var verdict []insn
	if d.allow {
		verdict = []insn{
			{op: opAnd, dst: rAccess, imm: int32(7 &^ d.access)},
			{op: opOther, dst: rAccess, off: 2, imm: 0},
			{op: opMov, dst: rResult, imm: 1},
			{op: opExit},
		}
	} else {
		verdict = []insn{
			{op: opMovReg, dst: rContext, src: rAccess},
			{op: opAnd, dst: rContext, imm: int32(d.access)},
			{op: opEqual, dst: rContext, off: 2, imm: 0},
			{op: opMov, dst: rResult, imm: 0},
			{op: opExit},
		}
	}
	var conditions []insn
	if d.kind != 'a' {
		kind := int32(2)
		if d.kind == 'b' {
			kind = 1
		}
		conditions = append(conditions, insn{op: opOther, dst: rKind, imm: kind})
	}
	if d.major >= 0 {
		conditions = append(conditions, insn{op: opOther, dst: rMajor, imm: int32(d.major)})
	}
	if d.minor >= 0 {
		conditions = append(conditions, insn{op: opOther, dst: rMinor, imm: int32(d.minor)})
	}
	for i := range conditions {
		conditions[i].off = int16(len(conditions) - 1 - i + len(verdict))
	}
	return append(conditions, verdict...)
}

func truth(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

func encode(program []insn) []byte {
	out := make([]byte, 0, 8*len(program))
	for _, in := range program {
		registers := in.dst | in.src<<4
		if nativeBig() {
			registers = in.dst<<4 | in.src
		}
		out = append(out, in.op, registers)
		out = binary.NativeEndian.AppendUint16(out, uint16(in.off))
		out = binary.NativeEndian.AppendUint32(out, uint32(in.imm))
	}
	return out
}

func nativeBig() bool { return binary.NativeEndian.Uint16([]byte{0, 1}) == 1 }

// attachFilter loads the program and attaches it to the group. Filters that were
// there are detached afterwards: at no moment is there none. Filters of groups
// above stay in force.
func attachFilter(group int, program []insn) error {
	code := encode(program)
	prog, err := loadProgram(code, nil)
	if err != nil {
		return fmt.Errorf("load device filter: %w", err)
	}
	defer unix.Close(prog)
	old, err := attached(group)
	if err != nil {
		return err
	}
	defer func() {
		for _, fd := range old {
			unix.Close(fd)
		}
	}()
	if err := attach(unix.BPF_PROG_ATTACH, group, prog); err != nil {
		return fmt.Errorf("attach device filter: %w", err)
	}
	for _, fd := range old {
		if err := attach(unix.BPF_PROG_DETACH, group, fd); err != nil {
			return fmt.Errorf("detach former device filter: %w", err)
		}
	}
	return nil
}

// address gives the address of a slice as bpf(2) wants it, 64 bits wide
// everywhere. The pin keeps the slice on the heap and in place.
func address[T any](pin *runtime.Pinner, s []T) uint64 {
	p := unsafe.SliceData(s)
	pin.Pin(p)
	return uint64(uintptr(unsafe.Pointer(p)))
}

// loadProgram gives a descriptor of the verified program. log, when not nil, is
// filled with the verifier's reasons.
func loadProgram(code, log []byte) (int, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	licence := []byte("Apache-2.0\x00")
	attr := struct {
		kind, count    uint32
		insns, licence uint64
		level, logSize uint32
		log            uint64
		version, flags uint32
		name           [16]byte
	}{kind: unix.BPF_PROG_TYPE_CGROUP_DEVICE, count: uint32(len(code) / 8)}
	copy(attr.name[:], "camada_devices")
	attr.insns = address(&pin, code)
	attr.licence = address(&pin, licence)
	if len(log) > 0 {
		attr.level, attr.logSize = 1, uint32(len(log))
		attr.log = address(&pin, log)
	}
	var fd uintptr
	var err error
	for range 5 { // the verifier gives up with EAGAIN when a signal comes
		fd, err = bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
		if !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	return int(fd), err
}

// attached gives descriptors of the device filters of the group.
func attached(group int) ([]int, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	ids := make([]uint32, 64)
	attr := struct {
		target, kind, queryFlags, attachFlags uint32
		ids                                   uint64
		count, _                              uint32
	}{target: uint32(group), kind: unix.BPF_CGROUP_DEVICE, count: uint32(len(ids))}
	attr.ids = address(&pin, ids)
	if _, err := bpf(unix.BPF_PROG_QUERY, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
		return nil, fmt.Errorf("list device filters: %w", err)
	}
	var fds []int
	for _, id := range ids[:min(int(attr.count), len(ids))] {
		byID := struct{ id, next, flags uint32 }{id: id}
		fd, err := bpf(unix.BPF_PROG_GET_FD_BY_ID, unsafe.Pointer(&byID), unsafe.Sizeof(byID))
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return fds, fmt.Errorf("open former device filter: %w", err)
		}
		fds = append(fds, int(fd))
	}
	return fds, nil
}

// attach attaches or detaches a program. BPF_F_ALLOW_MULTI leaves groups below
// free to have a filter of their own: containers in containers.
func attach(command, group, prog int) error {
	attr := struct{ target, prog, kind, flags uint32 }{uint32(group), uint32(prog), unix.BPF_CGROUP_DEVICE, unix.BPF_F_ALLOW_MULTI}
	if command == unix.BPF_PROG_DETACH {
		attr.flags = 0
	}
	_, err := bpf(command, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}

func bpf(command int, attr unsafe.Pointer, size uintptr) (uintptr, error) {
	r, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(command), uintptr(attr), size)
	if errno != 0 {
		return 0, errno
	}
	return r, nil
}
