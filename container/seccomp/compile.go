package seccomp

import (
	"slices"
	"sort"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Operations of the classic BPF that are used.
const (
	opLoad = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	opJump = unix.BPF_JMP | unix.BPF_JA
	opJEq  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	opJGt  = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
	opJGe  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	opAnd  = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	opRet  = unix.BPF_RET | unix.BPF_K
)

// Offsets in struct seccomp_data {int nr; u32 arch; u64 ip; u64 args[6]}.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// x32Bit marks the numbers of x32 calls.
const x32Bit = 0x40000000

// insn is one instruction.
type insn struct {
	op     uint16
	jt, jf uint8
	k      uint32
}

// rule is one of the profile's, for one call.
type rule struct {
	action uint32
	args   []specs.LinuxSeccompArg
}

// span is the calls from a number up to the next span's that are treated alike.
type span struct {
	from  uint32
	rules []rule // empty for the default
	ret   uint32 // when no rule has conditions
	plain bool
}

// compileArch compiles the rules of one architecture.
func compileArch(profile *specs.LinuxSeccomp, a arch, def uint32) ([]insn, error) {
	calls := map[int][]rule{}
	highest := 0
	for i := range profile.Syscalls {
		s := &profile.Syscalls[i]
		act, err := action(s.Action, s.ErrnoRet)
		if err != nil {
			return nil, err
		}
		rules, err := split(act, s.Args)
		if err != nil {
			return nil, err
		}
		for _, name := range s.Names {
			if n := a.number(name); n >= 0 {
				calls[n] = append(calls[n], rules...)
				if n < privateNumbers {
					highest = max(highest, n)
				}
			}
		}
	}
	spans := spansOf(calls, def, highest)
	if a.x32 {
		spans = append(spans, span{from: x32Bit, ret: errno(unix.ENOSYS), plain: true})
	}
	code, err := tree(spans, def)
	if err != nil {
		return nil, err
	}
	return append([]insn{{op: opLoad, k: offNumber}}, code...), nil
}

// privateNumbers are arm's calls that stand far above the others.
const privateNumbers = 0x0f0000

func errno(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }

// split makes rules out of one entry of the profile. Conditions are joined by
// "and"; when an argument appears twice they are alternatives, as in runc.
func split(act uint32, args []specs.LinuxSeccompArg) ([]rule, error) {
	var seen [6]bool
	twice := false
	for _, arg := range args {
		if arg.Index >= 6 {
			return nil, errdefs.Invalid("seccomp profile: argument %d", arg.Index)
		}
		twice = twice || seen[arg.Index]
		seen[arg.Index] = true
	}
	if !twice {
		return []rule{{action: act, args: args}}, nil
	}
	rules := make([]rule, len(args))
	for i := range args {
		rules[i] = rule{action: act, args: args[i : i+1]}
	}
	return rules, nil
}

// spansOf covers all numbers with spans, in order.
func spansOf(calls map[int][]rule, def uint32, highest int) []span {
	numbers := make([]int, 0, len(calls))
	for n := range calls {
		numbers = append(numbers, n)
	}
	sort.Ints(numbers)
	newer := def
	if def&unix.SECCOMP_RET_ACTION_FULL == unix.SECCOMP_RET_ERRNO {
		newer = errno(unix.ENOSYS)
	}
	spans := []span{{ret: def, plain: true}}
	add := func(s span) {
		last := &spans[len(spans)-1]
		switch {
		case last.plain && s.plain && last.ret == s.ret:
		case last.from == s.from:
			*last = s
			// The one before may be alike now.
			if k := len(spans); k > 1 && s.plain && spans[k-2].plain && spans[k-2].ret == s.ret {
				spans = spans[:k-1]
			}
		default:
			spans = append(spans, s)
		}
	}
	rest := func(n int) span {
		if n > highest {
			return span{from: uint32(n), ret: newer, plain: true}
		}
		return span{from: uint32(n), ret: def, plain: true}
	}
	if len(numbers) == 0 {
		add(rest(1))
	}
	for _, n := range numbers {
		add(spanOf(uint32(n), calls[n]))
		add(rest(n + 1))
	}
	return spans
}

// spanOf orders the rules of one call: those with conditions first.
func spanOf(n uint32, rules []rule) span {
	conditional := slices.DeleteFunc(slices.Clone(rules), func(r rule) bool { return len(r.args) == 0 })
	at := slices.IndexFunc(rules, func(r rule) bool { return len(r.args) == 0 })
	if at >= 0 {
		// Conditions right in front of the same action make no difference.
		for k := len(conditional); k > 0 && conditional[k-1].action == rules[at].action; k-- {
			conditional = conditional[:k-1]
		}
		if len(conditional) == 0 {
			return span{from: n, ret: rules[at].action, plain: true}
		}
		conditional = append(conditional, rules[at])
	}
	return span{from: n, rules: conditional}
}

// tree makes a binary search over spans; A holds the number.
func tree(spans []span, def uint32) ([]insn, error) {
	if len(spans) == 1 {
		if spans[0].plain {
			return []insn{{op: opRet, k: spans[0].ret}}, nil
		}
		return leaf(spans[0].rules, def)
	}
	half := len(spans) / 2
	left, err := tree(spans[:half], def)
	if err != nil {
		return nil, err
	}
	right, err := tree(spans[half:], def)
	if err != nil {
		return nil, err
	}
	code := make([]insn, 0, 2+len(left)+len(right))
	if len(left) <= 255 {
		code = append(code, insn{op: opJGe, k: spans[half].from, jt: uint8(len(left))})
	} else { // conditional jumps reach 255 instructions
		code = append(code, insn{op: opJGe, k: spans[half].from, jf: 1}, insn{op: opJump, k: uint32(len(left))})
	}
	return append(append(code, left...), right...), nil
}

// leaf tries rules in order.
func leaf(rules []rule, def uint32) ([]insn, error) {
	var code []insn
	for _, r := range rules {
		conditions, err := r.conditions()
		if err != nil {
			return nil, err
		}
		code = append(code, conditions...)
		code = append(code, insn{op: opRet, k: r.action})
		if len(r.args) == 0 {
			return code, nil
		}
	}
	return append(code, insn{op: opRet, k: def}), nil
}

// Places to jump to while a rule is put together.
const (
	toNext = 0
	toPass = 254 // behind the condition
	toFail = 255 // behind the rule
)

// conditions makes the code that goes on behind the rule's return unless all
// conditions hold.
func (r rule) conditions() ([]insn, error) {
	var parts [][]insn
	total := 0
	for _, arg := range r.args {
		part, err := compare(arg)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
		total += len(part)
	}
	code := make([]insn, 0, total)
	for _, part := range parts {
		end := len(code) + len(part)
		for _, i := range part {
			at := len(code)
			for _, j := range []*uint8{&i.jt, &i.jf} {
				switch *j {
				case toPass:
					*j = uint8(end - at - 1)
				case toFail:
					*j = uint8(total - at) // over the return, too
				}
			}
			code = append(code, i)
		}
	}
	return code, nil
}

// compare makes the code of one condition on a 64-bit argument, of which BPF
// loads halves. Comparisons are unsigned.
func compare(arg specs.LinuxSeccompArg) ([]insn, error) {
	lowAt := uint32(offArgs + 8*arg.Index)
	low, high := insn{op: opLoad, k: lowAt}, insn{op: opLoad, k: lowAt + 4}
	vl, vh := uint32(arg.Value), uint32(arg.Value>>32)
	jump := func(op uint16, k uint32, jt, jf uint8) insn { return insn{op: op, k: k, jt: jt, jf: jf} }
	switch arg.Op {
	case specs.OpEqualTo:
		return []insn{high, jump(opJEq, vh, toNext, toFail), low, jump(opJEq, vl, toNext, toFail)}, nil
	case specs.OpNotEqual:
		return []insn{high, jump(opJEq, vh, toNext, toPass), low, jump(opJEq, vl, toFail, toNext)}, nil
	case specs.OpMaskedEqual: // argument & value == valueTwo
		wl, wh := uint32(arg.ValueTwo), uint32(arg.ValueTwo>>32)
		return []insn{
			high, {op: opAnd, k: vh}, jump(opJEq, wh, toNext, toFail),
			low, {op: opAnd, k: vl}, jump(opJEq, wl, toNext, toFail),
		}, nil
	case specs.OpGreaterThan:
		return []insn{high, jump(opJGt, vh, toPass, toNext), jump(opJEq, vh, toNext, toFail), low, jump(opJGt, vl, toNext, toFail)}, nil
	case specs.OpGreaterEqual:
		return []insn{high, jump(opJGt, vh, toPass, toNext), jump(opJEq, vh, toNext, toFail), low, jump(opJGe, vl, toNext, toFail)}, nil
	case specs.OpLessThan:
		return []insn{high, jump(opJGt, vh, toFail, toNext), jump(opJEq, vh, toNext, toPass), low, jump(opJGe, vl, toFail, toNext)}, nil
	case specs.OpLessEqual:
		return []insn{high, jump(opJGt, vh, toFail, toNext), jump(opJEq, vh, toNext, toPass), low, jump(opJGt, vl, toFail, toNext)}, nil
	}
	return nil, errdefs.Invalid("seccomp profile: operator %q", arg.Op)
}
