package graph

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/build/op"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/platform"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// shelf is Images in a map; it notes what was asked for.
type shelf struct {
	images map[string]image.Config
	asked  []string
}

func (s *shelf) Base(_ context.Context, name string, p ocispec.Platform) (*Base, error) {
	s.asked = append(s.asked, name+" "+platform.Format(p))
	img, ok := s.images[name]
	if !ok {
		return nil, errdefs.NotFound("image %s", name)
	}
	return &Base{Name: "full/" + name, Image: img, Layers: make([]ocispec.Descriptor, len(img.RootFS.DiffIDs))}, nil
}

func withLayer(change func(*image.Config)) image.Config {
	var img image.Config
	img.OS, img.Architecture = "linux", "amd64"
	img.RootFS.DiffIDs = []digest.Digest{digest.FromString("x")}
	img.History = []ocispec.History{{CreatedBy: "base"}}
	if change != nil {
		change(&img)
	}
	return img
}

// describe is one line a vertex.
func describe(g *Graph) string {
	var b strings.Builder
	name := func(v *Vertex) string {
		if v == nil {
			return "-"
		}
		return fmt.Sprint(v.ID)
	}
	for _, v := range g.Vertices {
		from := "-"
		for i, s := range v.Sources {
			if i == 0 {
				from = name(s)
			} else {
				from += "," + name(s)
			}
		}
		fmt.Fprintf(&b, "%d on %s from %s: %s", v.ID, name(v.Parent), from, v.Name)
		if v.Op != nil {
			b.WriteString(" | " + v.Op.Definition())
		}
		b.WriteByte('\n')
	}
	return b.String() + "target " + name(g.Target) + "\n"
}

func buildGraph(t *testing.T, src string, s *shelf, opts Options) (*Graph, error) {
	t.Helper()
	f, err := dockerfile.Parse("Dockerfile", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	opts.Images = s
	return Build(t.Context(), f, opts)
}

func TestGraph(t *testing.T) {
	s := &shelf{images: map[string]image.Config{
		"debian": withLayer(func(c *image.Config) { c.Config.WorkingDir, c.Config.User = "/home", "ann" }),
		"tools":  withLayer(nil), "nothing": {},
	}}
	src := `ARG V=debian
FROM tools AS unused
RUN unused
FROM --platform=$BUILDPLATFORM $V AS build
ARG TARGETARCH
RUN make $TARGETARCH
FROM nothing AS empty
FROM scratch
COPY --from=build /a /b
COPY --from=tools /c /d
COPY --from=tools /e /f
COPY --from=empty /g /h
`
	p := ocispec.Platform{OS: "linux", Architecture: "riscv64"}
	g, err := buildGraph(t, src, s, Options{Platform: &p})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"0 on - from -: [build 1/2] FROM full/debian\n",
		`1 on 0 from -: [build 2/2] RUN make riscv64 | run.v1 {"args":["/bin/sh","-c","make $TARGETARCH"],"env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","TARGETARCH=riscv64"],"cwd":"/home","user":"ann"}` + "\n",
		"2 on - from 1: [stage-3 1/4] COPY --from=build /a /b | copy.v2 {\"sources\":[\"/a\"],\"from\":true,\"dest\":\"/b\"}\n",
		"3 on - from -: FROM full/tools\n",
		"4 on 2 from 3: [stage-3 2/4] COPY --from=tools /c /d | copy.v2 {\"sources\":[\"/c\"],\"from\":true,\"dest\":\"/d\"}\n",
		"5 on 4 from 3: [stage-3 3/4] COPY --from=tools /e /f | copy.v2 {\"sources\":[\"/e\"],\"from\":true,\"dest\":\"/f\"}\n",
		"6 on 5 from -: [stage-3 4/4] COPY --from=empty /g /h | copy.v2 {\"sources\":[\"/g\"],\"from\":true,\"dest\":\"/h\"}\n",
		"target 6\n",
	}, "")
	if diff := cmp.Diff(want, describe(g)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if g.Image.Architecture != "riscv64" || g.Base != nil {
		t.Errorf("architecture %s, base %v", g.Image.Architecture, g.Base)
	}
	if want := []string{"debian " + platform.Format(platform.Host()), "tools linux/riscv64", "nothing linux/riscv64"}; !slices.Equal(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(s.asked))) {
		t.Errorf("asked for %q, want %q", s.asked, want)
	}
}

func TestTriggersOfImages(t *testing.T) {
	s := &shelf{images: map[string]image.Config{
		"on":    withLayer(func(c *image.Config) { c.Config.OnBuild = []string{"COPY --from=tools /x /y", "RUN <<E\na\nE"} }),
		"tools": withLayer(nil),
		"bad":   withLayer(func(c *image.Config) { c.Config.OnBuild = []string{"RUN --mount=type=cash,target=/x y"} }),
		"worse": withLayer(func(c *image.Config) { c.Config.OnBuild = []string{"# check=skip=all\nFROM x"} }),
	}}
	g, err := buildGraph(t, "FROM on\nRUN z\n", s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, v := range g.Vertices {
		names = append(names, v.Name)
	}
	want := []string{"[1/4] FROM full/on", "FROM full/tools", "[2/4] ONBUILD COPY --from=tools /x /y", "[3/4] ONBUILD RUN <<E (a)", "[4/4] RUN z"}
	if !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	if len(g.Image.Config.OnBuild) != 0 {
		t.Errorf("triggers are left: %q", g.Image.Config.OnBuild)
	}
	for _, name := range []string{"bad", "worse"} {
		_, err := buildGraph(t, "FROM "+name+"\n", s, Options{})
		var e *dockerfile.Error
		if !errors.As(err, &e) || e.Line != 1 {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestForeignSystem(t *testing.T) {
	p := ocispec.Platform{OS: "windows", Architecture: "amd64"}
	if _, err := buildGraph(t, "FROM scratch\n", &shelf{}, Options{Platform: &p}); !errdefs.IsUnsupported(err) {
		t.Errorf("got %v", err)
	}
}

func TestNetwork(t *testing.T) {
	g, err := buildGraph(t, "FROM scratch\nRUN a\nRUN --network=none b\n", &shelf{}, Options{Network: op.NetworkHost, Allow: Entitlements{HostNetwork: true}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []op.Network{op.NetworkHost, op.NetworkNone} {
		if got := g.Vertices[i].Op.(*op.Run).Network; got != want {
			t.Errorf("step %d: network %s, want %s", i, got, want)
		}
	}
}

func TestPorts(t *testing.T) {
	for in, want := range map[string]string{
		"80": "80/tcp", "80/UDP": "80/udp", "1-3/sctp": "1/sctp 2/sctp 3/sctp", "8080:80": "80/tcp", "1.2.3.4:1:2/tcp": "2/tcp", "[::1]:1:2": "2/tcp", "80/": "80/tcp",
	} {
		got, err := parsePorts(in)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: got %q, %v, want %s", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "x", "80/icmp", "3-1", "65536", "1-70000", "-1", "80/tcp/udp"} {
		if got, err := parsePorts(bad); !errdefs.IsInvalid(err) {
			t.Errorf("%s: got %q, %v", bad, got, err)
		}
	}
}

func FuzzPorts(f *testing.F) {
	f.Add("1.2.3.4:80-90:100-110/udp")
	f.Fuzz(func(t *testing.T, s string) {
		ps, err := parsePorts(s)
		if err == nil && (len(ps) == 0 || len(ps) > 65536) {
			t.Fatalf("%q: %d ports", s, len(ps))
		}
	})
}

func TestSignals(t *testing.T) {
	for s, want := range map[string]bool{
		"SIGTERM": true, "TERM": true, "kill": true, "9": true, "RTMIN": true, "SIGRTMIN+3": true, "SIGRTMAX-1": true,
		"": false, "0": false, "65": false, "SIGNOPE": false, "RTMIN-1": false, "RTMIN+x": false, "RTMAX-99": false,
	} {
		if got := validSignal(s); got != want {
			t.Errorf("%q: got %v", s, got)
		}
	}
}
