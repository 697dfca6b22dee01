package cgroup

import (
	"fmt"
	"strconv"
	"strings"
)

// IOStats are bytes that went to and came from block devices.
type IOStats struct{ Read, Written uint64 }

// IO reads what the group moved to and from block devices; known is false when its io controller was not asked for, so that nobody counted.
func (g *Group) IO() (s IOStats, known bool, err error) {
	dir, file, parse := g.v1["blkio"], "blkio.throttle.io_service_bytes_recursive", parseServiceBytes
	if dir == "" {
		dir, file, parse = g.unified, "io.stat", parseIOStat
	}
	if dir == "" {
		return s, false, nil
	}
	text, err := read(dir, file)
	if gone(err) {
		return s, false, nil
	}
	if err != nil {
		return s, false, fmt.Errorf("statistics of cgroup %s: %w", g.path, err)
	}
	return parse(text), true, nil
}

// parseIOStat reads v2's io.stat: "8:0 rbytes=1 wbytes=2 rios=...", a line a device.
func parseIOStat(text string) (s IOStats) {
	for _, f := range strings.Fields(text) {
		key, value, _ := strings.Cut(f, "=")
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			continue
		}
		switch key {
		case "rbytes":
			s.Read += n
		case "wbytes":
			s.Written += n
		}
	}
	return s
}

// parseServiceBytes reads v1's file: "8:0 Read 1", a line a device and direction.
func parseServiceBytes(text string) (s IOStats) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		n, err := strconv.ParseUint(f[2], 10, 64)
		if err != nil {
			continue
		}
		switch f[1] {
		case "Read":
			s.Read += n
		case "Write":
			s.Written += n
		}
	}
	return s
}
