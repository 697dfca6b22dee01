package keys

import (
	"crypto/rand"
	"encoding/json"

	"github.com/camada/camada/errdefs"
	"golang.org/x/crypto/nacl/secretbox"
	"golang.org/x/crypto/scrypt"
)

// The types of PEM blocks of encrypted keys, as cosign writes them now and wrote them once.
const (
	typeSigstore = "ENCRYPTED SIGSTORE PRIVATE KEY"
	typeCosign   = "ENCRYPTED COSIGN PRIVATE KEY"
)

// How keys are encrypted (go-tuf, encrypted). The last bound what a file may ask for: 128·N·r bytes of memory.
const (
	kdfName, cipherName          = "scrypt", "nacl/secretbox"
	scryptN, scryptR, scryptP    = 1 << 16, 8, 1
	maxScryptN, maxScryptRP      = 1 << 20, 32
	saltSize, keySize, nonceSize = 32, 32, 24
)

// encrypted is what the PEM block holds.
type encrypted struct {
	KDF struct {
		Name   string `json:"name"`
		Params struct {
			N int `json:"N"`
			R int `json:"r"`
			P int `json:"p"`
		} `json:"params"`
		Salt []byte `json:"salt"`
	} `json:"kdf"`
	Cipher struct {
		Name  string `json:"name"`
		Nonce []byte `json:"nonce"`
	} `json:"cipher"`
	Ciphertext []byte `json:"ciphertext"`
}

func encrypt(plain, password []byte) ([]byte, error) {
	var e encrypted
	e.KDF.Name, e.Cipher.Name = kdfName, cipherName
	e.KDF.Params.N, e.KDF.Params.R, e.KDF.Params.P = scryptN, scryptR, scryptP
	e.KDF.Salt = make([]byte, saltSize)
	var nonce [nonceSize]byte
	_, _ = rand.Read(e.KDF.Salt) // never fails
	_, _ = rand.Read(nonce[:])
	key, err := e.key(password)
	if err != nil {
		return nil, err
	}
	e.Cipher.Nonce = nonce[:]
	e.Ciphertext = secretbox.Seal(nil, plain, &nonce, key)
	return json.Marshal(e)
}

func decrypt(data, password []byte) ([]byte, error) {
	var e encrypted
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, errdefs.Invalid("read the encrypted key: %w", err)
	}
	p := e.KDF.Params
	switch {
	case e.KDF.Name != kdfName || e.Cipher.Name != cipherName:
		return nil, errdefs.Unsupported("the key is encrypted by %.40q and %.40q: want %s and %s", e.KDF.Name, e.Cipher.Name, kdfName, cipherName)
	case len(e.Cipher.Nonce) != nonceSize || len(e.KDF.Salt) == 0:
		return nil, errdefs.Invalid("read the encrypted key: its nonce or salt is missing")
	case p.N < 2 || p.R < 1 || p.P < 1 || p.N > maxScryptN || p.R > maxScryptRP || p.P > maxScryptRP || p.R*p.P > maxScryptRP:
		return nil, errdefs.Limit("read the encrypted key: it asks for scrypt with N=%d, r=%d, p=%d", p.N, p.R, p.P)
	}
	key, err := e.key(password)
	if err != nil {
		return nil, err
	}
	plain, ok := secretbox.Open(nil, e.Ciphertext, (*[nonceSize]byte)(e.Cipher.Nonce), key)
	if !ok {
		return nil, errdefs.Permission("decrypt the key: wrong password")
	}
	return plain, nil
}

func (e *encrypted) key(password []byte) (*[keySize]byte, error) {
	p := e.KDF.Params
	key, err := scrypt.Key(password, e.KDF.Salt, p.N, p.R, p.P, keySize)
	if err != nil {
		return nil, errdefs.Invalid("encrypted key: %w", err)
	}
	return (*[keySize]byte)(key), nil
}
