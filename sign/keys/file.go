package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/camada/camada/errdefs"
)

// Password provides the password of a key, when one is needed.
type Password func() ([]byte, error)

// Open opens a key to sign with: a file, or NAME://KEY for the program sigstore-kms-NAME. The password is asked for when the file is encrypted.
func Open(ctx context.Context, name string, password Password) (Signer, error) {
	if IsProgram(name) {
		return openProgram(ctx, name)
	}
	data, err := ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("open the key: %w", err)
	}
	s, err := ParsePrivate(data, password)
	if err != nil {
		return nil, fmt.Errorf("open the key %s: %w", name, err)
	}
	return s, nil
}

// OpenPublic opens a key to verify with: a file with a public key or certificate, or NAME://KEY for the program sigstore-kms-NAME.
func OpenPublic(ctx context.Context, name string) (*Public, error) {
	if IsProgram(name) {
		s, err := openProgram(ctx, name)
		if err != nil {
			return nil, err
		}
		return s.Public(), nil
	}
	data, err := ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("open the public key: %w", err)
	}
	p, err := ParsePublic(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// IsProgram reports whether a key is asked of a program that its name tells.
func IsProgram(name string) bool { return strings.Contains(name, "://") }

// ReadFile reads a small file whole: a key, certificates, a trusted root. ErrLimit when it is a big one.
func ReadFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if os.IsNotExist(err) {
		return nil, errdefs.With(errdefs.ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxFile {
		return nil, errdefs.Limit("%s has more than %d bytes", name, MaxFile)
	}
	return data, nil
}

// ParsePrivate reads a private key in PEM.
func ParsePrivate(data []byte, password Password) (Signer, error) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, errdefs.Invalid("there is no private key in PEM")
		}
		switch block.Type {
		case "EC PARAMETERS": // OpenSSL writes them before a key
			continue
		case typeSigstore, typeCosign:
			if password == nil {
				return nil, errdefs.Invalid("the key is encrypted, and there is no password")
			}
			pass, err := password()
			if err != nil {
				return nil, err
			}
			der, err := decrypt(block.Bytes, pass)
			if err != nil {
				return nil, err
			}
			return parseDER("PRIVATE KEY", der)
		case "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return nil, errdefs.Unsupported("the key is encrypted in OpenSSL's old way, which protects nothing; convert it: openssl pkcs8 -topk8, then camada key import")
			}
			return parseDER(block.Type, block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errdefs.Unsupported("the key is encrypted by PKCS #8; decrypt it with openssl pkey, and encrypt it as cosign does with \"camada key import\"")
		default:
			return nil, errdefs.Invalid("%.60q is no private key", block.Type)
		}
	}
}

func parseDER(kind string, der []byte) (Signer, error) {
	var key any
	var err error
	switch kind {
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(der)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(der)
	default:
		if key, err = x509.ParsePKCS8PrivateKey(der); err != nil {
			if ec, ecErr := x509.ParseECPrivateKey(der); ecErr == nil { // cosign import-key-pair kept some as they were
				key, err = ec, nil
			}
		}
	}
	if err != nil {
		return nil, errdefs.Invalid("read private key: %w", err)
	}
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, errdefs.Unsupported("a private key of the kind %T", key)
	}
	return New(s)
}

// The kinds of keys that Generate makes.
const (
	P256    = "ecdsa-p256"
	P384    = "ecdsa-p384"
	Ed25519 = "ed25519"
	RSA3072 = "rsa-3072"
	RSA4096 = "rsa-4096"
)

// Kinds lists what Generate makes.
func Kinds() []string { return []string{P256, P384, Ed25519, RSA3072, RSA4096} }

// Generate makes a key.
func Generate(kind string) (crypto.Signer, error) {
	switch kind {
	case P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	}
	return nil, errdefs.Invalid("%q is no kind of key: want %s", kind, strings.Join(Kinds(), ", "))
}

// Encode writes a private key in PEM: cosign's encrypted form. An empty password encrypts with it, as cosign does.
func Encode(key crypto.Signer, password []byte) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, errdefs.Invalid("write private key: %w", err)
	}
	data, err := encrypt(der, password)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: typeSigstore, Bytes: data}), nil
}

// Private is the key that a Signer of this process holds; false when it is elsewhere.
func Private(s Signer) (crypto.Signer, bool) {
	l, ok := s.(*local)
	if !ok {
		return nil, false
	}
	return l.signer, true
}
