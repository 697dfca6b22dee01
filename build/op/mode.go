package op

import (
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
)

// Permission bits of a mode, as the kernel has them.
const (
	permMask = 0o7777
	setuid   = 0o4000
	setgid   = 0o2000
	sticky   = 0o1000
)

// modeChange is a parsed --chmod. The zero value changes nothing.
type modeChange struct {
	set     bool
	octal   uint32
	clauses []modeClause
}

// modeClause is one operator of a symbolic mode, "ug+rwX".
type modeClause struct {
	who   uint32 // the bits of the classes that are named; 0 when none is, which means all
	op    byte   // '+', '-', '='
	perms string // of "rwxXst", and of "ugo" to copy from
}

// parseMode reads an octal mode up to 7777, or a symbolic one: clauses like u+x, go-w, a=rX,
// g=u, separated by commas. The grammar and what comes of it are those of setmode(3) of BSD with
// an umask of 0, because BuildKit's are.
func parseMode(s string) (modeChange, error) {
	if s == "" {
		return modeChange{}, nil
	}
	if s[0] >= '0' && s[0] <= '9' {
		n, err := strconv.ParseUint(s, 8, 32)
		if err != nil || n > permMask {
			return modeChange{}, errdefs.Invalid("--chmod=%s: want an octal mode from 0 to 7777", s)
		}
		return modeChange{set: true, octal: uint32(n)}, nil
	}
	m := modeChange{set: true}
	for part := range strings.SplitSeq(s, ",") {
		i := strings.IndexAny(part, "+-=")
		if i < 0 {
			return modeChange{}, errdefs.Invalid("--chmod=%s: want an octal mode, or clauses such as u+x,go-w", s)
		}
		var who uint32
		for _, c := range part[:i] {
			bits := classBits(c)
			if bits == 0 {
				return modeChange{}, errdefs.Invalid("--chmod=%s: %q is none of u, g, o, a", s, string(c))
			}
			who |= bits
		}
		for rest := part[i:]; rest != ""; {
			c := modeClause{who: who, op: rest[0]}
			rest = rest[1:]
			end := strings.IndexAny(rest, "+-=")
			if end < 0 {
				end = len(rest)
			}
			c.perms, rest = rest[:end], rest[end:]
			if bad := strings.Trim(c.perms, "rwxXstugo"); bad != "" {
				return modeChange{}, errdefs.Invalid("--chmod=%s: %q is none of r, w, x, X, s, t, u, g, o", s, bad)
			}
			m.clauses = append(m.clauses, c)
		}
	}
	return m, nil
}

// classBits are the bits of u, g, o or a; 0 for anything else.
func classBits(c rune) uint32 {
	switch c {
	case 'u':
		return setuid | 0o700
	case 'g':
		return setgid | 0o070
	case 'o':
		return 0o007
	case 'a':
		return setuid | setgid | 0o777
	}
	return 0
}

// apply returns the permission bits of a file that had perm.
func (m modeChange) apply(perm uint32, isDir bool) uint32 {
	if !m.set {
		return perm
	}
	if m.clauses == nil {
		return m.octal
	}
	canExecute := isDir || perm&0o111 != 0 // X asks for what was, not for what other clauses made
	for _, c := range m.clauses {
		perm = c.apply(perm, canExecute)
	}
	return perm
}

func (c modeClause) apply(perm uint32, canExecute bool) uint32 {
	who := c.who
	var bits, maybe uint32 // of r, w, x, s, t, and of X
	done := c.op != '='    // what was there before "=" is gone
	change := func() {
		if bits != 0 || !done {
			perm, done = c.change(perm, who, bits), true
		}
		if canExecute {
			perm |= limit(maybe, who)
		}
		bits, maybe = 0, 0
	}
	for _, p := range c.perms {
		switch p {
		case 'r':
			bits |= 0o444
		case 'w':
			bits |= 0o222
		case 'x':
			bits |= 0o111
		case 'X':
			if c.op == '-' {
				bits |= 0o111
			} else {
				maybe |= 0o111
			}
		case 's': // means nothing for "o"
			if who == 0 || who&^0o007 != 0 {
				bits |= setuid | setgid
			}
		case 't': // means nothing for "o", and what has no class but t means t alone
			if who == 0 || who&^0o007 != 0 {
				who |= sticky
				bits |= sticky
			}
		default:
			done = true // a copy makes place for itself
			change()
			perm = c.copyClass(perm, who, p)
		}
	}
	change()
	return perm
}

// change sets or removes bits of the classes who.
func (c modeClause) change(perm, who, bits uint32) uint32 {
	switch c.op {
	case '-':
		return perm &^ limit(bits, who)
	case '=':
		if who == 0 {
			perm &^= setuid | setgid | 0o777
		}
		perm &^= who
	}
	return perm | limit(bits, who)
}

// limit keeps the bits of the classes who; 0 is all of them.
func limit(bits, who uint32) uint32 {
	if who == 0 {
		return bits
	}
	return bits & who
}

// copyClass gives the classes who what the class from has.
func (c modeClause) copyClass(perm, who uint32, from rune) uint32 {
	rwx := perm & 7
	switch from {
	case 'u':
		rwx = perm >> 6 & 7
	case 'g':
		rwx = perm >> 3 & 7
	}
	all := rwx<<6 | rwx<<3 | rwx
	classes := limit(0o777, who)
	switch c.op {
	case '+':
		return perm | all&classes
	case '-':
		return perm &^ (all & classes)
	}
	return perm&^classes | all&classes
}
