package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/flock"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/local"
	"github.com/camada/camada/registry/s3"
)

// openStorage opens what the configuration names: the directory, or an object store. Then the directory is this replica's own, for its socket, its key and
// what it sends to others.
func (s *server) openStorage(ctx context.Context) (registry.Storage, error) {
	if s.config.S3.Bucket == "" {
		return local.Open(ctx, s.data, local.Options{})
	}
	lock, err := ownDirectory(s.data)
	if err != nil {
		return nil, err
	}
	store, err := s3.Open(ctx, s3.Options{Endpoint: s.config.S3.Endpoint, Region: s.config.S3.Region, Bucket: s.config.S3.Bucket, Prefix: s.config.S3.Prefix, Virtual: s.config.S3.Virtual, Wrap: s.wrap()})
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("open the bucket %s: %w", s.config.S3.Bucket, err)
	}
	return &replica{store, lock}, nil
}

// replica is a storage in an object store, and what makes the directory this process's own.
type replica struct {
	*s3.Store

	lock *os.File
}

// Close ends the use of both.
func (r *replica) Close() error { return errors.Join(r.Store.Close(), r.lock.Close()) }

// ownDirectory makes a directory and locks it, until the file that it returns is closed.
func ownDirectory(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the registry's directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "replica.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("own the registry's directory: %w", err)
	}
	ok, err := flock.TryExclusive(f)
	if err == nil && !ok {
		err = errdefs.Unavailable("%s is in use by another process that serves a registry; name another one with --data", dir)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// where says where the registry is.
func (s *server) where() string {
	if s.config.S3.Bucket == "" {
		return s.data
	}
	name := "s3://" + s.config.S3.Bucket
	if s.config.S3.Prefix != "" {
		name += "/" + s.config.S3.Prefix
	}
	return name
}
