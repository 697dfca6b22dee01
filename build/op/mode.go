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

// modeClause is one "ug+rwX" of a symbolic mode.
type modeClause struct {
	who   string // of "ugo"
	op    byte   // '+', '-', '='
	perms string // of "rwxXst", or one of "u", "g", "o" to copy from
}

// parseMode reads an octal mode up to 7777, or a symbolic one: clauses like
// u+x, go-w, a=rX, separated by commas, as in chmod(1) with an umask of 0.
func parseMode(s string) (modeChange, error) {
	if s == "" {
		return modeChange{}, nil
	}
	if strings.Trim(s, "0123456789") == "" {
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
		who := part[:i]
		if strings.Trim(who, "ugoa") != "" {
			return modeChange{}, errdefs.Invalid("--chmod=%s: %q is none of u, g, o, a", s, who)
		}
		if who == "" || strings.Contains(who, "a") {
			who = "ugo"
		}
		for rest := part[i:]; rest != ""; {
			c := modeClause{who: who, op: rest[0]}
			rest = rest[1:]
			end := strings.IndexAny(rest, "+-=")
			if end < 0 {
				end = len(rest)
			}
			c.perms, rest = rest[:end], rest[end:]
			isCopy := c.perms == "u" || c.perms == "g" || c.perms == "o"
			if !isCopy && strings.Trim(c.perms, "rwxXst") != "" {
				return modeChange{}, errdefs.Invalid("--chmod=%s: %q is none of r, w, x, X, s, t", s, c.perms)
			}
			m.clauses = append(m.clauses, c)
		}
	}
	return m, nil
}

// apply returns the permission bits of a file that had perm.
func (m modeChange) apply(perm uint32, isDir bool) uint32 {
	if !m.set {
		return perm
	}
	if m.clauses == nil {
		return m.octal
	}
	for _, c := range m.clauses {
		perm = c.apply(perm, isDir)
	}
	return perm
}

func (c modeClause) apply(perm uint32, isDir bool) uint32 {
	var rwx uint32
	switch c.perms {
	case "u":
		rwx = perm >> 6 & 7
	case "g":
		rwx = perm >> 3 & 7
	case "o":
		rwx = perm & 7
	default:
		for _, p := range c.perms {
			switch p {
			case 'r':
				rwx |= 4
			case 'w':
				rwx |= 2
			case 'x':
				rwx |= 1
			case 'X':
				if isDir || perm&0o111 != 0 {
					rwx |= 1
				}
			}
		}
	}
	var bits, mask uint32
	for _, w := range c.who {
		shift := strings.IndexByte("ogu", byte(w)) * 3
		bits |= rwx << shift
		mask |= 7 << shift
	}
	bits |= c.special(c.perms)
	switch c.op {
	case '+':
		return perm | bits
	case '-':
		return perm &^ bits
	}
	if !isDir { // as chmod(1): "=" keeps a directory's special bits
		mask |= c.special("s")
	}
	return perm&^mask | bits
}

// special is the setuid, setgid and sticky bits that perms means for who.
func (c modeClause) special(perms string) uint32 {
	var bits uint32
	if strings.Contains(perms, "s") {
		if strings.Contains(c.who, "u") {
			bits |= setuid
		}
		if strings.Contains(c.who, "g") {
			bits |= setgid
		}
	}
	if strings.Contains(perms, "t") {
		bits |= sticky
	}
	return bits
}
