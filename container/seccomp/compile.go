package seccomp

import (
	"cmp"
	"slices"

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

// claim is that a call is treated by a rule, the index of one.
type claim struct{ number, rule uint32 }

// span is the calls from a number up to the next span's that are treated alike.
type span struct {
	from  uint32
	ret   uint32 // when no rule has conditions
	plain bool
	rules []rule // of a span that is not plain
}

// compiler makes the code of a profile, of one architecture after the other. Its lists are used again: memory that a start touches for the
// first time is what compiling costs most.
type compiler struct {
	profile *specs.LinuxSeccomp
	def     uint32
	// rules are those of all entries, first where those of each begin.
	rules  []rule
	first  []int
	claims []claim
	spans  []span
	code   []insn
}

// readRules reads the profile's entries.
func (c *compiler) readRules() error {
	c.rules = make([]rule, 0, 2*len(c.profile.Syscalls))
	c.first = make([]int, 0, len(c.profile.Syscalls)+1)
	for i := range c.profile.Syscalls {
		s := &c.profile.Syscalls[i]
		act, err := action(s.Action, s.ErrnoRet)
		if err != nil {
			return err
		}
		c.first = append(c.first, len(c.rules))
		if err := c.split(act, s.Args); err != nil {
			return err
		}
	}
	c.first = append(c.first, len(c.rules))
	return nil
}

// split takes in the rules of one entry of the profile. Conditions are joined by
// "and"; when an argument appears twice they are alternatives, as in runc.
func (c *compiler) split(act uint32, args []specs.LinuxSeccompArg) error {
	var seen [6]bool
	twice := false
	for _, arg := range args {
		if arg.Index >= 6 {
			return errdefs.Invalid("seccomp profile: argument %d", arg.Index)
		}
		twice = twice || seen[arg.Index]
		seen[arg.Index] = true
	}
	if !twice {
		c.rules = append(c.rules, rule{action: act, args: args})
		return nil
	}
	for i := range args {
		c.rules = append(c.rules, rule{action: act, args: args[i : i+1]})
	}
	return nil
}

// compileArch appends the code for the calls of one architecture.
func (c *compiler) compileArch(a arch) error {
	c.findClaims(a)
	c.findSpans()
	if a.x32 {
		c.spans = append(c.spans, span{from: x32Bit, ret: errno(unix.ENOSYS), plain: true})
	}
	c.code = append(c.code, insn{op: opLoad, k: offNumber})
	return c.tree(c.spans)
}

// findClaims lists which rules are for which calls: by number, and those of one call in the profile's order.
func (c *compiler) findClaims(a arch) {
	const usual = 512 // calls of the default profile
	if c.claims == nil {
		c.claims = make([]claim, 0, usual)
	}
	c.claims = c.claims[:0]
	for i := range c.profile.Syscalls {
		for _, name := range c.profile.Syscalls[i].Names {
			n := a.number(name)
			for r := c.first[i]; r < c.first[i+1] && n >= 0; r++ {
				c.claims = append(c.claims, claim{number: uint32(n), rule: uint32(r)})
			}
		}
	}
	slices.SortFunc(c.claims, func(x, y claim) int {
		return cmp.Or(cmp.Compare(x.number, y.number), cmp.Compare(x.rule, y.rule))
	})
}

// privateNumbers are arm's calls that stand far above the others.
const privateNumbers = 0x0f0000

func errno(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }

// findSpans covers all numbers with spans, in order. Neighbours that are treated alike are one.
func (c *compiler) findSpans() {
	newer := c.def
	if c.def&unix.SECCOMP_RET_ACTION_FULL == unix.SECCOMP_RET_ERRNO {
		newer = errno(unix.ENOSYS)
	}
	highest := uint32(0)
	for _, cl := range c.claims {
		if cl.number < privateNumbers {
			highest = cl.number
		}
	}
	c.spans = append(c.spans[:0], span{ret: c.def, plain: true})
	rest := func(n uint32) {
		ret := c.def
		if n > highest {
			ret = newer
		}
		c.add(span{from: n, ret: ret, plain: true})
	}
	if len(c.claims) == 0 {
		rest(1)
	}
	for i := 0; i < len(c.claims); {
		n, first := c.claims[i].number, i
		for i < len(c.claims) && c.claims[i].number == n {
			i++
		}
		c.add(c.spanOf(n, c.claims[first:i]))
		rest(n + 1)
	}
}

// add takes in a span, unless it is treated as the one before.
func (c *compiler) add(s span) {
	last := &c.spans[len(c.spans)-1]
	switch {
	case last.plain && s.plain && last.ret == s.ret:
	case last.from == s.from:
		*last = s
		// The one before may be alike now.
		if k := len(c.spans); k > 1 && s.plain && c.spans[k-2].plain && c.spans[k-2].ret == s.ret {
			c.spans = c.spans[:k-1]
		}
	default:
		c.spans = append(c.spans, s)
	}
}

// spanOf orders the rules of one call: those with conditions first.
func (c *compiler) spanOf(n uint32, claims []claim) span {
	at := slices.IndexFunc(claims, func(cl claim) bool { return len(c.rules[cl.rule].args) == 0 })
	var conditional []rule
	for _, cl := range claims {
		if r := c.rules[cl.rule]; len(r.args) > 0 {
			conditional = append(conditional, r)
		}
	}
	if at >= 0 {
		otherwise := c.rules[claims[at].rule]
		// Conditions right in front of the same action make no difference.
		for k := len(conditional); k > 0 && conditional[k-1].action == otherwise.action; k-- {
			conditional = conditional[:k-1]
		}
		if len(conditional) == 0 {
			return span{from: n, ret: otherwise.action, plain: true}
		}
		conditional = append(conditional, otherwise)
	}
	return span{from: n, rules: conditional}
}

// tree appends a binary search over spans; A holds the number.
func (c *compiler) tree(spans []span) error {
	if len(spans) == 1 {
		if spans[0].plain {
			c.code = append(c.code, insn{op: opRet, k: spans[0].ret})
			return nil
		}
		return c.leaf(spans[0].rules)
	}
	half := len(spans) / 2
	at := len(c.code)
	c.code = append(c.code, insn{op: opJGe, k: spans[half].from})
	if err := c.tree(spans[:half]); err != nil {
		return err
	}
	if left := len(c.code) - at - 1; left <= 255 {
		c.code[at].jt = uint8(left)
	} else { // conditional jumps reach 255 instructions
		c.code[at].jf = 1
		c.code = slices.Insert(c.code, at+1, insn{op: opJump, k: uint32(left)})
	}
	return c.tree(spans[half:])
}

// leaf appends the trying of rules in order.
func (c *compiler) leaf(rules []rule) error {
	for _, r := range rules {
		var err error
		if c.code, err = r.conditions(c.code); err != nil {
			return err
		}
		c.code = append(c.code, insn{op: opRet, k: r.action})
		if len(r.args) == 0 {
			return nil
		}
	}
	c.code = append(c.code, insn{op: opRet, k: c.def})
	return nil
}

// Places to jump to while a rule is put together.
const (
	toNext = 0
	toPass = 254 // behind the condition
	toFail = 255 // behind the rule
)

// conditions appends the code that goes on behind the rule's return unless all
// conditions hold.
func (r rule) conditions(code []insn) ([]insn, error) {
	first := len(code)
	for _, arg := range r.args {
		from := len(code)
		var err error
		if code, err = compare(code, arg); err != nil {
			return nil, err
		}
		for at := from; at < len(code); at++ {
			for _, j := range []*uint8{&code[at].jt, &code[at].jf} {
				if *j == toPass {
					*j = uint8(len(code) - at - 1)
				}
			}
		}
	}
	for at := first; at < len(code); at++ {
		for _, j := range []*uint8{&code[at].jt, &code[at].jf} {
			if *j == toFail {
				*j = uint8(len(code) - at) // over the return, too
			}
		}
	}
	return code, nil
}

// compare appends the code of one condition on a 64-bit argument, of which BPF
// loads halves. Comparisons are unsigned.
func compare(code []insn, arg specs.LinuxSeccompArg) ([]insn, error) {
	lowAt := uint32(offArgs + 8*arg.Index)
	low, high := insn{op: opLoad, k: lowAt}, insn{op: opLoad, k: lowAt + 4}
	vl, vh := uint32(arg.Value), uint32(arg.Value>>32)
	jump := func(op uint16, k uint32, jt, jf uint8) insn { return insn{op: op, k: k, jt: jt, jf: jf} }
	switch arg.Op {
	case specs.OpEqualTo:
		return append(code, high, jump(opJEq, vh, toNext, toFail), low, jump(opJEq, vl, toNext, toFail)), nil
	case specs.OpNotEqual:
		return append(code, high, jump(opJEq, vh, toNext, toPass), low, jump(opJEq, vl, toFail, toNext)), nil
	case specs.OpMaskedEqual: // argument & value == valueTwo
		wl, wh := uint32(arg.ValueTwo), uint32(arg.ValueTwo>>32)
		return append(code,
			high, insn{op: opAnd, k: vh}, jump(opJEq, wh, toNext, toFail),
			low, insn{op: opAnd, k: vl}, jump(opJEq, wl, toNext, toFail)), nil
	case specs.OpGreaterThan:
		return append(code, high, jump(opJGt, vh, toPass, toNext), jump(opJEq, vh, toNext, toFail), low, jump(opJGt, vl, toNext, toFail)), nil
	case specs.OpGreaterEqual:
		return append(code, high, jump(opJGt, vh, toPass, toNext), jump(opJEq, vh, toNext, toFail), low, jump(opJGe, vl, toNext, toFail)), nil
	case specs.OpLessThan:
		return append(code, high, jump(opJGt, vh, toFail, toNext), jump(opJEq, vh, toNext, toPass), low, jump(opJGe, vl, toFail, toNext)), nil
	case specs.OpLessEqual:
		return append(code, high, jump(opJGt, vh, toFail, toNext), jump(opJEq, vh, toNext, toPass), low, jump(opJGt, vl, toFail, toNext)), nil
	}
	return nil, errdefs.Invalid("seccomp profile: operator %q", arg.Op)
}
