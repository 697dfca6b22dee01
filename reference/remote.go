package reference

import (
	"strings"

	"github.com/camada/camada/errdefs"
)

// SSH is what the Host of a registry begins with that is reached by way of ssh.
const SSH = "ssh://"

// ParseRemote reads the name of an image in a registry: as Parse does, or
//
//	ssh://[USER@]HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]
//
// for a registry at the other end of ssh, whose Host is then ssh://[USER@]HOST[:PORT]. The repository there is what is written: no library/
// is put before it. Such a Reference is none of a store: see Here.
func ParseRemote(name string) (Reference, error) {
	after, ok := strings.CutPrefix(name, SSH)
	if !ok {
		return Parse(name)
	}
	host, rest, ok := strings.Cut(after, "/")
	if !ok || rest == "" {
		return Reference{}, errdefs.Invalid("image name %q: want ssh://[USER@]HOST[:PORT]/NAME[:TAG]", name)
	}
	if err := CheckSSH(SSH + host); err != nil {
		return Reference{}, errdefs.Invalid("image name %q: %w", name, err)
	}
	r, rest, err := cutEnd(rest, name)
	if err != nil {
		return Reference{}, err
	}
	r.Host, r.Repository = SSH+host, rest
	if err := checkRepository(r.Repository); err != nil {
		return Reference{}, errdefs.Invalid("image name %q: %w", name, err)
	}
	if len(host)+1+len(r.Repository) > maxName {
		return Reference{}, errdefs.Invalid("image name %q: longer than %d characters", name, maxName)
	}
	if r.Tag == "" && r.Digest == "" {
		r.Tag = DefaultTag
	}
	return r, nil
}

// OverSSH reports whether the registry is reached by way of ssh.
func (r Reference) OverSSH() bool { return strings.HasPrefix(r.Host, SSH) }

// Here is what an image of a registry is called in the store: as in the registry, and without the host where that is reached by way of ssh.
func (r Reference) Here() (Reference, error) {
	if !r.OverSSH() {
		return r, nil
	}
	return Parse(r.Repository + r.suffix())
}

// CheckSSH checks a Host that begins with SSH: what it names cannot be taken for an option of a program.
func CheckSSH(host string) error {
	user, host, ok := strings.Cut(strings.TrimPrefix(host, SSH), "@")
	if !ok {
		user, host = "x", user
	}
	if user == "" || user[0] == '-' {
		return errdefs.Invalid("the user %q is empty, or begins with '-'", user)
	}
	for _, c := range []byte(user) {
		if !alnum(c) && (c < 'A' || c > 'Z') && strings.IndexByte("._-+", c) < 0 {
			return errdefs.Invalid("%q is not allowed in the name of a user", string(rune(c)))
		}
	}
	// Names of ssh's configuration may have an underscore.
	return checkHost(strings.ReplaceAll(host, "_", "x"))
}
