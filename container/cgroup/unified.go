package cgroup

import (
	"fmt"
	"sort"
	"strings"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// LinuxResources.Unified: file names of the v2 group and what is written there.

// unifiedControllers gives the controllers that the keys need.
func unifiedControllers(r *specs.LinuxResources) ([]string, error) {
	var names []string
	for key := range r.Unified {
		name, rest, ok := strings.Cut(key, ".")
		if !ok || name == "" || rest == "" || strings.Contains(key, "/") {
			return nil, errdefs.Invalid("unified resource %q: not the name of a cgroup file", key)
		}
		// Files of the group itself are not limits: writing cgroup.procs or
		// cgroup.kill would let a spec act on other processes.
		if name == "cgroup" && rest != "max.depth" && rest != "max.descendants" {
			return nil, errdefs.Invalid("unified resource %q: is not a limit", key)
		}
		if name != "cgroup" {
			names = append(names, name)
		}
	}
	return names, nil
}

func writeUnified(dir string, r *specs.LinuxResources) error {
	keys := make([]string, 0, len(r.Unified))
	for key := range r.Unified {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		for line := range strings.SplitSeq(strings.TrimSpace(r.Unified[key]), "\n") {
			if err := write(dir, key, line); err != nil {
				return fmt.Errorf("unified resource: %w", err)
			}
		}
	}
	return nil
}
