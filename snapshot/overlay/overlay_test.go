package overlay_test

import (
	"context"
	"os"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/snapshot"
	"github.com/camada/camada/snapshot/overlay"
	"github.com/camada/camada/snapshot/snapshottest"
)

func TestMain(m *testing.M) { snapshottest.Main(m, open) }

// open takes what works here, in a user namespace too.
func open(dir string, pins lease.Pinner) (snapshot.Snapshotter, error) {
	sup, err := overlay.Probe(context.Background(), dir)
	if err != nil {
		return nil, err
	}
	if !sup.OK {
		return nil, errdefs.Unsupported("%s", sup.Reason)
	}
	return overlay.Open(dir, overlay.Options{Pins: pins, UserXattr: sup.UserXattr, RecordOwner: sup.RecordOwner}), nil
}

func TestSuite(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("overlays need root or a user namespace")
	}
	snapshottest.Run(t, open)
}

func TestSuiteInUserNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the mapping of ids needs root")
	}
	t.Run("range", func(t *testing.T) { snapshottest.InUserNamespace(t, 65536, "^TestSuite$") })
	t.Run("oneID", func(t *testing.T) { snapshottest.InUserNamespace(t, 1, "^TestSuite$") })
}
