package seccomp

import (
	"encoding/binary"
	"math/rand"
	"runtime"
	"slices"
	"testing"

	"github.com/camada/camada/errdefs"
	mobyseccomp "github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// call is what a filter is asked.
type call struct {
	nr, arch uint32
	args     [6]uint64
}

// interpret runs a filter as the kernel does.
func interpret(t *testing.T, code []byte, c call) uint32 {
	t.Helper()
	data := make([]byte, 64)
	binary.LittleEndian.PutUint32(data[offNumber:], c.nr)
	binary.LittleEndian.PutUint32(data[offArch:], c.arch)
	for i, a := range c.args {
		binary.LittleEndian.PutUint64(data[offArgs+8*i:], a)
	}
	var acc uint32
	for pc := 0; ; pc++ {
		if 8*pc >= len(code) {
			t.Fatalf("%+v: the filter runs over its end", c)
		}
		i := code[8*pc:]
		op, jt, jf, k := binary.NativeEndian.Uint16(i), i[2], i[3], binary.NativeEndian.Uint32(i[4:])
		branch := func(cond bool) {
			if cond {
				pc += int(jt)
			} else {
				pc += int(jf)
			}
		}
		switch op {
		case opLoad:
			acc = binary.LittleEndian.Uint32(data[k:])
		case opJump:
			pc += int(k)
		case opJEq:
			branch(acc == k)
		case opJGt:
			branch(acc > k)
		case opJGe:
			branch(acc >= k)
		case opAnd:
			acc &= k
		case opRet:
			return k
		default:
			t.Fatalf("unknown operation %#x", op)
		}
	}
}

// naive decides as the package comment says, straight from the profile.
func naive(t *testing.T, p *specs.LinuxSeccomp, c call) uint32 {
	t.Helper()
	def, _ := action(p.DefaultAction, p.DefaultErrnoRet)
	var number func(string) int
	var want specs.Arch
	switch c.arch {
	case unix.AUDIT_ARCH_X86_64:
		if number, want = numberamd64, specs.ArchX86_64; c.nr >= x32Bit {
			return errno(unix.ENOSYS)
		}
	case unix.AUDIT_ARCH_I386:
		number, want = number386, specs.ArchX86
	}
	if number == nil || want != specs.ArchX86_64 && !slices.Contains(p.Architectures, want) {
		return unix.SECCOMP_RET_KILL_PROCESS
	}
	highest := 0
	plain, havePlain := uint32(0), false
	for _, s := range p.Syscalls {
		act, _ := action(s.Action, s.ErrnoRet)
		for _, name := range s.Names {
			n := number(name)
			highest = max(highest, n)
			if n < 0 || uint32(n) != c.nr {
				continue
			}
			if len(s.Args) == 0 {
				if !havePlain {
					plain, havePlain = act, true
				}
			} else if matches(s.Args, c.args) {
				return act
			}
		}
	}
	switch {
	case havePlain:
		return plain
	case int64(c.nr) > int64(highest) && p.DefaultAction == specs.ActErrno:
		return errno(unix.ENOSYS)
	}
	return def
}

func matches(conds []specs.LinuxSeccompArg, args [6]uint64) bool {
	count := map[uint]int{}
	hits := 0
	for _, c := range conds {
		count[c.Index]++
		a, v := args[c.Index], c.Value
		ok := map[specs.LinuxSeccompOperator]bool{
			specs.OpEqualTo: a == v, specs.OpNotEqual: a != v, specs.OpGreaterThan: a > v, specs.OpGreaterEqual: a >= v,
			specs.OpLessThan: a < v, specs.OpLessEqual: a <= v, specs.OpMaskedEqual: a&v == c.ValueTwo,
		}[c.Op]
		if ok {
			hits++
		}
	}
	for _, n := range count {
		if n > 1 {
			return hits > 0
		}
	}
	return hits == len(conds)
}

// compare checks a profile's filter against naive for all calls.
func checkProfile(t *testing.T, p *specs.LinuxSeccomp) {
	t.Helper()
	f, err := Compile(p, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d instructions", len(f.Instructions)/8)
	values := []uint64{0, 1, 2, 8, 16, 40, 0x20000, 0x20008, 0xffffffff, 1 << 32, 1<<32 | 40, 1<<63 | 7, ^uint64(0), unix.CLONE_NEWUSER, 0x7e020000}
	for _, s := range p.Syscalls {
		for _, a := range s.Args {
			values = append(values, a.Value, a.Value-1, a.Value+1, a.ValueTwo, a.Value|1<<40)
		}
	}
	r := rand.New(rand.NewSource(1))
	for _, arch := range []uint32{unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_AARCH64} {
		numbers := []uint32{1000, 5000, x32Bit, x32Bit + 1, x32Bit + 520, ^uint32(0)}
		for n := range uint32(600) {
			numbers = append(numbers, n)
		}
		for _, nr := range numbers {
			for range 40 {
				c := call{nr: nr, arch: arch}
				for i := range c.args {
					c.args[i] = values[r.Intn(len(values))]
				}
				if got, want := interpret(t, f.Instructions, c), naive(t, p, c); got != want {
					t.Fatalf("%+v: %#x, want %#x", c, got, want)
				}
			}
		}
	}
}

func TestDefaultProfile(t *testing.T) {
	for _, caps := range [][]string{nil, {"CAP_SYS_ADMIN", "CAP_BPF"}} {
		s := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}}
		p, err := mobyseccomp.GetDefaultProfile(s)
		if err != nil {
			t.Fatal(err)
		}
		if runtime.GOARCH != "amd64" {
			p.Architectures = []specs.Arch{specs.ArchX86_64, specs.ArchX86}
		}
		checkProfile(t, p)
	}
}

// TestRandomProfiles has conditions of all kinds and rules that overlap.
func TestRandomProfiles(t *testing.T) {
	ops := []specs.LinuxSeccompOperator{specs.OpEqualTo, specs.OpNotEqual, specs.OpGreaterThan, specs.OpGreaterEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpMaskedEqual}
	names := []string{"read", "write", "clone", "socket", "openat", "ioctl", "mount", "personality", "prctl", "futex", "not_a_call"}
	actions := []specs.LinuxSeccompAction{specs.ActAllow, specs.ActErrno, specs.ActKillProcess, specs.ActLog, specs.ActTrap}
	values := []uint64{0, 1, 40, 0xffffffff, 1 << 32, 0x20000 | 1<<33}
	for seed := range int64(30) {
		r := rand.New(rand.NewSource(seed))
		p := &specs.LinuxSeccomp{DefaultAction: actions[r.Intn(len(actions))], Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86}}
		for range r.Intn(20) {
			s := specs.LinuxSyscall{Names: []string{names[r.Intn(len(names))], names[r.Intn(len(names))]}, Action: actions[r.Intn(len(actions))]}
			for range r.Intn(4) {
				s.Args = append(s.Args, specs.LinuxSeccompArg{Index: uint(r.Intn(6)), Op: ops[r.Intn(len(ops))], Value: values[r.Intn(len(values))], ValueTwo: values[r.Intn(len(values))]})
			}
			p.Syscalls = append(p.Syscalls, s)
		}
		checkProfile(t, p)
	}
}

// TestArchitectures has the native one whatever the profile names, and passes over those of other processors.
func TestArchitectures(t *testing.T) {
	for _, archs := range [][]specs.Arch{nil, {specs.ArchX86}, {specs.ArchS390X, specs.ArchX86_64, specs.ArchX86_64, specs.ArchX32}} {
		checkProfile(t, &specs.LinuxSeccomp{
			DefaultAction: specs.ActErrno, Architectures: archs,
			Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActAllow}},
		})
	}
}

func TestFlags(t *testing.T) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{
		specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagSpecAllow, specs.LinuxSeccompFlagWaitKillableRecv,
	}}
	f, err := Compile(p, "amd64")
	if err != nil || f.Flags != unix.SECCOMP_FILTER_FLAG_LOG|unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW || f.Notify {
		t.Errorf("without notifications: %+v, %v", f, err)
	}
	p.Syscalls = []specs.LinuxSyscall{{Names: []string{"mkdir"}, Action: specs.ActNotify}}
	if f, err = Compile(p, "amd64"); err != nil || !f.Notify || f.Flags&unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV == 0 {
		t.Errorf("with notifications: %+v, %v", f, err)
	}
}

func TestRefused(t *testing.T) {
	ret := uint(70000)
	for name, p := range map[string]*specs.LinuxSeccomp{
		"action":                     {DefaultAction: "SCMP_ACT_NONE"},
		"errno":                      {DefaultAction: specs.ActErrno, DefaultErrnoRet: &ret},
		"argument":                   {DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{{Index: 6, Op: specs.OpEqualTo}}}}},
		"architecture":               {DefaultAction: specs.ActAllow, Architectures: []specs.Arch{"SCMP_ARCH_VAX"}},
		"errno of an action without": {DefaultAction: specs.ActAllow, DefaultErrnoRet: new(uint)},
		"operator":                   {DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{{Op: "x"}}}}},
	} {
		if _, err := Compile(p, "amd64"); !errdefs.IsInvalid(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	notify := specs.LinuxSyscall{Names: []string{"write"}, Action: specs.ActNotify}
	for name, p := range map[string]*specs.LinuxSeccomp{
		"default": {DefaultAction: specs.ActNotify}, "write": {DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{notify}},
	} {
		if _, err := Compile(p, "amd64"); !errdefs.IsUnsupported(err) {
			t.Errorf("notify as %s: %v", name, err)
		}
	}
	if _, err := Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow}, "wasm"); !errdefs.IsUnsupported(err) {
		t.Errorf("processor: %v", err)
	}
}

func BenchmarkDefault(b *testing.B) {
	s := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}}
	for b.Loop() {
		p, err := mobyseccomp.GetDefaultProfile(s)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Compile(p, "amd64"); err != nil {
			b.Fatal(err)
		}
	}
}
