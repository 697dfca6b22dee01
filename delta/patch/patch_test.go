package patch_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/camada/camada/delta/patch"
	"github.com/camada/camada/errdefs"
)

func pair(tb testing.TB) (*patch.Maker, *patch.Applier) {
	tb.Helper()
	m, err := patch.NewMaker()
	if err != nil {
		tb.Fatal(err)
	}
	a, err := patch.NewApplier()
	if err != nil {
		tb.Fatal(err)
	}
	return m, a
}

func random(rnd *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// program is n words that nobody can compress, and every eighth is an address; shift moves what the addresses point to.
func program(seed uint64, n int, shift uint32) []byte {
	rnd := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 0, 4*n)
	for i := range n {
		v := rnd.Uint32()
		if i%8 == 0 {
			v = v%100_000 + shift
		}
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

func TestMakeAndApply(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	text := random(rnd, 50_000)
	joined := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	m, a := pair(t)
	for name, c := range map[string]struct {
		old, fresh []byte
		most       int // bytes of the patch
	}{
		"nothing":                   {nil, nil, 100},
		"from nothing":              {nil, text, len(text) + 100},
		"to nothing":                {text, nil, 100},
		"the same":                  {text, text, 100},
		"an insertion":              {text, joined(text[:20_000], []byte("inserted"), text[20_000:]), 120},
		"a removal":                 {text, joined(text[:20_000], text[30_000:]), 120},
		"parts change places":       {text, joined(text[30_000:], text[:30_000]), 140},
		"a part twice":              {text, joined(text, text[10_000:20_000]), 140},
		"another file":              {text, random(rnd, 60_000), 60_300},
		"shorter than a seed":       {[]byte("abc"), []byte("abd"), 100},
		"all zero":                  {make([]byte, 100_000), make([]byte, 150_000), 200},
		"a program compiled again":  {program(1, 50_000, 0), program(1, 50_000, 64), 20_000},
		"and something put into it": {program(1, 50_000, 0), joined(program(1, 25_000, 64), random(rnd, 333), program(1, 50_000, 64)[100_000:]), 20_000},
	} {
		p := m.Make(c.old, c.fresh)
		if len(p) > c.most {
			t.Errorf("%s: the patch has %d bytes, want at most %d", name, len(p), c.most)
		}
		got, err := a.Apply(p, c.old, len(c.fresh))
		if err != nil || !bytes.Equal(got, c.fresh) {
			t.Errorf("%s: %d bytes of %d came back, %v", name, len(got), len(c.fresh), err)
		}
	}
}

// TestMutations patches files that were changed at random.
func TestMutations(t *testing.T) {
	m, a := pair(t)
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		old := random(rnd, rnd.IntN(3000))
		if rnd.IntN(2) == 0 { // few symbols: many places look alike
			for i := range old {
				old[i] &= 3
			}
		}
		fresh := bytes.Clone(old)
		for range rnd.IntN(8) {
			at := rnd.IntN(len(fresh) + 1)
			switch end := at + rnd.IntN(len(fresh)-at+1); rnd.IntN(4) {
			case 0:
				fresh = append(fresh[:at:at], append(random(rnd, rnd.IntN(50)), fresh[at:]...)...)
			case 1:
				fresh = append(fresh[:at:at], fresh[end:]...)
			case 2:
				fresh = append(fresh, fresh[at:end]...)
			case 3:
				for i := at; i < end; i += 1 + rnd.IntN(40) {
					fresh[i]++
				}
			}
		}
		got, err := a.Apply(m.Make(old, fresh), old, len(fresh))
		if err != nil || !bytes.Equal(got, fresh) {
			t.Fatalf("%d bytes of %d came back, %v", len(got), len(fresh), err)
		}
	}
}

func TestApplyRefuses(t *testing.T) {
	m, a := pair(t)
	old, fresh := program(1, 1000, 0), program(1, 1100, 4)
	p := m.Make(old, fresh)
	for name, c := range map[string]struct {
		p, old []byte
		size   int
		is     func(error) bool
	}{
		"another version":          {append([]byte{9}, p[1:]...), old, len(fresh), errdefs.IsCorrupt},
		"nothing":                  {nil, old, len(fresh), errdefs.IsCorrupt},
		"another size":             {p, old, len(fresh) + 1, errdefs.IsCorrupt},
		"an old file that is less": {p, old[:100], len(fresh), errdefs.IsCorrupt},
		"cut off":                  {p[:len(p)-1], old, len(fresh), errdefs.IsCorrupt},
		"more than there is":       {append(p[:len(p):len(p)], 0), old, len(fresh), errdefs.IsCorrupt},
		"too big":                  {p, old, patch.Max + 1, errdefs.IsLimit},
	} {
		if got, err := a.Apply(c.p, c.old, c.size); !c.is(err) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func FuzzApply(f *testing.F) {
	m, a := pair(f)
	old := program(1, 500, 0)
	fresh := program(1, 520, 4)
	f.Add(m.Make(old, fresh), len(fresh))
	f.Add(m.Make(nil, fresh), len(fresh))
	f.Add(m.Make(old, nil), 0)
	f.Add([]byte{1, 3, 0, 0}, 10)
	f.Fuzz(func(t *testing.T, p []byte, size int) {
		got, err := a.Apply(p, old, size&0xffff)
		if err == nil && len(got) != size&0xffff {
			t.Errorf("%d bytes instead of %d", len(got), size&0xffff)
		}
		if err != nil && !errdefs.IsCorrupt(err) {
			t.Errorf("no class: %v", err)
		}
	})
}

// FuzzMake makes a patch between any two files, and applies it.
func FuzzMake(f *testing.F) {
	m, a := pair(f)
	f.Add([]byte("some old text, some old text"), []byte("some new text, some old text"))
	f.Add(program(1, 100, 0), program(1, 110, 4))
	f.Fuzz(func(t *testing.T, old, fresh []byte) {
		got, err := a.Apply(m.Make(old, fresh), old, len(fresh))
		if err != nil || !bytes.Equal(got, fresh) {
			t.Errorf("%d bytes of %d came back, %v", len(got), len(fresh), err)
		}
	})
}
