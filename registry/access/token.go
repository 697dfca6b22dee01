package access

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/camada/camada/errdefs"
)

const (
	// maxToken bounds what is parsed.
	maxToken = 16 << 10
	// leeway for clocks of other replicas.
	leeway = 30 * time.Second
	// maxKnown tokens are remembered as verified, in two halves.
	maxKnown = 4096
)

// Issuer makes tokens and verifies them: JSON web tokens (RFC 7519), signed with Ed25519 (RFC 8037). It is safe for use by many goroutines.
type Issuer struct {
	key     ed25519.PrivateKey
	public  ed25519.PublicKey
	id      string
	service string
	now     func() time.Time

	mu           sync.Mutex
	newer, older map[[32]byte]*claims
}

// claims are what a token says.
type claims struct {
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
	Service string `json:"aud"`
	Expires int64  `json:"exp"`
	After   int64  `json:"nbf"`
	Issued  int64  `json:"iat"`
	ID      string `json:"jti"`
	Use     string `json:"use"` // "access" or "refresh"
	Stamp   string `json:"stamp,omitempty"`
	// Outside is the stamp of who vouches for the user, "" for one of our own.
	Outside string  `json:"outside,omitempty"`
	Access  []grant `json:"access,omitempty"`
}

const (
	useAccess  = "access"
	useRefresh = "refresh"
)

// OpenIssuer opens the key in a file (PKCS #8 in PEM), and makes one when there is none. Whoever can read the file can make
// tokens: it is refused when others than its owner can. All replicas of a registry need the same.
func OpenIssuer(file, service string) (*Issuer, error) {
	key, err := readKey(file)
	if os.IsNotExist(err) {
		if key, err = makeKey(file); os.IsExist(err) { // somebody was faster
			key, err = readKey(file)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the key of tokens %s: %w", file, err)
	}
	public, _ := key.Public().(ed25519.PublicKey)
	sum := sha256.Sum256(public)
	return &Issuer{key: key, public: public, id: base64.RawURLEncoding.EncodeToString(sum[:12]), service: service, now: time.Now, newer: map[[32]byte]*claims{}}, nil
}

func readKey(file string) (ed25519.PrivateKey, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if othersRead(fi) {
		return nil, errdefs.Permission("others can read it: chmod 600 it, or remove it for a new one")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxToken))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errdefs.Invalid("it is not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errdefs.Invalid("it is not a private key in PKCS #8")
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, errdefs.Unsupported("it is no key of Ed25519")
	}
	return private, nil
}

// othersRead reports whether somebody can read the file of a key who should not. When it is another user's, the group is what lets us read it: so
// Kubernetes gives secrets to those who are not root.
func othersRead(fi os.FileInfo) bool {
	perm := fi.Mode().Perm()
	st, ok := fi.Sys().(*syscall.Stat_t)
	lent := ok && int(st.Uid) != os.Geteuid()
	return perm&0o037 != 0 || perm&0o040 != 0 && !lent
}

// makeKey makes a key and publishes it whole, or not at all.
func makeKey(file string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".key-*") // with mode 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if err := pem.Encode(tmp, &pem.Block{Type: "PRIVATE KEY", Bytes: der}); err != nil {
		return nil, err
	}
	if err := tmp.Sync(); err != nil {
		return nil, err
	}
	return key, os.Link(tmp.Name(), file) // unlike a rename, it never takes the place of another one's key
}

// header is that of all tokens.
type header struct {
	Algorithm string `json:"alg"`
	Type      string `json:"typ"`
	Key       string `json:"kid"`
	// Critical is what would have to be understood (RFC 7515, section 4.1.11); tokens of ours have none.
	Critical json.RawMessage `json:"crit,omitempty"`
}

// sign makes a token.
func (i *Issuer) sign(c claims, life time.Duration) (string, error) {
	now := i.now()
	c.Issuer, c.Service, c.ID = i.service, i.service, rand.Text()
	c.Issued, c.After, c.Expires = now.Unix(), now.Unix(), now.Add(life).Unix()
	head, err := json.Marshal(header{Algorithm: "EdDSA", Type: "JWT", Key: i.id})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(body)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(i.key, []byte(text))), nil
}

// parse verifies a token for a use; ErrPermission when it is none of ours, or not now.
func (i *Issuer) parse(token, use string) (*claims, error) {
	if len(token) > maxToken || strings.ContainsAny(token, "\r\n") { // the decoder would skip ends of lines
		return nil, errdefs.Permission("the token is too long, or of several lines")
	}
	sum := sha256.Sum256([]byte(token))
	c := i.known(sum)
	if c == nil {
		var err error
		if c, err = i.verify(token); err != nil {
			return nil, err
		}
		i.mu.Lock()
		if len(i.newer) >= maxKnown/2 {
			i.newer, i.older = map[[32]byte]*claims{}, i.newer
		}
		i.newer[sum] = c
		i.mu.Unlock()
	}
	switch now := i.now(); {
	case c.Use != use:
		return nil, errdefs.Permission("the token is for something else")
	case now.Unix() >= c.Expires:
		return nil, errdefs.Permission("the token has expired")
	case now.Add(leeway).Unix() < c.After:
		return nil, errdefs.Permission("the token is not good yet")
	}
	return c, nil
}

func (i *Issuer) known(sum [32]byte) *claims {
	i.mu.Lock()
	defer i.mu.Unlock()
	if c := i.newer[sum]; c != nil {
		return c
	}
	return i.older[sum]
}

// verify checks form, signature and whom the token is of and for. There is one algorithm: what the header says chooses nothing (RFC 8725, section 3.1).
func (i *Issuer) verify(token string) (*claims, error) {
	text, sig, ok := cutLastDot(token)
	head, body, ok2 := strings.Cut(text, ".")
	if !ok || !ok2 || strings.Contains(body, ".") {
		return nil, errdefs.Permission("the token is no JSON web token")
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(sig)
	if err != nil || !ed25519.Verify(i.public, []byte(text), signature) {
		return nil, errdefs.Permission("the token was not signed here")
	}
	var h header
	var c claims
	if decode(head, &h) != nil || h.Algorithm != "EdDSA" || h.Critical != nil || decode(body, &c) != nil {
		return nil, errdefs.Permission("the token cannot be read")
	}
	if c.Issuer != i.service || c.Service != i.service {
		return nil, errdefs.Permission("the token is for another registry")
	}
	return &c, nil
}

func cutLastDot(s string) (before, after string, ok bool) {
	if n := strings.LastIndexByte(s, '.'); n >= 0 {
		return s[:n], s[n+1:], true
	}
	return "", "", false
}

func decode(part string, v any) error {
	b, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return err
	}
	return json.NewDecoder(bytes.NewReader(b)).Decode(v)
}
