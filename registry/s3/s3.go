// Package s3 keeps a registry in an object store with Amazon's S3 protocol, for any number of replicas at once.
//
//	store, err := s3.Open(ctx, s3.Options{Bucket: "registry", Region: "eu-central-1"})
//	defer store.Close()
//
// There is no database and no leader: each replica is one Storage, and all that they share is the bucket. What changes is changed by
// conditional writes (If-None-Match, If-Match), of which the store lets one win; everything else is written once and never changes.
//
// # What lies where
//
//	r/NAME!/b/ALG-HEX           a blob of a repository: small bytes themselves, or the name of the object that has them
//	r/NAME!/m/ALG-HEX           a manifest of a repository, with its bytes
//	r/NAME!/f/ALG-HEX/ALG-HEX   empty: the second refers to the first
//	r/NAME!/q/ALG-HEX/ALG-HEX   empty: the second, a manifest, requires the first
//	t/NAME!/TAG                 a tag, with its last moves
//	l/NAME!/TAG/NUMBER          older moves of the tag, 20 each
//	b/ID                        bytes; an ID is never used again
//	d/ALG-HEX/ID                empty: where bytes of that digest are
//	x/ID                        empty: the bytes will go, nobody may link to them any more
//	u/ID, w/ID/RANDOM           an upload, and the last bytes that make no part yet
//	n/NAME!                     a note
//	sweep                       who sweeps
//
// NAME is the repository's, with other characters for "/", "." and "-", so that keys are in the order of names and no name is a folder of another.
//
// # Cells
//
// What changes is a cell: a line of JSON and a body. Each version has a random number in it, so that no two have one ETag, and a
// writer whose answer was lost finds out whether it won. A cell is live, or on its way in (pending) or out (condemned, leaving, deleted, dead); package documentation of
// each state stands with its constant.
package s3

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"os"
	"time"

	"github.com/camada/camada/registry/s3/internal/object"
)

// Options say where the objects are.
type Options struct {
	// Endpoint is the store's address; "" is Amazon's for the region.
	Endpoint string
	// Region "" is that of the environment, or us-east-1.
	Region string
	Bucket string
	// Prefix stands before all keys; "" or a folder without slashes around it.
	Prefix string
	// Virtual puts the bucket into the host's name.
	Virtual bool
	// AccessKey, SecretKey and Token are credentials; an empty AccessKey takes them from where Amazon's tools look.
	AccessKey, SecretKey, Token string
	// Create makes the bucket when it is not there.
	Create bool
	// Cache is how many bytes of manifests and tags are kept in memory; 0 means 64 MiB.
	Cache int64
	// Memory is how many bytes of uploads are held in memory; 0 means 256 MiB.
	Memory int64
	// Lease is how long an upload or a sweep is held for a replica of which nothing is heard; 0 means 30 seconds.
	Lease time.Duration
	// Transport makes the requests; nil is one of our own.
	Transport http.RoundTripper
	// Wrap is put around what makes the requests, to watch them; nil is nothing.
	Wrap func(http.RoundTripper) http.RoundTripper
	// Tries is how often a request is made, and Timeout how long nothing may happen in a try; 0 are sensible ones.
	Tries   int
	Timeout time.Duration
}

// Store is a registry.Storage in an object store.
type Store struct {
	o      *object.Client
	prefix string
	lease  time.Duration
	cache  *cache
	room   *room
}

// Open opens a registry; the bucket must be there, unless it is to be made.
func Open(ctx context.Context, opts Options) (*Store, error) {
	var source object.Source = object.Static{ID: opts.AccessKey, Secret: opts.SecretKey, Token: opts.Token}
	if opts.AccessKey == "" {
		source = object.FromEnvironment(os.Getenv)
	}
	if opts.Region == "" {
		opts.Region = object.Region(os.Getenv)
	}
	client, err := object.New(object.Config{
		Endpoint: opts.Endpoint, Region: opts.Region, Bucket: opts.Bucket, Virtual: opts.Virtual, Credentials: source,
		Transport: opts.Transport, Wrap: opts.Wrap, Tries: opts.Tries, Timeout: opts.Timeout,
	})
	if err != nil {
		return nil, err
	}
	s := &Store{o: client, lease: opts.Lease}
	if opts.Prefix != "" {
		s.prefix = opts.Prefix + "/"
	}
	if s.lease == 0 {
		s.lease = 30 * time.Second
	}
	if opts.Cache == 0 {
		opts.Cache = 64 << 20
	}
	if opts.Memory == 0 {
		opts.Memory = 256 << 20
	}
	s.cache, s.room = newCache(opts.Cache), newRoom(opts.Memory)
	if opts.Create {
		err = client.CreateBucket(ctx)
	} else {
		err = client.BucketExists(ctx)
	}
	if err != nil {
		client.Close()
		return nil, err
	}
	return s, nil
}

// Close drops what is held in memory.
func (s *Store) Close() error {
	s.o.Close()
	return nil
}

// newID is a name that nobody can guess and that is never used again.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}
