package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/camada/camada/errdefs"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// The bounds of what a hash may cost: the file is trusted, but a typing error should not stop the registry.
const (
	maxArgonMemory = 1 << 20 // KiB
	maxArgonTime   = 64
	maxBcryptCost  = 16
	maxPassword    = 1024
)

// CheckHash checks that a hash of a password is one that Verify knows:
//
//	$2y$10$…                             bcrypt
//	$argon2id$v=19$m=65536,t=3,p=4$…$…    argon2id (RFC 9106)
//	sha256:<hex>                         for secrets that were made by a machine, and nothing else
//
// ErrUnsupported is a hash that is not one of these.
func CheckHash(hash string) error {
	switch {
	case strings.HasPrefix(hash, "$2"):
		cost, err := bcrypt.Cost([]byte(hash))
		if err != nil {
			return errdefs.Invalid("a hash of bcrypt that cannot be read")
		}
		if cost > maxBcryptCost {
			return errdefs.Limit("a hash of bcrypt with a cost of %d, more than %d", cost, maxBcryptCost)
		}
		return nil
	case strings.HasPrefix(hash, "$argon2id$"):
		_, err := parseArgon(hash)
		return err
	case strings.HasPrefix(hash, "sha256:"):
		if b, err := hex.DecodeString(hash[len("sha256:"):]); err != nil || len(b) != sha256.Size {
			return errdefs.Invalid("sha256: want 64 digits of hex")
		}
		return nil
	default:
		return errdefs.Unsupported("the hash is neither of bcrypt nor of argon2id (htpasswd -B makes the first)")
	}
}

// verify reports whether a password is the one of a hash that CheckHash took.
func verify(hash, password string) bool {
	if len(password) > maxPassword {
		return false
	}
	switch {
	case strings.HasPrefix(hash, "$2"):
		return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	case strings.HasPrefix(hash, "sha256:"):
		sum := sha256.Sum256([]byte(password))
		want, err := hex.DecodeString(hash[len("sha256:"):])
		return err == nil && subtle.ConstantTimeCompare(sum[:], want) == 1
	default:
		a, err := parseArgon(hash)
		if err != nil {
			return false
		}
		got := argon2.IDKey([]byte(password), a.salt, a.time, a.memory, a.threads, uint32(len(a.key)))
		return subtle.ConstantTimeCompare(got, a.key) == 1
	}
}

// argon is a hash of argon2id in parts.
type argon struct {
	memory, time uint32
	threads      uint8
	salt, key    []byte
}

// parseArgon reads $argon2id$v=19$m=65536,t=3,p=4$SALT$KEY.
func parseArgon(hash string) (argon, error) {
	var a argon
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[2] != "v=19" {
		return a, errdefs.Invalid("a hash of argon2id that cannot be read: want $argon2id$v=19$m=…,t=…,p=…$salt$key")
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &a.memory, &a.time, &a.threads); err != nil || n != 3 || a.time == 0 || a.threads == 0 {
		return a, errdefs.Invalid("a hash of argon2id whose parameters cannot be read")
	}
	if a.memory > maxArgonMemory || a.time > maxArgonTime {
		return a, errdefs.Limit("a hash of argon2id that takes %d KiB and %d passes", a.memory, a.time)
	}
	var err1, err2 error
	a.salt, err1 = base64.RawStdEncoding.DecodeString(strings.TrimRight(parts[4], "="))
	a.key, err2 = base64.RawStdEncoding.DecodeString(strings.TrimRight(parts[5], "="))
	if err1 != nil || err2 != nil || len(a.salt) < 8 || len(a.key) < 16 || len(a.key) > 128 || len(a.salt) > 128 {
		return a, errdefs.Invalid("a hash of argon2id whose salt or key cannot be read")
	}
	return a, nil
}
