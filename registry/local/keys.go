package local

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
)

// Kinds of keys. A key is the kind, then the parts, with a zero byte after a name.
const (
	kindRepository = 'R' // name
	kindBlob       = 'L' // name 0 digest: a blob is in a repository
	kindManifest   = 'M' // name 0 digest
	kindRequired   = 'Q' // name 0 required digest, digest of the manifest that requires it
	kindReferrer   = 'F' // name 0 subject digest, digest of the manifest
	kindTag        = 'T' // name 0 tag
	kindTagged     = 'G' // name 0 digest, tag: the reverse of kindTag
	kindLog        = 'H' // name 0 tag 0 time, the newest first
	kindContent    = 'C' // digest: the bytes
	kindUser       = 'K' // digest, name: the bytes are in a repository
	kindUpload     = 'U' // ID
	kindNote       = 'N' // name
)

// Algorithms of digests, as keys have them.
const (
	algSHA256 = 1
	algSHA512 = 2
)

// key builds a key.
type key []byte

func newKey(kind byte, repository string) key {
	k := make(key, 0, len(repository)+100)
	return append(append(append(k, kind), repository...), 0)
}

func (k key) digest(d digest.Digest) key {
	alg, size := byte(algSHA256), 32
	if d.Algorithm() == digest.SHA512 {
		alg, size = algSHA512, 64
	}
	var raw [64]byte
	// Whoever calls has checked the digest; what is no digest becomes one that nothing has.
	if n, err := hex.Decode(raw[:], []byte(d.Encoded())); err != nil || n != size {
		return append(k, 0)
	}
	return append(append(k, alg), raw[:size]...)
}

func (k key) text(s string) key { return append(k, s...) }

func contentKey(d digest.Digest) key { return key{kindContent}.digest(d) }

func userKey(d digest.Digest, repository string) key {
	return key{kindUser}.digest(d).text(repository)
}

func repositoryKey(repository string) key { return key{kindRepository}.text(repository) }

func uploadKey(id string) key { return key{kindUpload}.text(id) }

func blobKey(repository string, d digest.Digest) key { return newKey(kindBlob, repository).digest(d) }

func manifestKey(repository string, d digest.Digest) key {
	return newKey(kindManifest, repository).digest(d)
}

func tagKey(repository, tag string) key { return newKey(kindTag, repository).text(tag) }

func taggedKey(repository string, d digest.Digest, tag string) key {
	return newKey(kindTagged, repository).digest(d).text(tag)
}

func requiredKey(repository string, required, by digest.Digest) key {
	return newKey(kindRequired, repository).digest(required).digest(by)
}

func referrerKey(repository string, subject, by digest.Digest) key {
	return newKey(kindReferrer, repository).digest(subject).digest(by)
}

func logPrefix(repository, tag string) key { return append(newKey(kindLog, repository).text(tag), 0) }

func logKey(repository, tag string, at time.Time) key {
	return binary.BigEndian.AppendUint64(logPrefix(repository, tag), math.MaxUint64-uint64(at.UnixNano()))
}

// end is the first key behind all that begin with prefix.
func end(prefix []byte) []byte {
	e := append([]byte(nil), prefix...)
	for i := len(e) - 1; i >= 0; i-- {
		if e[i] < 0xff {
			e[i]++
			return e[:i+1]
		}
	}
	return nil
}

// parseDigest reads a digest from the start of a key's rest.
func parseDigest(b []byte) (digest.Digest, []byte, error) {
	alg, size := digest.SHA256, 32
	if len(b) > 0 && b[0] == algSHA512 {
		alg, size = digest.SHA512, 64
	} else if len(b) == 0 || b[0] != algSHA256 {
		return "", nil, errdefs.Corrupt("a key without a digest")
	}
	if len(b) < 1+size {
		return "", nil, errdefs.Corrupt("a key without a digest")
	}
	return digest.NewDigestFromEncoded(alg, hex.EncodeToString(b[1:1+size])), b[1+size:], nil
}

// fields appends what values are made of.
type fields []byte

func (f fields) text(s string) fields {
	return append(binary.AppendUvarint(f, uint64(len(s))), s...)
}
func (f fields) number(n int64) fields   { return binary.AppendVarint(f, n) }
func (f fields) time(t time.Time) fields { return f.number(t.UnixNano()) }
func (f fields) digest(d digest.Digest) fields {
	if d == "" {
		return append(f, 0)
	}
	return fields(key(f).digest(d))
}

// scanner reads what fields wrote; the first thing that is not there makes it bad.
type scanner struct {
	rest []byte
	bad  bool
}

func (s *scanner) text() string {
	n, used := binary.Uvarint(s.rest)
	if used <= 0 || n > uint64(len(s.rest)-used) {
		s.bad, s.rest = true, nil
		return ""
	}
	text := string(s.rest[used : used+int(n)])
	s.rest = s.rest[used+int(n):]
	return text
}

func (s *scanner) number() int64 {
	n, used := binary.Varint(s.rest)
	if used <= 0 {
		s.bad, s.rest = true, nil
		return 0
	}
	s.rest = s.rest[used:]
	return n
}

func (s *scanner) time() time.Time { return time.Unix(0, s.number()).UTC() }

func (s *scanner) digest() digest.Digest {
	if len(s.rest) > 0 && s.rest[0] == 0 {
		s.rest = s.rest[1:]
		return ""
	}
	d, rest, err := parseDigest(s.rest)
	if err != nil {
		s.bad, rest = true, nil
	}
	s.rest = rest
	return d
}

func (s *scanner) err(what string) error {
	if s.bad {
		return errdefs.Corrupt("%s of the registry cannot be read", what)
	}
	return nil
}
