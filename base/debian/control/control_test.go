package control_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/camada/camada/base/debian/control"
	"github.com/camada/camada/errdefs"
)

func TestNext(t *testing.T) {
	const text = "\n# a comment\nPackage: a\nDescription: one\n two\n .\n three  \nEmpty:\nFiles:\n x 1\n y 2\n\n\nPackage: b\n# inside\nVersion:1"
	r := control.NewReader(strings.NewReader(text))
	a, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := a.Get("description"), "one\n two\n .\n three"; got != want {
		t.Errorf("Description = %q, want %q", got, want)
	}
	if got := a.Words("Files"); strings.Join(got, ",") != "x,1,y,2" {
		t.Errorf("Files = %q", got)
	}
	if got, want := a.String(), "Package: a\nDescription: one\n two\n .\n three\nEmpty:\nFiles:\n x 1\n y 2\n"; got != want {
		t.Errorf("String = %q, want %q", got, want)
	}
	b, err := r.Next()
	if err != nil || b.Get("Version") != "1" || len(b) != 2 {
		t.Errorf("second paragraph = %v, %v", b, err)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last paragraph: %v", err)
	}
}

func TestKeep(t *testing.T) {
	r := control.NewReader(strings.NewReader("A: 1\n x\nB: 2\n y\n\nA: 3\n"))
	r.Keep(func(n []byte) bool { return string(n) == "B" })
	if p, err := r.Next(); err != nil || p.String() != "B: 2\n y\n" {
		t.Errorf("first = %q, %v", p, err)
	}
	if p, err := r.Next(); err != nil || len(p) != 0 {
		t.Errorf("second = %q, %v", p, err)
	}
}

func TestRefused(t *testing.T) {
	for name, text := range map[string]string{
		"continuation first": " x\n",
		"no colon":           "Package\n",
		"empty name":         ": x\n",
		"space in name":      "A b: x\n",
	} {
		if _, err := control.NewReader(strings.NewReader(text)).Next(); !errdefs.IsInvalid(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	long := "A: " + strings.Repeat("x", 2<<20) + "\n"
	if _, err := control.NewReader(strings.NewReader(long)).Next(); !errdefs.IsLimit(err) {
		t.Errorf("long line: %v", err)
	}
	many := strings.Repeat("A: x\n", 5000)
	if _, err := control.NewReader(strings.NewReader(many)).Next(); !errdefs.IsLimit(err) {
		t.Errorf("many fields: %v", err)
	}
}

// What was read and written again reads the same.
func FuzzReader(f *testing.F) {
	f.Add("Package: a\nDescription: one\n two\n\nPackage: b\n")
	f.Add("A:\n b\n\t\nC:d\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		r := control.NewReader(strings.NewReader(text))
		for {
			p, err := r.Next()
			if err != nil {
				return
			}
			again, err := control.NewReader(strings.NewReader(p.String())).Next()
			if err != nil || again.String() != p.String() {
				t.Fatalf("%q became %q, %v", p.String(), again.String(), err)
			}
		}
	})
}
