package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/camada/camada/errdefs"
	"github.com/moby/sys/user"
)

// maxUserFile is how much of /etc/passwd and /etc/group is read, in bytes.
const maxUserFile = 8 << 20

// ResolveUser finds out who "name", "uid", "name:group" and the like are in a root file system: files is its
// /etc/passwd and /etc/group. "" is root. ErrInvalid when a name is not there.
func ResolveUser(files fs.FS, who string) (User, error) {
	passwd, err := readUserFile(files, "etc/passwd")
	if err != nil {
		return User{}, err
	}
	group, err := readUserFile(files, "etc/group")
	if err != nil {
		return User{}, err
	}
	u, err := user.GetExecUser(who, &user.ExecUser{Home: "/"}, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		return User{}, errdefs.Invalid("user %q: %w", who, err)
	}
	out := User{UID: uint32(u.Uid), GID: uint32(u.Gid), Home: u.Home}
	// The primary group is a supplementary one too: else a program that changes its primary group would get past files
	// whose mode gives this group less than all others.
	out.Groups = []uint32{out.GID}
	for _, g := range u.Sgids {
		if uint32(g) != out.GID {
			out.Groups = append(out.Groups, uint32(g))
		}
	}
	return out, nil
}

// ResolveGroups finds out which groups names and ids are in a root file system. ErrInvalid when a name is not there.
func ResolveGroups(files fs.FS, names []string) ([]uint32, error) {
	if len(names) == 0 {
		return nil, nil
	}
	group, err := readUserFile(files, "etc/group")
	if err != nil {
		return nil, err
	}
	ids, err := user.GetAdditionalGroups(names, bytes.NewReader(group))
	if err != nil {
		return nil, errdefs.Invalid("--group-add: %w", err)
	}
	var out []uint32
	for _, id := range ids {
		out = append(out, uint32(id))
	}
	slices.Sort(out)
	return out, nil
}

func readUserFile(files fs.FS, name string) ([]byte, error) {
	f, err := files.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the image's /%s: %w", name, err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errdefs.Invalid("the image's /%s is not a regular file", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxUserFile))
	if err != nil {
		return nil, fmt.Errorf("read the image's /%s: %w", name, err)
	}
	return b, nil
}
