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
	out := &secret.Summary{}
	if json.Unmarshal(data, out) != nil {
		return nil
	}
	if now := time.Now(); now.Sub(info.ModTime()) > renewed {
		_ = os.Chtimes(name, now, now)
	}
	return out
}

// layerPair names a blob together with a diffID: it is the digest of a text that no layer has.
func layerPair(blob, diffID digest.Digest) digest.Digest {
	return digest.FromString("blob " + blob.String() + " has the diffID " + diffID.String())
}

// layer is what is remembered of a layer, when the blob is known to be that layer; known is false when something is remembered that may be of another one.
func (s *secretStore) layer(desc ocispec.Descriptor, diffID digest.Digest) (sum *secret.Summary, known bool) {
	if sum = s.get(diffID); sum == nil {
		return nil, true
	}
	return sum, desc.Digest == diffID || s.get(layerPair(desc.Digest, diffID)) != nil
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
	_ = s.put(layerPair(desc.Digest, diffID), &secret.Summary{}) // it spares time
	return sum, nil
}

// put writes aside, and does not sync: what was cut short is no JSON.
func (s *secretStore) put(id digest.Digest, sum *secret.Summary) error {
	name, err := s.path(id)
	if err != nil {
		return err
	}
	data, err := json.Marshal(sum)
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
