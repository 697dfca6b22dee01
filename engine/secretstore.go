package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
	"unicode/utf8"

	"github.com/camada/camada/content"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/secret"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxSecretFinds is the size of what is remembered of a layer, in bytes.
const maxSecretFinds = 64 << 20

// secretStore remembers what was found in layers, by diffID and the version of the rules: one file of JSON each, in which secrets are masked. It can go at any time.
// An image only claims which diffIDs its layers have; so of each blob it remembers, too, that it was read and has the diffID, and what it remembers of a diffID counts for no other blob.
// All that is no diffID has names of its own: see aside.
type secretStore struct{ dir, version string }

func (e *Engine) secretFinds(version string) *secretStore {
	return &secretStore{filepath.Join(e.root, "cache", "secrets"), version}
}

func (s *secretStore) path(id digest.Digest) (string, error) {
	if err := content.CheckDigest(id); err != nil {
		return "", fmt.Errorf("diffID: %w", err)
	}
	return filepath.Join(s.dir, s.version+"-"+id.Algorithm().String()+"-"+id.Encoded()+".json"), nil
}

// kept is a Summary as it is written: of paths that are no UTF-8 JSON would keep others.
type kept struct {
	secret.Summary
	// FoundIn and ClosedIn are such paths of Findings, and of Closed, by their number there.
	FoundIn, ClosedIn map[int][]byte `json:",omitempty"`
}

// keep is for what is written.
func keep(sum *secret.Summary) *kept {
	k := &kept{Summary: *sum, FoundIn: map[int][]byte{}, ClosedIn: map[int][]byte{}}
	for i := range sum.Findings {
		if path := sum.Findings[i].Path; !utf8.ValidString(path) {
			k.FoundIn[i] = []byte(path)
		}
	}
	for i, path := range sum.Closed {
		if !utf8.ValidString(path) {
			k.ClosedIn[i] = []byte(path)
		}
	}
	return k
}

// summary is for what was read.
func (k *kept) summary() *secret.Summary {
	for i, path := range k.FoundIn {
		if i >= 0 && i < len(k.Findings) {
			k.Findings[i].Path = string(path)
		}
	}
	for i, path := range k.ClosedIn {
		if i >= 0 && i < len(k.Closed) {
			k.Closed[i] = string(path)
		}
	}
	return &k.Summary
}

// clean reports whether it is remembered that there is nothing to say of what is named aside.
func (s *secretStore) clean(name digest.Digest) bool { return s.get(name) != nil }

// putClean remembers it. An error of it would only cost time.
func (s *secretStore) putClean(name digest.Digest) { _ = s.put(name, &secret.Summary{}) }

// get is nil when nothing is remembered, or it is damaged.
func (s *secretStore) get(id digest.Digest) *secret.Summary {
	name, err := s.path(id)
	if err != nil {
		return nil
	}
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxSecretFinds {
		return nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	var k kept
	if json.Unmarshal(data, &k) != nil {
		return nil
	}
	if now := time.Now(); now.Sub(info.ModTime()) > renewed {
		_ = os.Chtimes(name, now, now)
	}
	return k.summary()
}

// aside names what is no layer but is remembered, too: texts and images without secrets, and blobs together with the diffID that they have. A text or a manifest can be a tar at
// the same time, and its own digest the diffID of a layer; what this is the digest of is too short for a tar.
func aside(what string, of ...digest.Digest) digest.Digest {
	for _, d := range of {
		what += " " + d.String()
	}
	return digest.FromString(what)
}

// layerPair names a blob together with a diffID.
func layerPair(blob, diffID digest.Digest) digest.Digest { return aside("layer", blob, diffID) }

// layer is what is remembered of a layer, when the blob is known to be that layer; known is false when something is remembered that may be of another one.
func (s *secretStore) layer(desc ocispec.Descriptor, diffID digest.Digest) (sum *secret.Summary, known bool) {
	if sum = s.get(diffID); sum == nil {
		return nil, true
	}
	// A blob whose digest is the diffID is asked for, too: a tar can begin as something compressed does, and then what comes out of it is another.
	return sum, s.clean(layerPair(desc.Digest, diffID))
}

// putLayer remembers what was found in a layer that was read to its end, so that its blob has the diffID.
func (s *secretStore) putLayer(desc ocispec.Descriptor, diffID digest.Digest, sum *secret.Summary) error {
	return errors.Join(s.put(diffID, sum), s.put(layerPair(desc.Digest, diffID), &secret.Summary{}))
}

// verified is layer, and finds out whether the blob is that layer by reading it, which takes less than to look into it. nil is nothing remembered.
func (s *secretStore) verified(ctx context.Context, p content.Provider, desc ocispec.Descriptor, diffID digest.Digest) (*secret.Summary, error) {
	sum, known := s.layer(desc, diffID)
	if known {
		return sum, nil
	}
	r, err := layer.Open(ctx, p, desc, diffID, layer.OpenOptions{})
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, r)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	s.putClean(layerPair(desc.Digest, diffID))
	return sum, nil
}

// put writes aside, and does not sync: what was cut short is no JSON.
func (s *secretStore) put(id digest.Digest, sum *secret.Summary) error {
	name, err := s.path(id)
	if err != nil {
		return err
	}
	data, err := json.Marshal(keep(sum))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("remember what was found in a layer: %w", err)
	}
	f, err := os.CreateTemp(s.dir, ".*")
	if err != nil {
		return fmt.Errorf("remember what was found in a layer: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("remember what was found in a layer: %w", err)
	}
	return nil
}

// Expire removes what was not used since before, and what killed processes left.
func (s *secretStore) Expire(before time.Time, dryRun bool) (int64, error) {
	return (&scanStore{s.dir}).Expire(before, dryRun)
}
