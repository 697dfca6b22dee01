package keys_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/sign/keys"
)

func password(s string) keys.Password { return func() ([]byte, error) { return []byte(s), nil } }

func TestFiles(t *testing.T) {
	for _, kind := range keys.Kinds() {
		if kind == keys.RSA4096 {
			continue // it takes long to make, and is RSA like the other
		}
		key, err := keys.Generate(kind)
		if err != nil {
			t.Fatal(err)
		}
		want, err := keys.New(key)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		plain := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
		files := [][]byte{plain}
		// A password is made expensive to guess: seconds, with a race detector. What is encrypted is some bytes, whatever the kind.
		if kind == keys.P256 || os.Getenv("CAMADA_TEST_LONG") != "" {
			files = append(files, encrypted(t, key, der))
		}
		for _, data := range files {
			s, err := keys.ParsePrivate(data, password("secret"))
			if err != nil {
				t.Fatal(err)
			}
			sig, err := s.Sign(t.Context(), []byte("message"))
			if err != nil {
				t.Fatal(err)
			}
			pub, err := keys.ParsePublic(want.Public().PEM())
			if err != nil {
				t.Fatal(err)
			}
			if err := pub.Verify([]byte("message"), sig); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
			if err := pub.Verify([]byte("another"), sig); !errdefs.IsPermission(err) {
				t.Errorf("%s: another message: %v", kind, err)
			}
		}
		if _, err := keys.ParsePublic(plain); !errdefs.IsInvalid(err) || !strings.Contains(err.Error(), "private") {
			t.Errorf("a private key as public one: %v", err)
		}
	}
}

// encrypted is a key's file, with the password "secret".
func encrypted(t *testing.T, key crypto.Signer, der []byte) []byte {
	t.Helper()
	data, err := keys.Encode(key, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.ParsePrivate(data, password("wrong")); !errdefs.IsPermission(err) {
		t.Errorf("wrong password: %v", err)
	}
	if bytes.Contains(data, der[len(der)-16:]) {
		t.Error("the key can be read")
	}
	return data
}

func TestRefused(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skipf("this Go makes no RSA keys of 1024 bits: %v", err)
	}
	if _, err := keys.New(weak); !errdefs.IsInvalid(err) {
		t.Errorf("a weak key: %v", err)
	}
	greedy := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: []byte(
		`{"kdf":{"name":"scrypt","params":{"N":1073741824,"r":8,"p":1},"salt":"AAAA"},"cipher":{"name":"nacl/secretbox","nonce":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},"ciphertext":"AAAA"}`)})
	if _, err := keys.ParsePrivate(greedy, password("")); !errdefs.IsLimit(err) {
		t.Errorf("a key that wants a terabyte: %v", err)
	}
	if _, err := keys.Open(t.Context(), "nosuchprogram://key", nil); !errdefs.IsNotFound(err) {
		t.Errorf("a program that is not there: %v", err)
	}
	if _, err := keys.Open(t.Context(), "../x://key", nil); !errdefs.IsInvalid(err) {
		t.Errorf("a program with a path: %v", err)
	}
}

// TestProgram signs with a program that speaks the protocol of sigstore's plug-ins, by openssl.
func TestProgram(t *testing.T) {
	dir := t.TempDir()
	key, err := keys.Generate(keys.P256)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "my-key")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	script := `#!/bin/sh
set -e
test "$1" = v1
key=$(echo "$2" | sed 's/.*"keyResourceID":"\([^"]*\)".*/\1/')
case "$2" in
*'"methodName":"publicKey"'*) printf '{"publicKey":{"publicKeyPEM":"%s"}}' "$(openssl pkey -in "$key" -pubout | base64 -w0)" ;;
*'"methodName":"signMessage"'*) printf '{"signMessage":{"signature":"%s"}}' "$(openssl dgst -sha256 -sign "$key" | base64 -w0)" ;;
*) printf '{"errorMessage":"what?"}'; exit 1 ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "sigstore-kms-test"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	s, err := keys.Open(t.Context(), "test://"+file, nil)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := s.Sign(t.Context(), []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	pub, err := keys.OpenPublic(t.Context(), "test://"+file)
	if err != nil {
		t.Fatal(err)
	}
	if err := pub.Verify([]byte("message"), sig); err != nil {
		t.Error(err)
	}
	for body, class := range map[string]func(error) bool{
		`printf '{"errorMessage":"no such key"}'; exit 1`: errdefs.IsPermission, `echo nonsense`: errdefs.IsCorrupt, `echo '{}'`: errdefs.IsCorrupt,
	} {
		if err := os.WriteFile(filepath.Join(dir, "sigstore-kms-bad"), []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Open(t.Context(), "bad://x", nil); !class(err) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func FuzzPrivate(f *testing.F) {
	key, err := keys.Generate(keys.P256)
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	f.Add([]byte("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\ne30=\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = keys.ParsePrivate(data, nil)
		_, _ = keys.ParsePublic(data)
	})
}
