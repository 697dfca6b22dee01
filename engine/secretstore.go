package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/secret"
	"github.com/opencontainers/go-digest"
)

// maxSecretFinds is the size of what is remembered of a layer, in bytes.
const maxSecretFinds = 64 << 20

// secretStore remembers what was found in layers, by diffID and the version of the rules: one file of JSON each, in which secrets are masked. It can go at any time.
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
