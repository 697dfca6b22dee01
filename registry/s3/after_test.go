package s3

import (
	"slices"
	"testing"
)

// Where a listing begins, no name is left out that comes after the text.
func TestEncodeAfter(t *testing.T) {
	names := []string{"a", "a-b", "a.b", "a/b", "a/b-c", "a/b/c", "a0", "a_b", "ab", "b", "b/c", "z/z"}
	for _, after := range []string{"a", "a/b", "a~", "a/~", "a/", "A", "a/B", "aa~", "{", "a\xff", "a\xe9x", "-a", ".", "z/z", "z/z~", "a/b!c"} {
		begin := encodeAfter(after)
		for _, name := range names {
			key, err := encodeName(name)
			if err != nil {
				t.Fatal(err)
			}
			if key += "/x"; name > after && key <= begin {
				t.Errorf("after %q: the listing begins at %q, and %q has %q", after, begin, name, key)
			}
		}
	}
	if !slices.IsSorted(names) {
		t.Error("the names of the test are not sorted")
	}
	if encodeAfter("a~") != "a~" {
		t.Errorf("a text greater than all in a folder does not skip it: %q", encodeAfter("a~"))
	}
}
