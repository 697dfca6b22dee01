package op

import (
	"bufio"
	"io"
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

// parseOwner reads user[:group], each a name or a number.
func parseOwner(s string) (owner, error) {
	if s == "" {
		return owner{}, nil
	}
	o := owner{set: true}
	user, group, hasGroup := strings.Cut(s, ":")
	o.hasGroup = hasGroup && group != ""
	if user == "" && !o.hasGroup {
		return owner{}, errdefs.Invalid("--chown=%s: want user[:group]", s)
	}
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

// parseID returns the number, or -1 when s is a name.
func parseID(s string) (int, error) {
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

// resolve looks names up with open, which opens a file of the target's tree. A missing
// file knows no names. lenient makes an unknown name root.
func (o owner) resolve(open func(name string) (io.ReadCloser, error), lenient bool) (uid, gid int, err error) {
	uid, gid = o.uid, o.gid
	if o.userName != "" {
		f, err := lookup(open, "/etc/passwd", o.userName, 4)
		if err != nil {
			return 0, 0, err
		}
		switch {
		case f != nil:
			uid, _ = strconv.Atoi(f[2])
			if !o.hasGroup {
				gid, _ = strconv.Atoi(f[3])
			}
		case !lenient:
			return 0, 0, errdefs.NotFound("user %q is not in the image's /etc/passwd", o.userName)
		}
	}
	if o.groupName != "" {
		f, err := lookup(open, "/etc/group", o.groupName, 3)
		if err != nil {
			return 0, 0, err
		}
		switch {
		case f != nil:
			gid, _ = strconv.Atoi(f[2])
		case !lenient:
			return 0, 0, errdefs.NotFound("group %q is not in the image's /etc/group", o.groupName)
		}
	}
	return uid, gid, nil
}

// lookup returns the fields of the line of a colon-separated file that begins with
// name, nil when there is none.
func lookup(open func(string) (io.ReadCloser, error), file, name string, fields int) ([]string, error) {
	r, err := open(file)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	sc := bufio.NewScanner(io.LimitReader(r, maxUserFile))
	for sc.Scan() {
		f := strings.Split(strings.TrimSpace(sc.Text()), ":")
		if len(f) >= fields && f[0] == name {
			return f, nil
		}
	}
	return nil, sc.Err()
}
