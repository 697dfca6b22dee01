package access

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
)

func TestMeter(t *testing.T) {
	all := []string{"**"}
	limits := []Limit{
		{all, []string{"root"}, Pull | Push | Delete, 0, 0},
		{[]string{"big/**"}, []string{Known}, Pull, 1, time.Hour},
		{all, []string{Known}, Pull, 3, time.Hour},
		{all, []string{Everybody}, Pull, 2, 6 * time.Hour},
		{all, []string{Known}, Push | Delete, 1, time.Minute},
	}
	g := gateOf(t, Options{Limits: limits})
	now := time.Now()
	for _, b := range g.limits {
		if b != nil {
			b.now = func() time.Time { return now }
		}
	}
	use := func(addr string, u Use) (http.Header, error) {
		t.Helper()
		r, h := request(t, ""), http.Header{}
		r.RemoteAddr = addr + ":1"
		end, err := g.Begin(r, u, h)
		end()
		return h, err
	}
	for i, tc := range []struct {
		addr string
		use  Use
		left string // "" is without a limit
		wait int    // seconds
	}{
		{"192.0.2.1", Use{Repository: "a", Action: Pull}, "1;w=21600", 0}, {"192.0.2.1", Use{Repository: "b", Action: Pull}, "0;w=21600", 0},
		{"192.0.2.1", Use{Repository: "a", Action: Pull}, "0;w=21600", 10800}, {"192.0.2.2", Use{Repository: "a", Action: Pull}, "1;w=21600", 0},
		{"192.0.2.1", Use{Repository: "a", Action: Pull, Look: true}, "0;w=21600", 0}, // a look is never refused
		{"192.0.2.2", Use{Repository: "a", Action: Pull, Look: true}, "1;w=21600", 0}, // nor counted
		{"192.0.2.2", Use{Repository: "a", Action: Pull, Look: true}, "1;w=21600", 0},
		// A user is counted by himself, wherever he is, and by the first limit only.
		{"192.0.2.1", Use{Who: "alice", Repository: "a", Action: Pull}, "2;w=3600", 0}, {"192.0.2.9", Use{Who: "alice", Repository: "a", Action: Pull}, "1;w=3600", 0},
		{"192.0.2.1", Use{Who: "alice", Repository: "big/a", Action: Pull}, "0;w=3600", 0}, {"192.0.2.1", Use{Who: "alice", Repository: "big/b", Action: Pull}, "0;w=3600", 3600},
		{"192.0.2.1", Use{Who: "bob", Repository: "big/b", Action: Pull}, "0;w=3600", 0}, {"192.0.2.1", Use{Who: "root", Repository: "a", Action: Pull}, "", 0},
		// Of several actions together.
		{"192.0.2.1", Use{Who: "alice", Repository: "a", Action: Push}, "0;w=60", 0}, {"192.0.2.1", Use{Who: "alice", Repository: "a", Action: Delete}, "0;w=60", 60},
		{"192.0.2.1", Use{Repository: "a", Action: Push}, "", 0}, {"192.0.2.1", Use{Repository: "a"}, "", 0},
	} {
		h, err := use(tc.addr, tc.use)
		wait := 0
		var w *WaitError
		if errors.As(err, &w) {
			wait = w.Seconds
		}
		if wait != tc.wait || h.Get("RateLimit-Remaining") != tc.left || (h.Get("RateLimit-Limit") == "") != (tc.left == "") {
			t.Errorf("%d: %+v: %v, %v", i, tc.use, h, err)
		}
	}
	if h, _ := use("192.0.2.7", Use{Repository: "a", Action: Pull}); h.Get("RateLimit-Limit") != "2;w=21600" || h.Get("Docker-RateLimit-Source") != "192.0.2.7" {
		t.Errorf("%v", h)
	}
	// What was counted goes on in the next gate, unless the limits are others.
	last := g
	g = gateOf(t, Options{Limits: limits, Last: last})
	if _, err := use("192.0.2.1", Use{Repository: "a", Action: Pull}); !errdefs.IsLimit(err) {
		t.Errorf("after a reload: %v", err)
	}
	g = gateOf(t, Options{Limits: limits[3:], Last: last})
	if _, err := use("192.0.2.1", Use{Repository: "a", Action: Pull}); err != nil {
		t.Errorf("after a reload with other limits: %v", err)
	}
	if now = now.Add(3 * time.Hour); last.limits[3].peek(clientAt(last.client(remote(t, "192.0.2.1:1")))) != nil {
		t.Error("after three hours")
	}
}

func remote(t *testing.T, addr string) *http.Request {
	r := request(t, "")
	r.RemoteAddr = addr
	return r
}

func TestUploadsAtOnce(t *testing.T) {
	g := gateOf(t, Options{Uploads: 2})
	begin := func(who, addr string) (func(), error) {
		return g.Begin(remote(t, addr), Use{Who: who, Repository: "a", Upload: true}, http.Header{})
	}
	end, err := begin("alice", "192.0.2.1:1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := begin("alice", "192.0.2.2:1"); err != nil {
		t.Error(err)
	}
	if _, err := begin("alice", "192.0.2.3:1"); !errdefs.IsLimit(err) {
		t.Errorf("the third: %v", err)
	}
	if _, err := begin("", "192.0.2.3:1"); err != nil {
		t.Errorf("somebody else: %v", err)
	}
	end()
	g = gateOf(t, Options{Uploads: 2, Last: g}) // they go on over a reload
	if end, err = begin("alice", "192.0.2.3:1"); err != nil {
		t.Errorf("after one ended: %v", err)
	}
	if _, err := begin("alice", "192.0.2.3:1"); !errdefs.IsLimit(err) {
		t.Errorf("the third again: %v", err)
	}
	end()
	if n := len(g.uploads.busy); n != 2 {
		t.Errorf("%d clients are counted", n)
	}
}
