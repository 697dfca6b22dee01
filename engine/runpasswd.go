package engine

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/camada/camada/userns"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// maxUserFile is how much of an image's /etc/passwd or /etc/group is read.
const maxUserFile = 8 << 20

// readFile reads a file of an image; nothing when it is not there.
func readFile(files fs.FS, name string) ([]byte, error) {
	f, err := files.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxUserFile))
}

// idColumn are the ids in /etc/passwd or /etc/group.
func idColumn(files fs.FS, name string) (list []int) {
	b, err := readFile(files, name)
	if err != nil {
		return nil
	}
	for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
		if parts := strings.Split(sc.Text(), ":"); len(parts) > 2 {
			if id, err := strconv.Atoi(parts[2]); err == nil {
				list = append(list, id)
			}
		}
	}
	return list
}

// callerFiles makes /etc/passwd and /etc/group of a container in which the caller is himself (keep-id): what the image has, and lines for him
// where it has none. They are in the directory of the record.
func (l *launch) callerFiles(files fs.FS) (mounts []specs.Mount, err error) {
	m, err := userns.ParseMode(l.opts.Userns)
	if err != nil || m.Kind != userns.KeepID || !userns.Rootless() {
		return nil, err
	}
	uid, gid := keptIDs(m)
	outer, _ := userns.OuterID()
	name, full, home := "user", "", ""
	if u, err := user.LookupId(strconv.Itoa(outer)); err == nil {
		name, full, home = u.Username, u.Name, u.HomeDir
	}
	if home == "" || !l.shows(home) {
		home = l.c.Config.Workdir
	}
	for _, file := range []struct {
		name, line string
		id         uint32
	}{
		{"passwd", fmt.Sprintf("%s:*:%d:%d:%s:%s:/bin/sh\n", name, uid, gid, full, home), uid},
		{"group", fmt.Sprintf("%s:x:%d:\n", name, gid), gid},
	} {
		b, err := readFile(files, "etc/"+file.name)
		if err != nil {
			return nil, err
		}
		if has(b, int(file.id)) {
			continue
		}
		if len(b) > 0 && b[len(b)-1] != '\n' {
			b = append(b, '\n')
		}
		at := filepath.Join(l.c.Dir(), file.name)
		if err := rewrite(at, append(b, file.line...)); err != nil {
			return nil, err
		}
		mounts = append(mounts, specs.Mount{Destination: "/etc/" + file.name, Type: "bind", Source: at, Options: []string{"rbind", "rprivate"}})
	}
	return mounts, nil
}

// has reports whether a file of users or groups has one with an id.
func has(file []byte, id int) bool {
	for line := range strings.Lines(string(file)) {
		if parts := strings.Split(strings.TrimSuffix(line, "\n"), ":"); len(parts) > 2 && parts[2] == strconv.Itoa(id) {
			return true
		}
	}
	return false
}

// shows reports whether a directory of the host is in the container under its own name.
func (l *launch) shows(dir string) bool {
	for _, m := range l.Mounts {
		if rel, err := filepath.Rel(m.Target, dir); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			return true
		}
		if rel, err := filepath.Rel(dir, m.Target); err == nil && rel == "." {
			return true
		}
	}
	return false
}

// keepCaller lets a container with keep-id run as the caller, unless somebody says as whom.
func (l *launch) keepCaller() {
	m, err := userns.ParseMode(l.opts.Userns)
	if err != nil || m.Kind != userns.KeepID || !userns.Rootless() || l.opts.User != "" || l.Image.User != "" {
		return
	}
	uid, gid := keptIDs(m)
	l.opts.User = fmt.Sprintf("%d:%d", uid, gid)
}

// replaced are the files of an image in which some have been replaced by a mount.
type replaced struct {
	fs.FS
	mounts []specs.Mount
}

// Open implements fs.FS.
func (r replaced) Open(name string) (fs.File, error) {
	for _, m := range r.mounts {
		if m.Destination == "/"+name {
			return os.Open(m.Source)
		}
	}
	return r.FS.Open(name)
}
