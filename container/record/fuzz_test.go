package record

import (
	"bytes"
	"os"
	"testing"
)

func FuzzParseStat(f *testing.F) {
	self, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(self)
	f.Add([]byte("1 (a) b) Z 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 77"))
	f.Add([]byte(")"))
	f.Fuzz(func(t *testing.T, b []byte) {
		tick, zombie := parseStat(b)
		// The name can be anything: it changes nothing.
		if i := bytes.LastIndexByte(b, ')'); i >= 0 {
			again, z := parseStat(append([]byte("7 (x) Z (y)"), b[i+1:]...))
			if again != tick || z != zombie {
				t.Errorf("%d, %v; with another name %d, %v", tick, zombie, again, z)
			}
		}
	})
}

func TestParseStat(t *testing.T) {
	for text, want := range map[string]uint64{
		"1 (a) b) S 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 77 0\n": 77,
		"1 (a) S 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1":           0,
		"1 (a) S 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 x 0":       0,
		"": 0,
	} {
		if got, zombie := parseStat([]byte(text)); got != want || zombie {
			t.Errorf("%q: %d, %v; want %d", text, got, zombie, want)
		}
	}
	if _, zombie := parseStat([]byte("1 (a) Z 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 77 0")); !zombie {
		t.Error("a zombie is taken for alive")
	}
}

func FuzzLog(f *testing.F) {
	f.Add([]byte(`{"log":"a\n","stream":"stdout","time":"2020-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"log":"","raw":"/w==","stream":"stderr","time":"2020-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, ok := parseLine(b)
		if !ok {
			return
		}
		if l.Stream == "" || l.Raw != nil || len(l.Log) > maxEncoded {
			t.Errorf("gave %+v", l)
		}
	})
}
