package graph

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/camada/camada/dockerfile"
	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// described is one image, whose manifest has annotations.
type described struct{ annotations map[string]string }

func (d described) Base(context.Context, string, ocispec.Platform) (*Base, error) {
	img := withLayer(nil)
	return &Base{Name: "base", Image: img, Layers: make([]ocispec.Descriptor, 1), Annotations: d.annotations}, nil
}

func TestDocs(t *testing.T) {
	base := map[string]string{
		"camada.doc.env.A": "the base's A", "camada.doc.env.GONE": "nothing has it", "camada.doc.user": "the base's user", "camada.doc.cmd": "the base's command", "camada.doc.arg.X": "of another build",
		"camada.doc.port.80": "the\nbase's port", "camada.doc.strange": "x", "other": "x",
	}
	const start = "FROM base\nENV A=1\nEXPOSE 80\nUSER 1\nCMD x\n"
	for name, c := range map[string]struct {
		src  string
		want map[string]string
	}{
		"nothing of its own":                   {"FROM base\nENV A=1\nEXPOSE 80\n", map[string]string{"camada.doc.env.A": "the base's A", "camada.doc.port.80": "the base's port"}},
		"things without a name are others now": {start, map[string]string{"camada.doc.env.A": "the base's A", "camada.doc.port.80": "the base's port"}},
		"all kinds": {"FROM scratch\n# e\nENV A=1\n# p\nEXPOSE 1-2 3/UDP\n# v\nVOLUME /v\n# u\nUSER 1\n# n\nENTRYPOINT [\"x\"]\n# c\nCMD [\"y\"]\n# h\nHEALTHCHECK CMD z\n# s\nSTOPSIGNAL 9\n# a\nARG B\n# no\nLABEL x=y\n# no\nWORKDIR /\n",
			map[string]string{"camada.doc.env.A": "e", "camada.doc.port.1": "p", "camada.doc.port.2": "p", "camada.doc.port.3/udp": "p", "camada.doc.volume./v": "v", "camada.doc.user": "u", "camada.doc.entrypoint": "n",
				"camada.doc.cmd": "c", "camada.doc.healthcheck": "h", "camada.doc.stopsignal": "s", "camada.doc.arg.B": "a"}},
		"another stage":                         {"FROM scratch AS one\n# e\nENV A=1\nFROM one\n# p\nEXPOSE 1\n", map[string]string{"camada.doc.env.A": "e", "camada.doc.port.1": "p"}},
		"a stage that is not asked":             {"FROM scratch AS one\n# e\nENV A=1\nFROM scratch\n", nil},
		"an entry point takes the command away": {"FROM scratch AS one\n# c\nCMD [\"x\"]\nFROM one\nENTRYPOINT [\"y\"]\n", nil},
		"global arguments":                      {"# a\nARG A=1\nFROM scratch\n", map[string]string{"camada.doc.arg.A": "a"}},
		"no comments":                           {"FROM scratch\nENV A=1\n", nil},
	} {
		f, err := dockerfile.Parse("Dockerfile", []byte(c.src))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		g, err := Build(t.Context(), f, Options{Images: described{base}})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, g.Docs); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
}

// TestDocsAreBounded: a Dockerfile with many long comments makes no manifest that nobody takes.
func TestDocsAreBounded(t *testing.T) {
	var src strings.Builder
	src.WriteString("FROM scratch\n")
	for i := range 2000 {
		fmt.Fprintf(&src, "# %s\nENV A%d=1\n", strings.Repeat("x", 300), i)
	}
	f, err := dockerfile.Parse("Dockerfile", []byte(src.String()))
	if err != nil {
		t.Fatal(err)
	}
	g, err := Build(t.Context(), f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for k, v := range g.Docs {
		n += len(k) + len(v)
	}
	if n > 64<<10 || len(g.Docs) < 100 {
		t.Errorf("%d descriptions of %d bytes", len(g.Docs), n)
	}
}
