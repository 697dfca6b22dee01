package trust

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/bits"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/sign/bundle"
	"github.com/camada/camada/sign/keys"
)

// Signed is a signature that should be in a log.
type Signed struct {
	// Payload is what the signer says, Message what was signed of it.
	Payload, Message, Signature []byte
	// Certificate is that of the signer, in DER; nil when Key signed.
	Certificate []byte
	Key         *keys.Public
	// Times are when it was made, by the word of others than logs.
	Times []time.Time
}

// Logged checks that an entry of a log is about a signature, and that a log that is believed has it. It returns when it came into the
// log; the zero time when the log does not say so. Nothing is asked of the log. ErrPermission when it does not hold.
func (r *Root) Logged(e bundle.LogEntry, s Signed) (time.Time, error) {
	if len(e.Body) > maxBody {
		return time.Time{}, errdefs.Limit("the log entry has more than %d bytes", maxBody)
	}
	last := errdefs.Permission("no log is trusted that is called %x", e.LogID.KeyID[:min(len(e.LogID.KeyID), 8)])
	for _, l := range r.Logs {
		if !bytes.Equal(l.ID, e.LogID.KeyID) {
			continue
		}
		var at time.Time
		if at, last = l.has(e); last == nil && at.IsZero() {
			last = l.trusted(s.Times...)
		}
		if last == nil {
			return at, checkBody(e, s) // what no log has is not taken apart
		}
	}
	return time.Time{}, last
}

// has checks what a log signed: the promise, the proof, or both.
func (l Log) has(e bundle.LogEntry) (time.Time, error) {
	var at time.Time
	if e.Promise == nil && e.Proof == nil {
		return at, errdefs.Permission("the log entry has neither a promise nor a proof of the log")
	}
	if e.Promise != nil {
		// What is signed is JSON in its canonical form (RFC 8785).
		signed := fmt.Sprintf(`{"body":"%s","integratedTime":%d,"logID":"%s","logIndex":%d}`,
			base64.StdEncoding.EncodeToString(e.Body), int64(e.Time), hex.EncodeToString(e.LogID.KeyID), int64(e.Index))
		if err := l.Key.Verify([]byte(signed), e.Promise.Signature); err != nil {
			return at, errdefs.Permission("the promise of the log does not hold: %w", err)
		}
		at = time.Unix(int64(e.Time), 0).UTC()
		if err := l.trusted(at); err != nil {
			return at, err
		}
	}
	if e.Proof == nil {
		return at, nil
	}
	root, err := rootOf(e.Body, e.Proof)
	if err != nil {
		return at, err
	}
	if !bytes.Equal(root, e.Proof.Root) {
		return at, errdefs.Permission("the proof of the log does not hold: it leads to another tree")
	}
	return at, l.checkpoint(e, root)
}

// trusted checks that the log was trusted at each of the times.
func (l Log) trusted(times ...time.Time) error {
	for _, at := range times {
		if outside(at, l.Start, l.End) {
			return errdefs.Permission("the log was not trusted at %s", at.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// checkpoint checks the signature of a tree: a signed note (C2SP, tlog-checkpoint).
func (l Log) checkpoint(e bundle.LogEntry, root []byte) error {
	if len(e.Proof.Checkpoint.Envelope) > maxCheckpoint {
		return errdefs.Limit("the checkpoint of the log has more than %d bytes", maxCheckpoint)
	}
	text, signatures, ok := strings.Cut(e.Proof.Checkpoint.Envelope, "\n\n")
	if !ok {
		return errdefs.Corrupt("the checkpoint of the log cannot be read")
	}
	text += "\n"
	lines := strings.Split(text, "\n")
	if len(lines) < 4 {
		return errdefs.Corrupt("the checkpoint of the log cannot be read")
	}
	size, err := strconv.ParseUint(lines[1], 10, 63)
	if err != nil || size != uint64(e.Proof.Size) || lines[2] != base64.StdEncoding.EncodeToString(root) {
		return errdefs.Permission("the checkpoint of the log is of another tree")
	}
	if secondVersion(e) && l.Origin != "" && lines[0] != l.Origin {
		return errdefs.Permission("the checkpoint is of the log %.100q", lines[0])
	}
	for n, line := range strings.Split(signatures, "\n") {
		if n == maxEach {
			break
		}
		rest, ok := strings.CutPrefix(line, "— ")
		if !ok {
			continue
		}
		_, text64, _ := strings.Cut(rest, " ")
		sig, err := base64.StdEncoding.DecodeString(text64)
		if err == nil && len(sig) > 4 && l.Key.Verify([]byte(text), sig[4:]) == nil { // the first four name the key
			return nil
		}
	}
	return errdefs.Permission("the checkpoint is not signed by the log")
}

// origin is what a log calls itself in checkpoints, by its address.
func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// rootOf computes the root of a tree from an entry and its proof (RFC 9162, 2.1.3.2).
func rootOf(body []byte, p *bundle.InclusionProof) ([]byte, error) {
	bad := errdefs.Permission("the proof of the log does not hold")
	if p.Index < 0 || p.Size <= 0 || p.Index >= p.Size {
		return nil, bad
	}
	index, size := uint64(p.Index), uint64(p.Size)
	inner := bits.Len64(index ^ (size - 1))
	if len(p.Hashes) != inner+bits.OnesCount64(index>>inner) {
		return nil, bad
	}
	leaf := sha256.Sum256(append([]byte{0}, body...))
	sum := leaf[:]
	node := func(a, b []byte) []byte {
		h := sha256.New()
		h.Write([]byte{1})
		h.Write(a)
		h.Write(b)
		return h.Sum(nil)
	}
	for i, h := range p.Hashes {
		if len(h) != sha256.Size {
			return nil, bad
		}
		if i >= inner || index>>i&1 == 1 {
			sum = node(h, sum)
		} else {
			sum = node(sum, h)
		}
	}
	return sum, nil
}

// hashName finds a hash by the names that entries have.
func hashName(name string) crypto.Hash {
	switch name {
	case "sha256", "SHA2_256":
		return crypto.SHA256
	case "sha384", "SHA2_384":
		return crypto.SHA384
	case "sha512", "SHA2_512":
		return crypto.SHA512
	}
	return 0
}

// sums reports whether want is the hash of data.
func sums(algorithm string, want, data []byte) bool {
	h := hashName(algorithm)
	if h == 0 {
		return false
	}
	d := h.New()
	d.Write(data)
	return bytes.Equal(d.Sum(nil), want)
}
