package jsonwalk

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
)

// values makes of the next value what encoding/json makes of it.
func values(t *testing.T, c *Cursor) any {
	switch c.next() {
	case '{':
		out := map[string]any{}
		if err := c.Object(func(name string) error {
			out[name] = values(t, c)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return out
	case '[':
		out := []any{}
		if err := c.Array(func() error {
			out = append(out, values(t, c))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return out
	case '"':
		return c.Text()
	}
	var v any
	if err := json.Unmarshal(c.Raw(), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func same(t *testing.T, data []byte) {
	t.Helper()
	c, err := New(data)
	if err != nil {
		if !errdefs.IsInvalid(err) {
			t.Errorf("an error without a class: %v", err)
		}
		return
	}
	var want any
	if json.Unmarshal([]byte(strings.TrimPrefix(string(data), "\ufeff")), &want) != nil {
		return // a number that is too large
	}
	if got := values(t, c); !reflect.DeepEqual(got, want) {
		t.Errorf("%.200s\nbecame %#v\nwant   %#v", data, got, want)
	}
	if c.next() != 0 {
		t.Errorf("%.200s: %d bytes are left", data, len(c.data)-c.at)
	}
	// What nobody reads is passed over as a whole.
	if c, err = New(data); err == nil {
		if c.skip(); c.next() != 0 {
			t.Errorf("%.200s: passed over up to byte %d", data, c.at)
		}
	}
}

const document = ` {"a": [1, -2.5e3, true, null, "x\"\\\u00e9\ud83d\ude00"], "b": {"c": {}, "d": [], "e": [[], {}, ""]}, "": "y", "a\"]}": {"z": "}"}} `

func TestValues(t *testing.T) {
	for _, doc := range []string{document, "\ufeff{}", "[]", `"x"`, "7", "null", `{"a": 1, "a": 2}`, "[\n\t]", `["a","b"]`, "{\"a\": \"\xff\"}"} {
		same(t, []byte(doc))
	}
}

func TestPassedOver(t *testing.T) {
	c, err := New([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	if err := c.Object(func(name string) error {
		names = append(names, name)
		switch name {
		case "a":
			return c.Object(func(string) error { return errdefs.Invalid("an array is no object") })
		case "b":
			if s := c.Text(); s != "" {
				t.Errorf("an object has the text %q", s)
			}
		case "":
			return c.Array(func() error { return errdefs.Invalid("a text is no array") })
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "", `a"]}`}; !reflect.DeepEqual(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	if c, err = New([]byte(`["` + strings.Repeat("a", MaxText) + `", "b"]`)); err != nil {
		t.Fatal(err)
	}
	if s := c.First(); s != "b" {
		t.Errorf("the first text that is not too long is %.20q", s)
	}
	for _, bad := range []string{"", "{", "[1,]", "{}{}", strings.Repeat("[", 20000) + strings.Repeat("]", 20000)} {
		if _, err := New([]byte(bad)); !errdefs.IsInvalid(err) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

func FuzzValues(f *testing.F) {
	f.Add([]byte(document))
	f.Add([]byte("\ufeff[\"\\ud800\", \"\xff\"]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < MaxText {
			same(t, data)
		}
	})
}
