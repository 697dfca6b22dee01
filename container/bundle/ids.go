package bundle

import (
	"fmt"
	"strings"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Inside changes the id mappings of s, which name ids outside of the caller's user namespace, into those that name the
// same ids inside of it. uidMap and gidMap are the texts of /proc/self/uid_map and gid_map. ErrUnsupported when an
// id is not there.
func Inside(s *specs.Spec, uidMap, gidMap string) error {
	for _, m := range []struct {
		kind, rows string
		list       []specs.LinuxIDMapping
	}{{"user", uidMap, s.Linux.UIDMappings}, {"group", gidMap, s.Linux.GIDMappings}} {
		for i, row := range m.list {
			id, ok := inside(m.rows, row)
			if !ok {
				return errdefs.Unsupported("%s ids %d to %d: are not among those of this user; /etc/subuid and /etc/subgid grant more", m.kind, row.HostID, uint64(row.HostID)+uint64(row.Size)-1)
			}
			m.list[i].HostID = id
		}
	}
	return nil
}

// inside finds the row of user_namespaces(7), of first id inside, first id outside and number, that holds a mapping.
func inside(rows string, m specs.LinuxIDMapping) (uint32, bool) {
	for row := range strings.Lines(rows) {
		var in, out, n uint64
		if _, err := fmt.Sscan(row, &in, &out, &n); err != nil {
			continue
		}
		if id := uint64(m.HostID); id >= out && id+uint64(m.Size) <= out+n {
			return uint32(id - out + in), true
		}
	}
	return 0, false
}
