package engine

import (
	"path"
	"strings"

	"github.com/camada/camada/image/compare"
)

// hint says what is known of a file that often differs, and what to do; "" for any other file. It is told only of
// files that do differ.
func hint(c compare.Change) string {
	p := c.Path
	base := path.Base(p)
	switch {
	case strings.HasPrefix(p, "/var/log/apt/"), p == "/var/log/dpkg.log", p == "/var/log/alternatives.log":
		return "a log with times; let the same RUN end with: rm -rf /var/log/apt /var/log/dpkg.log /var/log/alternatives.log"
	case strings.HasPrefix(p, "/var/cache/apt/") && strings.HasSuffix(p, ".bin"):
		return "apt's cache has times of files; let the same RUN end with: apt-get clean"
	case strings.HasPrefix(p, "/var/lib/apt/lists/"):
		return "the archive changed meanwhile, or its lists have times; take packages from a snapshot, and let the same RUN end with: rm -rf /var/lib/apt/lists/*"
	case p == "/var/cache/ldconfig/aux-cache":
		return "ldconfig's cache has inode numbers; let the same RUN end with: rm /var/cache/ldconfig/aux-cache"
	case strings.HasPrefix(p, "/var/cache/debconf/"), strings.HasPrefix(p, "/var/cache/man/"), strings.HasPrefix(p, "/var/cache/fontconfig/"):
		return "a cache; let the same RUN remove it"
	case p == "/etc/shadow", p == "/etc/shadow-":
		return "the day of the last password change; programs that know SOURCE_DATE_EPOCH take it from there"
	case p == "/etc/machine-id", p == "/var/lib/dbus/machine-id", p == "/etc/hostid":
		return "an identity that is made at random; let the same RUN empty it, so that each container makes its own"
	case strings.HasPrefix(p, "/etc/ssh/ssh_host_"):
		return "a key that is made at random, and that all containers would share; remove it in the same RUN"
	case strings.HasSuffix(base, ".pyc"):
		return "compiled Python has the time of its source; set PYTHONDONTWRITEBYTECODE=1, or compile with --invalidation-mode checked-hash"
	case strings.HasPrefix(p, "/root/.cache/"), strings.HasPrefix(p, "/root/.npm/"), strings.Contains(p, "/.cache/"):
		return "a cache of a package manager; keep it out of the image with RUN --mount=type=cache"
	case strings.HasSuffix(base, ".a"), strings.HasSuffix(base, ".jar"), strings.HasSuffix(base, ".zip"), strings.HasSuffix(base, ".gz"):
		return "archives have times and an order of files; their makers have options for that (ar D, gzip -n, zip -X, tar --sort=name --mtime=@$SOURCE_DATE_EPOCH)"
	}
	return ""
}
