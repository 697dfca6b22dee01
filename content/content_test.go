package content_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// liar is a Provider whose blobs are all the same bytes, whatever they are called.
type liar string

func (l liar) Open(context.Context, ocispec.Descriptor) (content.Reader, error) {
	return lie{bytes.NewReader([]byte(l))}, nil
}

type lie struct{ *bytes.Reader }

func (lie) Close() error { return nil }

func TestReadAllTrustsNobody(t *testing.T) {
	good := ocispec.Descriptor{Digest: digest.FromString("bytes"), Size: 5}
	got, err := content.ReadAll(t.Context(), liar("bytes"), good, 5)
	if err != nil || string(got) != "bytes" {
		t.Errorf("good bytes: %q, %v", got, err)
	}
	if _, err := content.ReadAll(t.Context(), liar("bytez"), good, 5); !errdefs.IsCorrupt(err) {
		t.Errorf("other bytes: %v", err)
	}
	if _, err := content.ReadAll(t.Context(), liar("more bytes"), good, 5); !errdefs.IsLimit(err) {
		t.Errorf("more bytes than the limit: %v", err)
	}
	good.Size = 6
	if _, err := content.ReadAll(t.Context(), liar("bytes"), good, 5); !errdefs.IsLimit(err) {
		t.Errorf("a descriptor above the limit: %v", err)
	}
}

func TestVerifyReader(t *testing.T) {
	text := strings.Repeat("some text ", 1000)
	dgst := digest.SHA512.FromString(text)
	for name, tt := range map[string]struct {
		text string
		size int64
		ok   bool
	}{
		"right":              {text, int64(len(text)), true},
		"right, no size":     {text, -1, true},
		"short":              {text[1:], int64(len(text)), false},
		"short, no size":     {text[1:], -1, false},
		"long":               {text + "x", int64(len(text)), false},
		"other":              {"S" + text[1:], int64(len(text)), false},
		"empty":              {"", int64(len(text)), false},
		"endless is stopped": {strings.Repeat(text, 1000), 10, false},
	} {
		for kind, r := range map[string]io.Reader{
			"plain": strings.NewReader(tt.text), "one byte": iotest.OneByteReader(strings.NewReader(tt.text)),
			"data with EOF": iotest.DataErrReader(strings.NewReader(tt.text)),
		} {
			v, err := content.NewVerifyReader(r, ocispec.Descriptor{Digest: dgst, Size: tt.size})
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(v)
			if tt.ok && (err != nil || string(got) != tt.text) || !tt.ok && !errdefs.IsCorrupt(err) {
				t.Errorf("%s, %s: %d bytes, %v", name, kind, len(got), err)
			}
			if tt.size >= 0 && int64(len(got)) > tt.size {
				t.Errorf("%s, %s: %d bytes were handed on", name, kind, len(got))
			}
		}
	}
	if _, err := content.NewVerifyReader(nil, ocispec.Descriptor{Digest: "md5:00"}); !errdefs.IsUnsupported(err) {
		t.Errorf("md5: %v", err)
	}
}

func FuzzCheckDigest(f *testing.F) {
	f.Add(string(digest.FromString("")))
	f.Add(string(digest.SHA512.FromString("")))
	f.Add("sha256:../x")
	f.Add("sha512:" + strings.Repeat("A", 128))
	f.Fuzz(func(t *testing.T, s string) {
		d := digest.Digest(s)
		known := strings.HasPrefix(s, "sha256:") || strings.HasPrefix(s, "sha512:")
		if got, want := content.CheckDigest(d) == nil, known && d.Validate() == nil; got != want {
			t.Errorf("CheckDigest(%q) says %v, go-digest %v", s, got, want)
		}
	})
}
