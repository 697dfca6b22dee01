package userns

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

type maps = []specs.LinuxIDMapping

func TestParseMode(t *testing.T) {
	for text, want := range map[string]Mode{
		"":                                       {UID: -1, GID: -1},
		"host":                                   {Kind: Host, UID: -1, GID: -1},
		"nomap":                                  {Kind: NoMap, UID: -1, GID: -1},
		"keep-id":                                {Kind: KeepID, UID: -1, GID: -1},
		"keep-id:uid=7,gid=0,size=9":             {Kind: KeepID, UID: 7, GID: 0, Size: 9},
		"auto":                                   {Kind: Auto, UID: -1, GID: -1},
		"auto:size=5,uidmapping=1:2":             {Kind: Auto, Size: 5, UID: -1, GID: -1, UIDs: maps{{ContainerID: 1, HostID: 2, Size: 1}}},
		"auto:gidmapping=1:2:3,gidmapping=9:8:7": {Kind: Auto, UID: -1, GID: -1, GIDs: maps{{ContainerID: 1, HostID: 2, Size: 3}, {ContainerID: 9, HostID: 8, Size: 7}}},
		"container:web":                          {Kind: OfContainer, Container: "web", UID: -1, GID: -1},
	} {
		got, err := ParseMode(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v\n%s", text, err, diff)
		}
	}
	for _, text := range []string{
		"private", "ns:/x", "host:x", "nomap:x", "container:", "keep-id:", "keep-id:uid=-1", "keep-id:uid=4294967295", "keep-id:uidmapping=1:2:3", "auto:uid=1", "auto:size=0", "auto:size=x",
		"auto:uidmapping=1", "auto:uidmapping=1:2:0", "auto:uidmapping=1:2:3:4", "auto:uidmapping=1:2:4294967294", "auto:uidmapping=1:2:3,uidmapping=3:9:1", "auto:uidmapping=1:2:3,uidmapping=7:4:1",
	} {
		if m, err := ParseMode(text); !errdefs.IsInvalid(err) {
			t.Errorf("%q is read as %+v: %v", text, m, err)
		}
	}
}

func TestFree(t *testing.T) {
	within := []Range{{100, 50}, {1000, 100}}
	for _, c := range []struct {
		size  uint32
		used  []Range
		start uint32
		ok    bool
	}{
		{10, nil, 100, true},
		{50, nil, 100, true},
		{51, nil, 1000, true},
		{101, nil, 0, false},
		{10, []Range{{100, 10}}, 110, true},
		{10, []Range{{120, 10}, {105, 10}}, 130, true},
		{5, []Range{{120, 10}, {105, 10}}, 100, true},
		{10, []Range{{90, 15}}, 105, true},
		{60, []Range{{1040, 1}}, 0, false},
		{40, []Range{{0, 999}, {1000, 10}, {1060, 4294967295 - 1060}}, 1010, true},
		{4294967295, nil, 0, false},
	} {
		if start, ok := Free(c.size, within, c.used); start != c.start || ok != c.ok {
			t.Errorf("%d besides %v: %d, %t, want %d, %t", c.size, c.used, start, ok, c.start, c.ok)
		}
	}
}

func TestMaps(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want maps
	}{
		{"row", Row(1000, 10, nil), maps{{ContainerID: 0, HostID: 1000, Size: 10}}},
		{"row with another in it", Row(1000, 10, maps{{ContainerID: 3, HostID: 5, Size: 2}}),
			maps{{ContainerID: 0, HostID: 1000, Size: 3}, {ContainerID: 5, HostID: 1005, Size: 5}, {ContainerID: 3, HostID: 5, Size: 2}}},
		{"row with another first", Row(1000, 10, maps{{ContainerID: 0, HostID: 5, Size: 2}}), maps{{ContainerID: 2, HostID: 1002, Size: 8}, {ContainerID: 0, HostID: 5, Size: 2}}},
		{"row with another behind", Row(1000, 10, maps{{ContainerID: 8, HostID: 5, Size: 9}}), maps{{ContainerID: 0, HostID: 1000, Size: 8}, {ContainerID: 8, HostID: 5, Size: 9}}},
		{"keep", Keep(7, 10), maps{{ContainerID: 0, HostID: 1, Size: 7}, {ContainerID: 7, HostID: 0, Size: 1}, {ContainerID: 8, HostID: 8, Size: 2}}},
		{"keep root", Keep(0, 10), maps{{ContainerID: 0, HostID: 0, Size: 1}, {ContainerID: 1, HostID: 1, Size: 9}}},
		{"keep the last", Keep(9, 10), maps{{ContainerID: 0, HostID: 1, Size: 9}, {ContainerID: 9, HostID: 0, Size: 1}}},
		{"keep beyond", Keep(100, 10), maps{{ContainerID: 0, HostID: 1, Size: 9}, {ContainerID: 100, HostID: 0, Size: 1}}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.name, diff)
		}
		for _, id := range []int{0, 1, 3, 7, 9} {
			if out := Outside(c.got, id, -1); out >= 0 && Inside(c.got, out) != id {
				t.Errorf("%s: %d is %d outside, and that is %d inside", c.name, id, out, Inside(c.got, out))
			}
		}
	}
	if got := Inside(Keep(7, 10), 10); got != Nobody {
		t.Errorf("an id that is not there is %d inside", got)
	}
}

func TestRanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "subuid")
	if err := os.WriteFile(file, []byte("other:1:2\ncontainers:100000:65536\nbad\ncontainers:x:1\ncontainers:5:0\ncontainers:4294967290:10\n containers:7:8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Range{{100000, 65536}, {7, 8}}, Ranges(file, "containers")); diff != "" {
		t.Error(diff)
	}
	if got := Ranges(file+".none", "containers"); got != nil {
		t.Error(got)
	}
}

func TestOwn(t *testing.T) {
	if n := Own("uid_map"); n == 0 {
		t.Error("this process has no ids")
	}
}
