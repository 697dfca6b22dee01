package trust

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/sign/bundle"
)

// maxBody is how big an entry may be, maxCheckpoint what a log signed of its tree, in bytes.
const maxBody, maxCheckpoint = 16 << 20, 64 << 10

// body is an entry of rekor, of any kind that can be about a signature of an image.
type body struct {
	Version string          `json:"apiVersion"`
	Kind    string          `json:"kind"`
	Spec    json.RawMessage `json:"spec"`
}

// hexHash is a hash as the first version of rekor has it.
type hexHash struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"value"`
}

func (h hexHash) of(data []byte) bool {
	sum, err := hex.DecodeString(h.Value)
	return err == nil && sums(h.Algorithm, sum, data)
}

// rawHash is a hash as the second version has it.
type rawHash struct {
	Algorithm string `json:"algorithm"`
	Digest    []byte `json:"digest"`
}

// verifier is who signed, as the second version has it.
type verifier struct {
	PublicKey *struct {
		Raw []byte `json:"rawBytes"`
	} `json:"publicKey"`
	Certificate *struct {
		Raw []byte `json:"rawBytes"`
	} `json:"x509Certificate"`
}

func (v verifier) is(s Signed) bool {
	if s.Certificate != nil {
		return v.Certificate != nil && bytes.Equal(v.Certificate.Raw, s.Certificate)
	}
	return v.PublicKey != nil && s.Key != nil && bytes.Equal(v.PublicKey.Raw, s.Key.DER())
}

// isVerifier reports whether PEM is of who signed.
func isVerifier(text []byte, s Signed) bool {
	block, _ := pem.Decode(text)
	if block == nil {
		return false
	}
	if s.Certificate != nil {
		return block.Type == "CERTIFICATE" && bytes.Equal(block.Bytes, s.Certificate)
	}
	return block.Type == "PUBLIC KEY" && s.Key != nil && bytes.Equal(block.Bytes, s.Key.DER())
}

// secondVersion reports whether an entry is one of rekor's second version.
func secondVersion(e bundle.LogEntry) bool {
	return e.Kind.Version == "0.0.2" && e.Kind.Kind != "intoto"
}

// checkBody checks that an entry is about a signature: the same hash, the same signature, the same signer.
func checkBody(e bundle.LogEntry, s Signed) error {
	var b body
	if err := json.Unmarshal(e.Body, &b); err != nil {
		return errdefs.Corrupt("read the log entry: %w", err)
	}
	if e.Kind != (bundle.Kind{}) && (b.Kind != e.Kind.Kind || b.Version != e.Kind.Version) {
		return errdefs.Permission("the log entry is of the kind %.40q, not %.40q", b.Kind, e.Kind.Kind)
	}
	about := func(ok bool, err error) error {
		if err != nil {
			return errdefs.Corrupt("read the log entry: %w", err)
		}
		if !ok {
			return errdefs.Permission("the log entry is about another signature")
		}
		return nil
	}
	switch b.Kind + " " + b.Version {
	case "hashedrekord 0.0.1":
		return about(isHashed(b.Spec, s))
	case "dsse 0.0.1":
		return about(isDSSE(b.Spec, s))
	case "intoto 0.0.2":
		return about(isInToto(b.Spec, s))
	case "hashedrekord 0.0.2":
		return about(isHashed2(b.Spec, s))
	case "dsse 0.0.2":
		return about(isDSSE2(b.Spec, s))
	}
	return errdefs.Unsupported("a log entry of the kind %.40q, version %.20q", b.Kind, b.Version)
}

func isHashed(spec []byte, s Signed) (bool, error) {
	var e struct {
		Data struct {
			Hash hexHash `json:"hash"`
		} `json:"data"`
		Signature struct {
			Content   []byte `json:"content"`
			PublicKey struct {
				Content []byte `json:"content"`
			} `json:"publicKey"`
		} `json:"signature"`
	}
	err := json.Unmarshal(spec, &e)
	return e.Data.Hash.of(s.Message) && bytes.Equal(e.Signature.Content, s.Signature) && isVerifier(e.Signature.PublicKey.Content, s), err
}

func isDSSE(spec []byte, s Signed) (bool, error) {
	var e struct {
		PayloadHash hexHash `json:"payloadHash"`
		Signatures  []struct {
			Signature []byte `json:"signature"`
			Verifier  []byte `json:"verifier"`
		} `json:"signatures"`
	}
	err := json.Unmarshal(spec, &e)
	return len(e.Signatures) == 1 && e.PayloadHash.of(s.Payload) && bytes.Equal(e.Signatures[0].Signature, s.Signature) && isVerifier(e.Signatures[0].Verifier, s), err
}

func isInToto(spec []byte, s Signed) (bool, error) {
	var e struct {
		Content struct {
			PayloadHash hexHash `json:"payloadHash"`
			Envelope    struct {
				Signatures []struct {
					Sig       []byte `json:"sig"`
					PublicKey []byte `json:"publicKey"`
				} `json:"signatures"`
			} `json:"envelope"`
		} `json:"content"`
	}
	err := json.Unmarshal(spec, &e)
	list := e.Content.Envelope.Signatures
	if err != nil || len(list) != 1 {
		return false, err
	}
	sig, decodeErr := base64.StdEncoding.DecodeString(string(list[0].Sig)) // it is base64 twice
	return decodeErr == nil && e.Content.PayloadHash.of(s.Payload) && bytes.Equal(sig, s.Signature) && isVerifier(list[0].PublicKey, s), nil
}

func isHashed2(spec []byte, s Signed) (bool, error) {
	var e struct {
		Entry struct {
			Data      rawHash `json:"data"`
			Signature struct {
				Content  []byte   `json:"content"`
				Verifier verifier `json:"verifier"`
			} `json:"signature"`
		} `json:"hashedRekordV002"`
	}
	err := json.Unmarshal(spec, &e)
	return sums(e.Entry.Data.Algorithm, e.Entry.Data.Digest, s.Message) && bytes.Equal(e.Entry.Signature.Content, s.Signature) && e.Entry.Signature.Verifier.is(s), err
}

func isDSSE2(spec []byte, s Signed) (bool, error) {
	var e struct {
		Entry struct {
			PayloadHash rawHash `json:"payloadHash"`
			Signatures  []struct {
				Content  []byte   `json:"content"`
				Verifier verifier `json:"verifier"`
			} `json:"signatures"`
		} `json:"dsseV002"`
	}
	err := json.Unmarshal(spec, &e)
	list := e.Entry.Signatures
	return len(list) == 1 && sums(e.Entry.PayloadHash.Algorithm, e.Entry.PayloadHash.Digest, s.Payload) && bytes.Equal(list[0].Content, s.Signature) && list[0].Verifier.is(s), err
}
