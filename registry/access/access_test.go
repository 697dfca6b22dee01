package access

import (
	"net/netip"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
)

func TestRules(t *testing.T) {
	rules := Rules{
		{Repositories: []string{"public/**"}, Users: []string{Everybody}, Actions: Pull},
		{Repositories: []string{"team/**"}, Users: []string{"alice", "ci-*"}, Actions: Pull | Push},
		{Repositories: []string{"team/app"}, Users: []string{"alice"}, Actions: Delete},
		{Repositories: []string{"home/{user}/**"}, Users: []string{Known}, Actions: Pull | Push | Delete},
		{Repositories: []string{"**"}, Users: []string{"root"}, Actions: Pull | Push | Delete | Admin},
	}
	for _, tc := range []struct {
		user, repo string
		what       Action
		want       bool
	}{
		{"", "public/a", Pull, true}, {"", "public/a", List, true}, {"", "public/a", Push, false}, {"", "team/app", Pull, false}, {"bob", "public/a", Pull, true},
		{"alice", "team/app", Pull | Push | Delete, true}, // of two rules together
		{"alice", "team/other", Delete, false}, {"ci-1", "team/app", Push, true}, {"ci", "team/app", Push, false},
		{"bob", "home/bob/x", Push, true}, {"bob", "home/alice/x", Push, false}, {"*", "home/alice/x", Pull, false}, {"", "home//x", Pull, false},
		{"root", "", Admin, true}, {"alice", "", Admin, false}, {"", "", Admin, false}, {"bob", "team/app", List, false},
	} {
		if got := rules.Allow(tc.user, tc.repo, tc.what); got != tc.want {
			t.Errorf("%q, %q, %b: %v", tc.user, tc.repo, tc.what, got)
		}
	}
	if _, err := ParseActions([]string{"pull", "fly"}); !errdefs.IsInvalid(err) {
		t.Errorf("an unknown action: %v", err)
	}
}

func TestBuckets(t *testing.T) {
	now := time.Unix(1000, 0)
	b := newBuckets(2, 3)
	b.now = func() time.Time { return now }
	one, two := clientAt(netip.MustParseAddr("192.0.2.1")), clientAt(netip.MustParseAddr("192.0.2.2"))
	for range 3 {
		if err := b.take(one); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.take(one); !errdefs.IsLimit(err) {
		t.Errorf("the fourth: %v", err)
	}
	if err := b.take(two); err != nil {
		t.Errorf("another one: %v", err)
	}
	now = now.Add(500 * time.Millisecond)
	if err := b.peek(one); err != nil {
		t.Errorf("after half a second: %v", err)
	}
	if err := b.take(one); err != nil {
		t.Errorf("after half a second: %v", err)
	}
	if err := b.take(one); !errdefs.IsLimit(err) {
		t.Errorf("at once again: %v", err)
	}
	// Those of one network of IPv6 are one client, and the table does not grow without an end.
	for i := range 3 {
		_ = b.take(clientAt(netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)})))
	}
	if err := b.take(clientAt(netip.AddrFrom16([16]byte{0x20, 1, 15: 9}))); !errdefs.IsLimit(err) {
		t.Errorf("a neighbour: %v", err)
	}
	for i := range 2 * maxClients {
		_ = b.take(clientAt(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})))
	}
	if n := len(b.newer) + len(b.older); n > maxClients {
		t.Errorf("%d clients are counted", n)
	}
}
