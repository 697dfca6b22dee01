package cgroup

import "path/filepath"

// LimitsSwap reports whether the memory of a group can be limited together with swap here: on v1 that is for the kernel's command line to say.
func LimitsSwap() bool {
	l, err := Detect()
	if err != nil {
		return false
	}
	if dir := l.V1["memory"]; dir != "" {
		return hasFile(dir, "memory.memsw.limit_in_bytes")
	}
	return hasFile(filepath.Clean(l.Unified), "cgroup.controllers")
}
