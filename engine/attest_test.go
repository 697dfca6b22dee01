package engine

import (
	"testing"

	"github.com/camada/camada/attest"
)

// A list of packages that came along with an image stands for one that a build makes only when it says the same: its namespace can be copied.
func TestSameSBOM(t *testing.T) {
	doc := func(created, namespace, packages string) attest.Statement {
		return attest.Statement{Predicate: []byte(`{"documentNamespace": "` + namespace + `", "creationInfo": {"created": "` + created + `", "creators": ["x"]}, "packages": [` + packages + `]}`)}
	}
	ours := doc("2026-01-01T00:00:00Z", "a", `{"name": "openssl"}`)
	for what, tc := range map[string]struct {
		have attest.Statement
		same bool
	}{
		"made at another time": {doc("2020-01-01T00:00:00Z", "a", `{"name": "openssl"}`), true},
		"with fewer packages":  {doc("2026-01-01T00:00:00Z", "a", ""), false},
		"with another name":    {doc("2026-01-01T00:00:00Z", "b", `{"name": "openssl"}`), false},
		"which cannot be read": {attest.Statement{Predicate: []byte("{")}, false},
	} {
		if got := sameSBOM(attached{Statement: &tc.have}, &ours); got != tc.same {
			t.Errorf("a list %s: the same: %t", what, got)
		}
	}
}
