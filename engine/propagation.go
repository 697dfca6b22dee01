package engine

import (
	"bufio"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
)

// canPropagate sees to it that mounts can come from or go to the place of the host that holds source: the kernel would take a request in
// vain without a word. The errors are docker's.
func canPropagate(source, propagation string) error {
	want := strings.TrimPrefix(propagation, "r")
	if want != "shared" && want != "slave" {
		return nil
	}
	real, err := filepath.EvalSymlinks(source)
	if err != nil {
		return errdefs.NotFound("%w", err)
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil //nolint:nilerr // the kernel decides
	}
	defer f.Close()
	var point string
	var tags []string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		// proc_pid_mountinfo(5): ID, parent, device, root, mount point, options, tags..., "-".
		fields := strings.Fields(sc.Text())
		if len(fields) < 7 {
			continue
		}
		at := unescape(fields[4])
		if len(at) < len(point) || real != at && at != "/" && !strings.HasPrefix(real, at+"/") {
			continue
		}
		point, tags = at, fields[6:]
		if i := slices.Index(tags, "-"); i >= 0 {
			tags = tags[:i]
		}
	}
	has := func(prefix string) bool {
		return slices.ContainsFunc(tags, func(t string) bool { return strings.HasPrefix(t, prefix) })
	}
	switch {
	case has("shared:"), want == "slave" && has("master:"):
		return nil
	case want == "shared":
		return errdefs.Invalid("path %s is mounted on %s but it is not a shared mount", source, path.Clean(point))
	}
	return errdefs.Invalid("path %s is mounted on %s but it is not a shared or slave mount", source, path.Clean(point))
}

// unescape replaces the octal forms of blanks that mountinfo has.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
