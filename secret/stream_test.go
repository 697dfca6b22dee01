package secret

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// layerOf makes a tar of files whose names and contents alternate.
func layerOf(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		h := tar.Header{Name: files[i], Size: int64(len(files[i+1])), Mode: 0o644}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestStream writes a tar in pieces of all sizes, and wants what is in it.
func TestStream(t *testing.T) {
	s, r := scanner(t), random()
	token := r.signed("ghp" + "_")
	data := layerOf(t, "etc/app.conf", "x\n"+token, "srv/big", strings.Repeat("some words\n", 90000)+token, strings.Repeat("deep/", 60)+"a", "", "srv/last", token)
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 10 {
		st := NewStream(t.Context(), s)
		for rest := data; len(rest) > 0; {
			n := min(len(rest), 1+rnd.IntN(300<<10))
			if k, err := st.Write(rest[:n]); k != n || err != nil {
				t.Fatal(k, err)
			}
			rest = rest[n:]
		}
		sum, err := st.Finish()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range sum.Findings {
			got = append(got, f.Path)
		}
		if !slices.Equal(got, []string{"etc/app.conf", "srv/big", "srv/last"}) {
			t.Fatalf("found %v", got)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestStreamEnds(t *testing.T) {
	s := scanner(t)
	data := layerOf(t, "a", strings.Repeat("x", 100000), "b", "y")

	st := NewStream(t.Context(), s)
	if _, err := st.Write(data[:700]); err != nil {
		t.Error(err)
	}
	st.Close() // nobody waits for ever

	st = NewStream(t.Context(), s)
	if _, err := st.Write(data[:5000]); err != nil {
		t.Error(err)
	}
	if _, err := st.Finish(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a tar that was cut: %v", err)
	}

	st = NewStream(t.Context(), s)
	_, _ = st.Write(bytes.Repeat([]byte("this is no tar"), 1000))
	if _, err := st.Finish(); err == nil {
		t.Error("what is no tar is accepted")
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	st = NewStream(ctx, s)
	_, _ = st.Write(data)
	if _, err := st.Finish(); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}
