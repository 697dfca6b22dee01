package op

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
)

// owner is a parsed user[:group]. The zero value is none.
type owner struct {
	set                 bool
	uid, gid            int
	userName, groupName string
	hasGroup            bool
}

// parseOwner reads user[:group], each a name or a number. What is empty, as in ":" and ":staff", is 0.
func parseOwner(s string) (owner, error) {
	if s == "" {
		return owner{}, nil
	}
	o := owner{set: true}
	user, group, hasGroup := strings.Cut(s, ":")
	o.hasGroup = hasGroup && group != ""
	var err error
	if user != "" {
		if o.uid, err = parseID(user); err != nil {
			return owner{}, errdefs.Invalid("--chown=%s: %w", s, err)
		} else if o.uid < 0 {
			o.uid, o.userName = 0, user
		}
	}
	if o.hasGroup {
		if o.gid, err = parseID(group); err != nil {
			return owner{}, errdefs.Invalid("--chown=%s: %w", s, err)
		} else if o.gid < 0 {
			o.gid, o.groupName = 0, group
		}
	} else if o.userName == "" {
		o.gid = o.uid
	}
	return o, nil
}

// parseID returns the number, or -1 when s is a name. The name root needs no file: it is 0.
func parseID(s string) (int, error) {
	if s == "root" {
		return 0, nil
	}
	s = strings.TrimPrefix(s, "+")
	if strings.Trim(s, "0123456789") != "" {
		return -1, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n >= math.MaxUint32 {
		return 0, errdefs.Invalid("%s is not a user or group number", s)
	}
	return int(n), nil
}

// maxUserFile bounds what is read of /etc/passwd and /etc/group.
const maxUserFile = 10 << 20

// resolve looks names up in files of the target's tree, which read returns. A missing
// file knows no names. lenient makes an unknown name root.
func (o owner) resolve(read func(name string) ([]byte, error), lenient bool) (uid, gid int, err error) {
	uid, gid = o.uid, o.gid
	if o.userName != "" {
		f, err := lookup(read, "/etc/passwd", o.userName, 4)
		if err != nil {
			return 0, 0, err
		}
		switch {
		case f != nil:
			if uid, err = fileID("/etc/passwd", f[2]); err == nil && !o.hasGroup {
				gid, err = fileID("/etc/passwd", f[3])
			}
			if err != nil {
				return 0, 0, err
			}
		case !lenient:
			return 0, 0, errdefs.NotFound("user %q is not in the image's /etc/passwd", o.userName)
		}
	}
	if o.groupName != "" {
		f, err := lookup(read, "/etc/group", o.groupName, 3)
		if err != nil {
			return 0, 0, err
		}
		switch {
		case f != nil:
			if gid, err = fileID("/etc/group", f[2]); err != nil {
				return 0, 0, err
			}
		case !lenient:
			return 0, 0, errdefs.NotFound("group %q is not in the image's /etc/group", o.groupName)
		}
	}
	return uid, gid, nil
}

// lookup returns the fields of the line of a colon-separated file that begins with
// name, nil when there is none.
func lookup(read func(string) ([]byte, error), file, name string, fields int) ([]string, error) {
	data, err := read(file)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) >= fields && f[0] == name {
			return f, nil
		}
	}
	return nil, nil
}

// fileID reads a number of /etc/passwd or /etc/group.
func fileID(file, s string) (int, error) {
	n, err := parseID(s)
	if err == nil && n < 0 || s == "" {
		err = errdefs.Invalid("%q is not a number", s)
	}
	if err != nil {
		return 0, fmt.Errorf("the image's %s: %w", file, err)
	}
	return n, nil
}
