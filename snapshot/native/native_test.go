package native_test

import (
	"context"
	"os"
	"testing"

	"github.com/camada/camada/lease"
	"github.com/camada/camada/snapshot"
	"github.com/camada/camada/snapshot/native"
	"github.com/camada/camada/snapshot/snapshottest"
)

func TestMain(m *testing.M) { snapshottest.Main(m, open) }

func open(dir string, pins lease.Pinner) (snapshot.Snapshotter, error) {
	sup, err := native.Probe(context.Background(), dir)
	if err != nil {
		return nil, err
	}
	return native.Open(dir, native.Options{Pins: pins, RecordOwner: sup.RecordOwner}), nil
}

func TestSuite(t *testing.T) { snapshottest.Run(t, open) }

func TestSuiteInUserNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the mapping of ids needs root")
	}
	snapshottest.InUserNamespace(t, 1, "^TestSuite$")
}
