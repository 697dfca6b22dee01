package index

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/camada/camada/errdefs"
)

const (
	maxKeyring    = 16 << 20
	maxSignatures = 64
)

// Keyring is a set of OpenPGP keys.
type Keyring struct{ keys openpgp.EntityList }

// ReadKeyring reads the keys of a keyring file, binary or armored. Keys of
// kinds that are not known are left out.
func ReadKeyring(name string) (*Keyring, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read keyring: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeyring+1))
	if err != nil {
		return nil, fmt.Errorf("read keyring %s: %w", name, err)
	}
	k, err := ParseKeyring(b)
	if err != nil {
		return nil, fmt.Errorf("read keyring %s: %w", name, err)
	}
	return k, nil
}

// ParseKeyring reads the keys from b, binary or armored. Errors are of class
// ErrInvalid.
func ParseKeyring(b []byte) (*Keyring, error) {
	if len(b) > maxKeyring {
		return nil, errdefs.Limit("more than %d bytes", maxKeyring)
	}
	k := &Keyring{}
	const begin = "-----BEGIN PGP"
	if !bytes.Contains(b, []byte(begin)) {
		keys, err := openpgp.ReadKeyRing(bytes.NewReader(b))
		if err != nil {
			return nil, errdefs.With(errdefs.ErrInvalid, err)
		}
		k.keys = keys
		return k, nil
	}
	// A file may hold several armored blocks.
	for _, block := range bytes.Split(b, []byte(begin))[1:] {
		dec, err := armor.Decode(bytes.NewReader(append([]byte(begin), block...)))
		if err != nil {
			return nil, errdefs.With(errdefs.ErrInvalid, err)
		}
		keys, err := openpgp.ReadKeyRing(dec.Body)
		if err != nil {
			return nil, errdefs.With(errdefs.ErrInvalid, err)
		}
		k.keys = append(k.keys, keys...)
	}
	return k, nil
}

// Add adds the keys of o to k.
func (k *Keyring) Add(o *Keyring) { k.keys = append(k.keys, o.keys...) }

// Len is the number of keys.
func (k *Keyring) Len() int { return len(k.keys) }

// Only returns the keys whose fingerprint, or that of a subkey, is one of
// those given in hex.
func (k *Keyring) Only(fingerprints []string) *Keyring {
	out := &Keyring{}
	for _, e := range k.keys {
		all := [][]byte{e.PrimaryKey.Fingerprint}
		for _, s := range e.Subkeys {
			all = append(all, s.PublicKey.Fingerprint)
		}
		if matches(all, fingerprints) {
			out.keys = append(out.keys, e)
		}
	}
	return out
}

func matches(have [][]byte, want []string) bool {
	for _, h := range have {
		for _, w := range want {
			if len(w) >= 16 && strings.HasSuffix(strings.ToUpper(hex.EncodeToString(h)), strings.ToUpper(w)) {
				return true
			}
		}
	}
	return false
}

// Open verifies a clear-signed message (RFC 9580, section 7) and returns the text
// that was signed. One good signature of a key of the ring is enough, as for apt.
// Text outside the signature is refused. Errors are of class ErrCorrupt when
// the message has not the form, ErrPermission when no key vouches for it.
func (k *Keyring) Open(message []byte, now time.Time) ([]byte, error) {
	block, rest := clearsign.Decode(message)
	if block == nil || !bytes.HasPrefix(message, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) {
		return nil, errdefs.Corrupt("not a signed message")
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, errdefs.Corrupt("there is text after the signature")
	}
	signatures, err := readSignatures(block.ArmoredSignature.Body)
	if err != nil {
		return nil, err
	}
	var failed []error
	cfg := &packet.Config{Time: func() time.Time { return now }}
	for _, sig := range signatures {
		var one bytes.Buffer
		if err := sig.Serialize(&one); err != nil {
			failed = append(failed, err)
			continue
		}
		_, err := openpgp.CheckDetachedSignature(k.keys, bytes.NewReader(block.Bytes), &one, cfg)
		if err == nil {
			return block.Bytes, nil
		}
		failed = append(failed, fmt.Errorf("key %s: %w", keyOf(sig), err))
	}
	return nil, errdefs.Permission("no signature of a trusted key: %w", errors.Join(failed...))
}

func readSignatures(r io.Reader) ([]*packet.Signature, error) {
	var all []*packet.Signature
	packets := packet.NewReader(r)
	for range maxSignatures {
		p, err := packets.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, errdefs.Corrupt("read signature: %w", err)
		}
		if sig, ok := p.(*packet.Signature); ok {
			all = append(all, sig)
		}
	}
	return nil, errdefs.Limit("more than %d signatures", maxSignatures)
}

func keyOf(sig *packet.Signature) string {
	if len(sig.IssuerFingerprint) > 0 {
		return strings.ToUpper(hex.EncodeToString(sig.IssuerFingerprint))
	}
	if sig.IssuerKeyId != nil {
		return fmt.Sprintf("%016X", *sig.IssuerKeyId)
	}
	return "unknown"
}
