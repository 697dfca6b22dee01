package userns

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Nobody is what a file belongs to whose owner a user namespace has not got (the kernel's overflow id).
const Nobody = 65534

// Range is Count ids from Start on.
type Range struct{ Start, Count uint32 }

// Ranges are all that a user or group database grants a name: file is /etc/subuid, /etc/subgid or one like them (subuid(5)). A file that
// cannot be read grants nothing.
func Ranges(file, name string) (list []Range) {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	for sc := bufio.NewScanner(io.LimitReader(f, maxSubIDRow)); sc.Scan(); {
		parts := strings.Split(strings.TrimSpace(sc.Text()), ":")
		if len(parts) != 3 || parts[0] != name && name != "" {
			continue
		}
		start, err1 := strconv.ParseUint(parts[1], 10, 32)
		count, err2 := strconv.ParseUint(parts[2], 10, 32)
		if err1 == nil && err2 == nil && start > 0 && count > 0 && start+count <= math.MaxUint32 {
			list = append(list, Range{uint32(start), uint32(count)})
		}
	}
	return list
}

// Own is how many ids this process's user namespace has, from 0 on without a gap: file is uid_map or gid_map.
func Own(file string) uint32 {
	b, err := os.ReadFile("/proc/self/" + file)
	if err != nil {
		return 0
	}
	var rows []Range
	for line := range strings.Lines(string(b)) {
		var r Range
		var outside uint32
		if _, err := fmt.Sscan(line, &r.Start, &outside, &r.Count); err == nil {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b Range) int { return int(int64(a.Start) - int64(b.Start)) })
	var n uint32
	for _, r := range rows {
		if r.Start == n {
			n += r.Count
		}
	}
	return n
}

// Free finds size ids in a row that are within one of the ranges and in none of those that are used, the lowest ones.
func Free(size uint32, within, used []Range) (start uint32, ok bool) {
	taken := slices.Clone(used)
	slices.SortFunc(taken, func(a, b Range) int { return int(int64(a.Start) - int64(b.Start)) })
	for _, w := range within {
		at, end := uint64(w.Start), uint64(w.Start)+uint64(w.Count)
		for _, u := range taken {
			if uint64(u.Start)+uint64(u.Count) <= at {
				continue
			}
			if at+uint64(size) <= uint64(u.Start) {
				break
			}
			at = uint64(u.Start) + uint64(u.Count)
		}
		if at+uint64(size) <= end {
			return uint32(at), true
		}
	}
	return 0, false
}

// Outsides are the ids outside of maps.
func Outsides(maps []specs.LinuxIDMapping) (list []Range) {
	for _, m := range maps {
		list = append(list, Range{m.HostID, m.Size})
	}
	return list
}

// Row maps size ids from 0 on to those from outside on, but for the ones that fixed gives another place.
func Row(outside, size uint32, fixed []specs.LinuxIDMapping) (maps []specs.LinuxIDMapping) {
	inside := uint64(0)
	add := func(end uint64) {
		if end = min(end, uint64(size)); end > inside {
			maps = append(maps, specs.LinuxIDMapping{ContainerID: uint32(inside), HostID: outside + uint32(inside), Size: uint32(end - inside)})
		}
	}
	sorted := slices.Clone(fixed)
	slices.SortFunc(sorted, func(a, b specs.LinuxIDMapping) int { return int(int64(a.ContainerID) - int64(b.ContainerID)) })
	for _, f := range sorted {
		add(uint64(f.ContainerID))
		inside = max(inside, uint64(f.ContainerID)+uint64(f.Size))
	}
	add(uint64(size))
	return append(maps, sorted...)
}

// Keep maps the caller's id 0 of a namespace of n ids to inside, and the others in their order to the rest.
func Keep(inside, n uint32) []specs.LinuxIDMapping {
	if n == 0 {
		return nil
	}
	before := min(inside, n-1)
	maps := []specs.LinuxIDMapping{{ContainerID: inside, HostID: 0, Size: 1}}
	if before > 0 {
		maps = append([]specs.LinuxIDMapping{{ContainerID: 0, HostID: 1, Size: before}}, maps...)
	}
	if after := n - 1 - before; after > 0 {
		maps = append(maps, specs.LinuxIDMapping{ContainerID: inside + 1, HostID: before + 1, Size: after})
	}
	return maps
}

// Outside is what an id of a user namespace is outside; other where it is not there.
func Outside(maps []specs.LinuxIDMapping, id, other int) int {
	for _, m := range maps {
		if first := int(m.ContainerID); id >= first && id-first < int(m.Size) {
			return int(m.HostID) + id - first
		}
	}
	return other
}

// Inside is what an id outside is in a user namespace; Nobody where it is not there.
func Inside(maps []specs.LinuxIDMapping, id int) int {
	for _, m := range maps {
		if first := int(m.HostID); id >= first && id-first < int(m.Size) {
			return int(m.ContainerID) + id - first
		}
	}
	return Nobody
}
