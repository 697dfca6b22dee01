package manual_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/camada/camada/anatomy/manual"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/internal/harmless"
	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// open makes an image of a config.
func open(t *testing.T, config string) *image.Image {
	t.Helper()
	cfg := imagetest.Config()
	if err := json.Unmarshal([]byte(config), &cfg.Config); err != nil {
		t.Fatal(err)
	}
	store := &imagetest.Memory{}
	img, err := image.Open(context.Background(), store, imagetest.Write(t, store, cfg), ocispec.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestOf(t *testing.T) {
	img := open(t, `{"Env": ["PATH=/bin", "A=1", "B=2\u001b[31m", "API_TOKEN=hunter2", "EMPTY_TOKEN="], "ExposedPorts": {"100/tcp": {}, "80/tcp": {}, "53/udp": {}}, "Volumes": {"/data": {}},
		"User": "1000:1000", "Entrypoint": ["/a", "b c"], "Healthcheck": {"Test": ["NONE"]},
		"Labels": {"camada.doc.env.A": "the A", "camada.doc.port.80": "web", "camada.doc.arg.X": "an argument", "org.opencontainers.image.title": "T", "x.password": "hunter2", "other": "o"}}`)
	img.Manifest.Annotations = map[string]string{"camada.doc.env.A": "not this", "camada.doc.env.B": "the B", "camada.doc.volume./data": "kept", "org.opencontainers.image.version": "1.2.3"}
	p := manual.Of(img)
	if diff := cmp.Diff([]manual.Variable{
		{Name: "PATH", Default: "/bin", Description: "Where programs are looked for."}, {Name: "A", Default: "1", Description: "the A"}, {Name: "B", Default: "2 [31m", Description: "the B"},
		{Name: "API_TOKEN", Default: manual.Hidden, Secret: true}, {Name: "EMPTY_TOKEN"},
	}, p.Env); diff != "" {
		t.Errorf("variables: -want +got\n%s", diff)
	}
	if diff := cmp.Diff([]manual.Thing{{Name: "53/udp"}, {Name: "80/tcp", Description: "web"}, {Name: "100/tcp"}}, p.Ports); diff != "" {
		t.Errorf("ports: -want +got\n%s", diff)
	}
	if p.Volumes[0].Description != "kept" || p.Args[0] != (manual.Thing{Name: "X", Description: "an argument"}) || p.About.Title != "T" || p.About.Version != "1.2.3" || p.Health != nil || p.StopSignal.Value != "SIGTERM" {
		t.Errorf("got %+v", p)
	}
	if b, err := json.Marshal(p); err != nil || strings.Contains(string(b), "hunter2") {
		t.Errorf("%s, %v", b, err)
	}
	var missing []string
	for _, m := range manual.Undocumented(p) {
		missing = append(missing, m.What()+" "+m.Key)
	}
	if diff := cmp.Diff([]string{
		"the image itself org.opencontainers.image.description", "variable API_TOKEN camada.doc.env.API_TOKEN", "variable EMPTY_TOKEN camada.doc.env.EMPTY_TOKEN",
		"port 53/udp camada.doc.port.53/udp", "port 100/tcp camada.doc.port.100", "user 1000:1000 camada.doc.user",
	}, missing); diff != "" {
		t.Errorf("undocumented: -want +got\n%s", diff)
	}
}

// TestHostilePlatform: no text of an image reaches a terminal with control characters.
func TestHostilePlatform(t *testing.T) {
	img := open(t, `{}`)
	img.Config.Platform.Architecture = "amd64\u001b]0;x\u0007\u202e"
	p := manual.Of(img)
	p.Others(img, []*image.Image{img}, []manual.Platform{{Platform: "linux/\u009b2J", Missing: true}})
	for _, text := range []string{p.Platform, p.Platforms[0].Platform, p.Platforms[1].Platform} {
		if strings.ContainsFunc(text, harmless.Hidden) {
			t.Errorf("%q", text)
		}
	}
}

// TestHiddenArguments: the history has the arguments of the build, also those that sound like secrets.
func TestHiddenArguments(t *testing.T) {
	img := open(t, `{"OnBuild": ["ENV API_TOKEN=hunter2"]}`)
	img.Layers = []ocispec.Descriptor{{Size: 1}}
	img.Config.History = []ocispec.History{{CreatedBy: "RUN |2 API_TOKEN=hunter2 LEVEL=3 /bin/sh -c DB_PASSWORD='hunter2' make --api-key=hunter2 # buildkit"}}
	p := manual.Of(img)
	if want := "RUN |2 API_TOKEN=(not shown) LEVEL=3 /bin/sh -c DB_PASSWORD=(not shown) make --api-key=(not shown) # buildkit"; p.Layers[0].Instruction != want {
		t.Errorf("got %s", p.Layers[0].Instruction)
	}
	if b, err := json.Marshal(p); err != nil || strings.Contains(string(b), "hunter2") {
		t.Errorf("%s, %v", b, err)
	}
}

func TestChanges(t *testing.T) {
	old := open(t, `{"Env": ["A=1", "B=1", "GO_VERSION=1", "KEY=one"], "ExposedPorts": {"80/tcp": {}}, "Labels": {"x": "1"}, "Cmd": ["a"]}`)
	now := open(t, `{"Env": ["A=2", "C=1", "GO_VERSION=2", "KEY=two"], "ExposedPorts": {"80/tcp": {}, "81/tcp": {}}, "Labels": {"x": "2"}, "Cmd": ["a"], "User": "1"}`)
	var got []string
	for _, c := range manual.Changes(&old.Config, &now.Config) {
		text := c.String()
		if c.Breaks {
			text += " (breaks)"
		}
		got = append(got, text)
	}
	want := []string{
		"the user was added: 1 (breaks)", "variable A was 1, is 2 (breaks)", "variable B was removed (breaks)", "variable C was added: 1",
		"variable KEY was (not shown), is (not shown) (breaks)", "port 81/tcp was added",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestJudge(t *testing.T) {
	adds, breaks := []manual.Change{{}}, []manual.Change{{}, {Breaks: true}}
	for _, c := range []struct {
		changes []manual.Change
		was, is string
		need    manual.Needed
		enough  bool
	}{
		{nil, "", "", manual.None, true},
		{adds, "1.0.0", "1.0.1", manual.Minor, false},
		{adds, "1.0.0", "1.1.0", manual.Minor, true},
		{adds, "1.0.0", "2.0.0", manual.Minor, true},
		{breaks, "1.0.0", "1.1.0", manual.Major, false},
		{breaks, "1.9.0", "2.0.0", manual.Major, true},
		{breaks, "1.9.0", "2.0.0-rc.1", manual.Major, true},
		{adds, "0.1.0", "0.1.1", manual.Patch, true},
		{breaks, "0.1.0", "0.1.1", manual.Minor, false},
		{breaks, "0.1.0", "0.2.0", manual.Minor, true},
		{breaks, "0.9.0", "1.0.0", manual.Major, true},
		{adds, "2.0.0", "1.5.0", manual.Minor, false},
		{adds, "1.0.0", "1.0.0", manual.Minor, false},
		{adds, "", "1.0.0", manual.Minor, false},
		{breaks, "1.0.0", "", manual.Major, false},
	} {
		if need, enough := manual.Judge(c.changes, c.was, c.is); need != c.need || enough != c.enough {
			t.Errorf("%d changes from %q to %q: %q, %v", len(c.changes), c.was, c.is, need, enough)
		}
	}
}
