package s3_test

import (
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camada/camada/internal/peers"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/registrytest"
	"github.com/camada/camada/registry/s3"
)

// server is an object store in which each test has a folder of its own.
type server struct {
	o peers.Objects
	n atomic.Int64
}

func versity(t *testing.T) *server {
	t.Helper()
	p := peers.Need(t, "versitygw")
	if err := inMemory(t, p.Path("versitygw"), "2g"); err != nil {
		t.Log("the object store is on a disk: ", err) // and slower
	}
	return &server{o: p.StartVersity()}
}

// options are those of a new registry.
func (s *server) options() s3.Options {
	return s3.Options{
		Endpoint: s.o.Endpoint, Bucket: "registry", Prefix: "test" + strconv.FormatInt(s.n.Add(1), 10),
		AccessKey: s.o.ID, SecretKey: s.o.Secret, Create: true,
	}
}

// open opens a replica.
func open(t *testing.T, o s3.Options) *s3.Store {
	t.Helper()
	store, err := s3.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// replica remembers where a storage is.
type replica struct {
	*s3.Store

	options s3.Options
}

func conform(t *testing.T, s *server) {
	registrytest.Run(t, registrytest.Driver{
		Open: func(t *testing.T) registry.Storage {
			o := s.options()
			return &replica{open(t, o), o}
		},
		Reopen: func(t *testing.T, old registry.Storage) registry.Storage {
			r := old.(*replica)
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			return &replica{open(t, r.options), r.options}
		},
		Grain:    110 * time.Millisecond, // from 100 ms on, the suite makes fewer things
		Condemns: true,
	})
}

func TestConformance(t *testing.T) { conform(t, versity(t)) }

func TestConformanceMinio(t *testing.T) {
	if os.Getenv("CAMADA_TEST_LONG") == "" {
		t.Skip("the same as on versitygw; CAMADA_TEST_LONG=1 runs it")
	}
	conform(t, &server{o: peers.Need(t, "minio").StartMinio()})
}

// TestFaults: replicas, networks and processes fail.
func TestFaults(t *testing.T) {
	srv := versity(t)
	for name, run := range map[string]func(*testing.T, *server){
		"ReplicasOneTag": testReplicasOneTag, "LostAnswers": testLostAnswers, "TakenOver": testTakenOver, "Cuts": testCuts, "Storm": testStorm, "Killed": testKilled, "Parts": testParts,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, srv)
		})
	}
}
