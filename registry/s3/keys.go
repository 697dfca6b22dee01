package s3

import (
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
)

// encodeName writes a repository's name so that the keys of many are in the order of the names, and none is a folder of another. "/" is higher than "." and
// "-", and keys have folders: each of the three becomes the next lower character that all stores accept, and "!" is lower than all.
func encodeName(name string) (string, error) {
	b := []byte(name)
	for i, c := range b {
		switch {
		case c == '/':
			b[i] = '.'
		case c == '.':
			b[i] = '-'
		case c == '-':
			b[i] = ')'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_':
		default:
			return "", errdefs.Invalid("%.300q is no name of a repository", name)
		}
	}
	if name == "" || b[0] == '.' || b[0] == '-' {
		return "", errdefs.Invalid("%.300q is no name of a repository", name)
	}
	return string(b) + "!", nil
}

// encodeAfter is where the keys of names begin that come after a text, which may be none of a repository.
func encodeAfter(after string) string {
	if name, err := encodeName(after); err == nil {
		return name + "0" // after all that is in its folder: "0" follows "/"
	}
	b := []byte(after)
	for i, c := range b {
		enc, err := encodeName("a" + string(c))
		if err != nil || c >= 0x80 {
			if c > 'z' {
				return string(b[:i]) + "~" // no name has a character that is greater
			}
			return string(b[:i])
		}
		b[i] = enc[1]
	}
	return string(b)
}

// decodeName is the other way round; what is no name is "".
func decodeName(s string) string {
	name, ok := strings.CutSuffix(s, "!")
	if !ok {
		return ""
	}
	b := []byte(name)
	for i, c := range b {
		switch c {
		case '.':
			b[i] = '/'
		case '-':
			b[i] = '.'
		case ')':
			b[i] = '-'
		}
	}
	if again, err := encodeName(string(b)); err != nil || again != s {
		return ""
	}
	return string(b)
}

// encodeDigest writes a digest as a part of a key.
func encodeDigest(d digest.Digest) string { return strings.Replace(string(d), ":", "-", 1) }

// decodeDigest is the other way round; what is no digest is "".
func decodeDigest(s string) digest.Digest {
	d := digest.Digest(strings.Replace(s, "-", ":", 1))
	if d.Validate() != nil {
		return ""
	}
	return d
}

// repo makes the keys of one repository.
type repo struct{ prefix, name string }

func (s *Store) repo(name string) (repo, error) {
	n, err := encodeName(name)
	return repo{s.prefix, n}, err
}

func (r repo) links() string                   { return r.prefix + "r/" + r.name + "/b/" }
func (r repo) link(d digest.Digest) string     { return r.links() + encodeDigest(d) }
func (r repo) manifests() string               { return r.prefix + "r/" + r.name + "/m/" }
func (r repo) manifest(d digest.Digest) string { return r.manifests() + encodeDigest(d) }
func (r repo) allReferrers() string            { return r.prefix + "r/" + r.name + "/f/" }
func (r repo) referrers(subject digest.Digest) string {
	return r.allReferrers() + encodeDigest(subject) + "/"
}

func (r repo) referrer(subject, d digest.Digest) string {
	return r.referrers(subject) + encodeDigest(d)
}

// needers is where the manifests stand that require a blob or manifest, needer one of them.
func (r repo) needers(required digest.Digest) string {
	return r.prefix + "r/" + r.name + "/q/" + encodeDigest(required) + "/"
}

func (r repo) needer(required, by digest.Digest) string {
	return r.needers(required) + encodeDigest(by)
}

func (r repo) tags() string { return r.prefix + "t/" + r.name + "/" }

func (r repo) tag(tag string) (string, error) {
	if tag == "" || tag == "." || tag == ".." || strings.ContainsAny(tag, "/\x00") || len(tag) > 128 {
		return "", errdefs.Invalid("%.200q is no tag", tag)
	}
	return r.tags() + tag, nil
}

func (r repo) chunk(tag, number string) string {
	return r.prefix + "l/" + r.name + "/" + tag + "/" + number
}

// base is the last part of a key.
func base(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }
