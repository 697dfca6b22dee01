package container

import (
	"fmt"
	"os"
	"strings"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// maxIDMap bounds what is read of an id map, in bytes: the kernel allows 340 rows.
const maxIDMap = 64 << 10

// checkIDs sees to it that the user and the groups of a process exist in the user
// namespace of proc, a directory of /proc. The kernel would only say "invalid argument".
func checkIDs(proc string, p *specs.Process) error {
	user := withGroups(proc, p).User
	if user.UID == 0 && user.GID == 0 && len(user.AdditionalGids) == 0 {
		return nil
	}
	for _, ids := range []struct {
		file, kind, ranges string
		wanted             []uint32
	}{
		{"uid_map", "user", "/etc/subuid", []uint32{user.UID}},
		{"gid_map", "group", "/etc/subgid", append([]uint32{user.GID}, user.AdditionalGids...)},
	} {
		f, err := os.ReadFile(proc + "/" + ids.file)
		if err != nil || len(f) > maxIDMap {
			return nil //nolint:nilerr // what cannot be seen is left to the kernel
		}
		for _, id := range ids.wanted {
			if id != 0 && !mapped(string(f), id) {
				return errdefs.Unsupported("%s %d does not exist in this user namespace: an ordinary user has ids besides his own when %s grants him a range and newuidmap and newgidmap (package uidmap) are installed", ids.kind, id, ids.ranges)
			}
		}
	}
	return nil
}

// withGroups is the process without its further groups where the user namespace of proc, a directory of /proc,
// forbids to set any: that of an ordinary user without ranges of ids.
func withGroups(proc string, p *specs.Process) *specs.Process {
	b, err := os.ReadFile(proc + "/setgroups")
	if err != nil || strings.TrimSpace(string(b)) != "deny" {
		return p
	}
	bare := *p
	bare.User.AdditionalGids = nil
	return &bare
}

// mapped reports whether id is in a map of user_namespaces(7): rows of first id inside, first id
// outside, and number.
func mapped(rows string, id uint32) bool {
	for row := range strings.Lines(rows) {
		var inside, outside, n uint64
		if _, err := fmt.Sscan(row, &inside, &outside, &n); err == nil && uint64(id) >= inside && uint64(id)-inside < n {
			return true
		}
	}
	return false
}

// newUserNamespace reports whether a spec asks for a user namespace, whose ids are others than
// the caller's.
func newUserNamespace(s *specs.Spec) bool {
	for _, n := range s.Linux.Namespaces {
		if n.Type == specs.UserNamespace {
			return true
		}
	}
	return false
}
