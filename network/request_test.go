package network

import (
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/google/go-cmp/cmp"
)

func TestParseRequest(t *testing.T) {
	r, err := ParseRequest("name=back,alias=db,alias=data,ip=10.0.0.9,ip6=fd00::9,mac-address=02:42:AC:11:00:02")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"db", "data"}; r.Network != "back" || !cmp.Equal(r.Aliases, want) || r.Address.String() != "10.0.0.9" || r.Address6.String() != "fd00::9" || r.MAC != "02:42:ac:11:00:02" {
		t.Errorf("request: %+v", r)
	}
	if r, err := ParseRequest("back"); err != nil || r.Network != "back" {
		t.Errorf("a name alone: %+v %v", r, err)
	}
	for _, bad := range []string{"", "alias=x", "name=a,ip=fd00::1", "name=a,ip6=1.2.3.4", "name=a,ip=0.0.0.0", "name=a,ip=127.0.0.1", "name=a,mac-address=01:00:00:00:00:00", "name=a,alias=../x", "name=a,x", "name=a,x=y", `name="`, "name="} {
		if r, err := ParseRequest(bad); !errdefs.IsInvalid(err) {
			t.Errorf("ParseRequest(%q) = %+v, %v", bad, r, err)
		}
	}
	if _, err := ParseRequest("name=a,gw-priority=1"); !errdefs.IsUnsupported(err) {
		t.Errorf("gw-priority: %v", err)
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{"back", "name=a,alias=b", "name=a,ip=1.2.3.4,ip6=fd00::1,mac-address=02:00:00:00:00:01", `"name=a"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRequest(s)
		if err == nil && r.Network == "" {
			t.Errorf("ParseRequest(%q): no network and no error", s)
		}
		for _, a := range r.Aliases {
			if !ValidName(a) {
				t.Errorf("ParseRequest(%q): alias %q", s, a)
			}
		}
	})
}
