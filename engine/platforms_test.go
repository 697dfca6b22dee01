package engine

import (
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/platform"
	"github.com/google/go-cmp/cmp"
)

func TestAnnotations(t *testing.T) {
	as, err := parseAnnotations([]string{"a=1", "org.x:key=2", "index:b=3", "manifest,manifest-descriptor:c=4", "manifest[linux/arm64]:d=5=6"})
	if err != nil {
		t.Fatal(err)
	}
	arm, err := platform.Parse("linux/arm64/v8")
	if err != nil {
		t.Fatal(err)
	}
	amd, err := platform.Parse("linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		got, want map[string]string
	}{
		{"arm", as.of(inManifest, &arm), map[string]string{"a": "1", "org.x:key": "2", "c": "4", "d": "5=6"}},
		{"amd", as.of(inManifest, &amd), map[string]string{"a": "1", "org.x:key": "2", "c": "4"}},
		{"index", as.of(inIndex, nil), map[string]string{"b": "3"}},
		{"descriptor", as.of(inDescriptor, &amd), map[string]string{"c": "4"}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.name, diff)
		}
	}
	for _, bad := range []string{"a", "=b", "index:=b", "manifest[linux/bad]:a=b", "manifest-nothing:a=b"} {
		if _, err := parseAnnotations([]string{bad}); !errdefs.IsInvalid(err) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, err := parseAnnotations([]string{"index-descriptor:a=b"}); !errdefs.IsUnsupported(err) {
		t.Errorf("index-descriptor: %v", err)
	}
}

func TestBinfmt(t *testing.T) {
	const text = `enabled
interpreter /usr/bin/qemu-aarch64-static
flags: OCF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
`
	b := parseBinfmt(text)
	for arch, want := range map[string]bool{"arm64": true, "amd64": false, "arm": false, "riscv64": false, "s390x": false} {
		if got := b.matches(elfHeader(arch)); got != want {
			t.Errorf("%s: %v, want %v", arch, got, want)
		}
	}
	if b.flags != "OCF" || b.interpreter != "/usr/bin/qemu-aarch64-static" {
		t.Errorf("got %+v", b)
	}
	if b := parseBinfmt("disabled\n" + text[len("enabled\n"):]); b.matches(elfHeader("arm64")) {
		t.Error("a disabled entry matches")
	}
	s390 := parseBinfmt("enabled\nflags: F\noffset 0\nmagic 7f454c4602020100000000000000000000020016\nmask ffffffffffffff00fffffffffffffffffffeffff\n")
	if !s390.matches(elfHeader("s390x")) {
		t.Error("s390x does not match")
	}
	for _, hostile := range []string{"", "enabled\noffset -5\nmagic 7f\n", "enabled\noffset 100000\nmagic 7f\n", "enabled\nmagic zz\n"} {
		if parseBinfmt(hostile).matches(elfHeader("arm64")) {
			t.Errorf("%q matches", hostile)
		}
	}
}
