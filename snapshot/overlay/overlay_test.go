package overlay_test

import (
	"context"
	"fmt"
	"os"
	"strings"
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

// TestProbe knows by the map of ids what must come out.
func TestProbe(t *testing.T) {
	dir := t.TempDir()
	sup, err := overlay.Probe(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var inner, outer, n uint64
	m, err := os.ReadFile("/proc/self/uid_map")
	if err == nil {
		_, err = fmt.Sscan(string(m), &inner, &outer, &n)
	}
	if err != nil {
		t.Fatal(err)
	}
	want := overlay.Support{OK: true, UserXattr: outer != 0, RecordOwner: n == 1}
	if os.Geteuid() != 0 {
		want = overlay.Support{Reason: sup.Reason, RecordOwner: true}
		if !strings.Contains(sup.Reason, "not permitted") {
			t.Errorf("the reason is %q", sup.Reason)
		}
	}
	if sup != want {
		t.Errorf("Probe = %+v, want %+v", sup, want)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("Probe left %v, %v", left, err)
	}
}

func TestSuiteInUserNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the mapping of ids needs root")
	}
	t.Run("range", func(t *testing.T) { snapshottest.InUserNamespace(t, 65536, "^Test(Suite|Probe)$") })
	t.Run("none", func(t *testing.T) { snapshottest.InUserNamespace(t, 0, "^TestProbe$") })
	t.Run("oneID", func(t *testing.T) { snapshottest.InUserNamespace(t, 1, "^Test(Suite|Probe)$") })
}
