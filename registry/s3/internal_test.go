package s3

import (
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/s3/internal/object"
)

func TestNames(t *testing.T) {
	names := []string{"a", "a-a", "a-b/c", "a.b", "a/a", "a/b", "a/b-c", "a/b/c", "a0", "a_b", "aa", "z"}
	var keys []string
	for _, n := range names {
		k, err := encodeName(n)
		if err != nil {
			t.Fatal(err)
		}
		if got := decodeName(k); got != n {
			t.Errorf("%q became %q and then %q", n, k, got)
		}
		keys = append(keys, k+"/")
	}
	if !slices.IsSorted(keys) {
		t.Errorf("keys are in another order than names: %q", keys)
	}
	for i, k := range keys {
		for j, other := range keys {
			if i != j && strings.HasPrefix(other, k) {
				t.Errorf("%q is a folder of %q", other, k)
			}
		}
	}
	for _, bad := range []string{"", "A", "a!b", "a b", "/a", "a\x00", "../a"} {
		if k, err := encodeName(bad); !errdefs.IsInvalid(err) {
			t.Errorf("%q became %q", bad, k)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, h := range []head{{Nonce: "n", State: live, Size: 3}, {Nonce: "n", State: pending, ID: "x"}} {
		data, err := encode(h, []byte("body"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add("r!", data)
	}
	f.Add("a.b)c!", []byte("{}\n"))
	f.Add("r!", []byte(`{"nonce":"n","state":"live"}`+"\n"+`{"chunks":-1}`))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		if n := decodeName(name); n != "" {
			if again, err := encodeName(n); err != nil || again != name {
				t.Errorf("%q became %q and then %q", name, n, again)
			}
		}
		h, body, err := decode("k", data)
		if err != nil {
			return
		}
		c := &cell{head: h, key: "k", body: body}
		if st, err := tagOf(c); err == nil && (st.Chunks < 0 || st.Chunks > maxChunks) {
			t.Errorf("a log in %d parts", st.Chunks)
		}
		u := &upload{}
		if err := u.load(c); err == nil && u.state.Size < 0 {
			t.Errorf("upload %+v", u.state)
		}
		for _, st := range []state{live, pending, condemned, leaving, deleted, dead} {
			h.State = st
			out, err := encode(h, body)
			if err != nil {
				t.Fatal(err)
			}
			if isLive(object.Entry{Size: int64(len(out))}) != (st == live) {
				t.Errorf("%s has %d bytes", st, len(out))
			}
			back, again, err := decode("k", out)
			if err != nil || back.State != st || string(again) != string(body) {
				t.Errorf("%+v %q became %+v %q, %v", h, body, back, again, err)
			}
		}
	})
}
