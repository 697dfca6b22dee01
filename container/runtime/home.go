package runtime

import (
	"bufio"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/camada/camada/internal/hostile"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The variable HOME. Those who write specs leave it to the runtime to look the user up, in a file that the container can
// have changed: it is read in bounds, and found inside the container's root only.

// maxPasswd bounds what is read of a container's /etc/passwd, in bytes.
const maxPasswd = 1 << 20

// setHome adds HOME to a process that has none. home is called only then.
func setHome(p *specs.Process, home func() string) {
	for _, kv := range p.Env {
		if v, ok := strings.CutPrefix(kv, "HOME="); ok && v != "" {
			return
		}
	}
	p.Env = append(append([]string{}, p.Env...), "HOME="+home())
}

// homeInSpec finds the home directory of a user of a container that is to be made.
func homeInSpec(s *specs.Spec, uid uint32) func() string {
	return func() string {
		for _, m := range s.Mounts {
			if path.Clean(m.Destination) == "/etc/passwd" {
				return homeIn("/", m.Source, uid)
			}
		}
		return homeIn(s.Root.Path, "etc/passwd", uid)
	}
}

// homeOf finds it in a running container.
func homeOf(pid int, uid uint32) func() string {
	return func() string { return homeIn("/proc/"+strconv.Itoa(pid)+"/root", "etc/passwd", uid) }
}

// homeIn reads a file of passwd(5) below root; "/" is the home of who is not in it.
func homeIn(root, file string, uid uint32) string {
	dir, err := os.OpenFile(root, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return "/"
	}
	defer dir.Close()
	f, err := hostile.FS(dir).Open(strings.TrimPrefix(path.Clean("/"+file), "/"))
	if err != nil {
		return "/"
	}
	defer f.Close()
	return findHome(f, uid)
}

func findHome(r io.Reader, uid uint32) string {
	lines := bufio.NewScanner(io.LimitReader(r, maxPasswd))
	for lines.Scan() {
		f := strings.Split(lines.Text(), ":") // name, password, uid, gid, comment, home, shell
		if len(f) < 6 {
			continue
		}
		if n, err := strconv.ParseUint(f[2], 10, 32); err == nil && uint32(n) == uid && path.IsAbs(f[5]) && !strings.ContainsRune(f[5], 0) {
			return f[5]
		}
	}
	return "/"
}
