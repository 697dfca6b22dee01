package quota_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/peers"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/local"
	"github.com/camada/camada/registry/quota"
	"github.com/camada/camada/registry/registrytest"
	"github.com/camada/camada/registry/s3"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// generous are quotas within which everything is.
func generous(s registry.Storage) *quota.Storage {
	return quota.New(s, quota.Options{Limits: []quota.Limit{{Repositories: []string{"**"}, Allowed: quota.Amount{Bytes: 1 << 40}}, {Repositories: []string{"**"}, Each: true, Allowed: quota.Amount{Tags: 1 << 20}}}})
}

// TestConformance: who stays within his quota sees a storage like any other.
func TestConformance(t *testing.T) {
	open := func(t *testing.T, dir string) registry.Storage {
		s, err := local.Open(t.Context(), dir, local.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return generous(s)
	}
	registrytest.Run(t, registrytest.Driver{
		Open: func(t *testing.T) registry.Storage { return open(t, t.TempDir()) },
		Reopen: func(t *testing.T, s registry.Storage) registry.Storage {
			dir := s.(*quota.Storage).Storage.(*local.Store).Root()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, dir)
		},
		Grain: 10 * time.Millisecond,
	})
}

// TestConformanceObjects is the same in an object store.
func TestConformanceObjects(t *testing.T) {
	if os.Getenv("CAMADA_TEST_LONG") == "" {
		t.Skip("the drivers' own suites and the tests below cover it; CAMADA_TEST_LONG=1 runs it")
	}
	o := peers.Need(t, "versitygw").StartVersity()
	open := func(t *testing.T, prefix string) registry.Storage {
		s, err := s3.Open(t.Context(), s3.Options{Endpoint: o.Endpoint, Bucket: "registry", Prefix: prefix, AccessKey: o.ID, SecretKey: o.Secret, Create: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return generous(s)
	}
	prefix := func(t *testing.T) string { return strings.ToLower(path.Base(t.Name())) }
	registrytest.Run(t, registrytest.Driver{
		Open: func(t *testing.T) registry.Storage { return open(t, prefix(t)) },
		Reopen: func(t *testing.T, s registry.Storage) registry.Storage {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, prefix(t))
		},
		Grain:    110 * time.Millisecond, // from 100 ms on, the suite makes fewer things
		Condemns: true,
	})
}

// each runs a test on both drivers; open opens a replica, which for a directory is the same process.
func each(t *testing.T, limits []quota.Limit, test func(t *testing.T, one, other *quota.Storage)) {
	t.Helper()
	opts := quota.Options{Limits: limits}
	plain(t, func(t *testing.T, one, other registry.Storage) { test(t, quota.New(one, opts), quota.New(other, opts)) })
}

// plain runs a test on two replicas of both drivers, without quotas.
func plain(t *testing.T, test func(t *testing.T, one, other registry.Storage)) {
	t.Helper()
	t.Run("local", func(t *testing.T) {
		s, err := local.Open(t.Context(), t.TempDir(), local.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		test(t, s, s)
	})
	t.Run("s3", func(t *testing.T) {
		o := peers.Need(t, "versitygw").StartVersity()
		var replicas []registry.Storage
		for range 2 {
			s, err := s3.Open(t.Context(), s3.Options{Endpoint: o.Endpoint, Bucket: "registry", AccessKey: o.ID, SecretKey: o.Secret, Create: true})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			replicas = append(replicas, s)
		}
		test(t, replicas[0], replicas[1])
	})
}

func put(t *testing.T, s registry.Storage, repository string, b []byte) error {
	t.Helper()
	return s.PutBlob(t.Context(), repository, ocispec.Descriptor{Digest: digest.FromBytes(b), Size: int64(len(b))}, bytes.NewReader(b))
}

// tag stores a small document under a tag.
func tag(t *testing.T, s registry.Storage, repository, name, text string) (digest.Digest, error) {
	t.Helper()
	data, err := json.Marshal(map[string]string{"text": text})
	if err != nil {
		t.Fatal(err)
	}
	m, err := registry.ParseManifest("application/vnd.example+json", data, digest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return m.Descriptor.Digest, s.PutManifest(t.Context(), repository, m, registry.PutOptions{Tags: []string{name}})
}

func used(t *testing.T, s *quota.Storage) []quota.Used {
	t.Helper()
	list, err := s.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func denied(t *testing.T, err error, words ...string) {
	t.Helper()
	if !errdefs.IsPermission(err) {
		t.Errorf("%v, want it to be denied", err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v, want %q in it", err, w)
		}
	}
}

func TestBytes(t *testing.T) {
	limits := []quota.Limit{{Repositories: []string{"team/**"}, Allowed: quota.Amount{Bytes: 1000}}, {Repositories: []string{"team/small"}, Allowed: quota.Amount{Bytes: 100}}}
	each(t, limits, func(t *testing.T, one, other *quota.Storage) {
		ctx := t.Context()
		b := bytes.Repeat([]byte("a"), 600)
		ok(t, put(t, one, "team/a", b))
		ok(t, put(t, other, "team/a", b)) // it is there already
		denied(t, put(t, other, "team/b", b), "600 of 1000 bytes are used", "600 more", "team/**")
		denied(t, one.MountBlob(ctx, "team/b", "team/a", digest.FromBytes(b)), "600 of 1000")
		ok(t, put(t, one, "else", b))
		ok(t, put(t, one, "team/b", b[:400]))
		if u := used(t, other); len(u) != 2 || u[0].Used.Bytes != 1000 || u[1].Used.Bytes != 0 {
			t.Errorf("used %+v", u)
		}
		denied(t, put(t, other, "team/small", []byte("x")))
		// What was removed makes room, for both at once.
		ok(t, other.DeleteBlob(ctx, "team/b", digest.FromBytes(b[:400])))
		ok(t, put(t, one, "team/small", b[:99]))
		denied(t, put(t, one, "team/small", b[:2]), "99 of 100")
		if u := used(t, one); u[0].Used.Bytes != 699 || u[1].Used.Bytes != 99 {
			t.Errorf("used %+v", u)
		}
		// Wrong bytes cost nothing.
		if err := one.PutBlob(ctx, "team/a", ocispec.Descriptor{Digest: digest.FromString("y"), Size: 1}, strings.NewReader("z")); !errdefs.IsCorrupt(err) {
			t.Errorf("wrong bytes: %v", err)
		}
		if u := used(t, one); u[0].Used.Bytes != 699 {
			t.Errorf("used %+v", u)
		}
	})
}

func TestTagsAndManifests(t *testing.T) {
	limits := []quota.Limit{{Repositories: []string{"**"}, Each: true, Allowed: quota.Amount{Tags: 2, Manifests: 3}}}
	each(t, limits, func(t *testing.T, one, other *quota.Storage) {
		first, err := tag(t, one, "a", "v1", "1")
		ok(t, err)
		_, err = tag(t, other, "a", "v2", "2")
		ok(t, err)
		_, err = tag(t, one, "a", "v3", "1")
		denied(t, err, "2 of 2 tags", "quota of a ")
		_, err = tag(t, one, "b", "v3", "1") // another one has its own
		ok(t, err)
		_, err = tag(t, one, "a", "v2", "3") // a move
		ok(t, err)
		_, err = tag(t, other, "a", "v2", "4")
		denied(t, err, "3 of 3 manifests")
		denied(t, one.MoveTag(t.Context(), "a", "v4", registry.Move{To: first}))
		ok(t, one.MoveTag(t.Context(), "a", "v1", registry.Move{}))
		ok(t, other.MoveTag(t.Context(), "a", "v4", registry.Move{To: first}))
		ok(t, other.DeleteManifest(t.Context(), "a", first, registry.Mover{}))
		_, err = tag(t, one, "a", "v5", "5")
		ok(t, err)
		for _, u := range used(t, one) {
			if u.Repository == "a" && (u.Used.Tags != 2 || u.Used.Manifests != 3) {
				t.Errorf("used %+v", u)
			}
		}
	})
}

// TestManyAtOnce: of pushes that do not all fit, as many are taken as do, through two replicas.
func TestManyAtOnce(t *testing.T) {
	limits := []quota.Limit{{Repositories: []string{"**"}, Allowed: quota.Amount{Bytes: 1000}}}
	each(t, limits, func(t *testing.T, one, other *quota.Storage) {
		ok(t, put(t, one, "a", bytes.Repeat([]byte("x"), 100)))
		var mu sync.Mutex
		taken := 0
		var wg sync.WaitGroup
		for i := range 30 {
			s := one
			if i%2 == 1 {
				s = other
			}
			wg.Go(func() {
				b := append(bytes.Repeat([]byte("y"), 97), fmt.Sprintf("%03d", i/2)...) // each twice
				err := put(t, s, fmt.Sprintf("r%d", i%3), b)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					taken++
				} else if !errdefs.IsPermission(err) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		ok(t, put(t, one, "else", nil))
		// Counted anew it is the same, and all of it is used.
		_, err := one.Sweep(t.Context(), registry.SweepOptions{})
		ok(t, err)
		if u := used(t, one); u[0].Used.Bytes != 1000 || taken < 9 {
			t.Errorf("%d were taken; used %+v", taken, u)
		}
	})
}

// TestConfiguredLater: what is there counts, also when it was pushed before there was a quota.
func TestConfiguredLater(t *testing.T) {
	plain(t, func(t *testing.T, s, other registry.Storage) {
		ok(t, put(t, s, "a", bytes.Repeat([]byte("a"), 600)))
		q := quota.New(other, quota.Options{Limits: []quota.Limit{{Repositories: []string{"*"}, Allowed: quota.Amount{Bytes: 1000}}}})
		denied(t, put(t, q, "a", bytes.Repeat([]byte("b"), 500)), "600 of 1000")
		ok(t, put(t, q, "a", bytes.Repeat([]byte("b"), 400)))
		if u := used(t, q); u[0].Used.Bytes != 1000 {
			t.Errorf("used %+v", u)
		}
	})
}
