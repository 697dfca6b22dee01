package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestFindHome(t *testing.T) {
	text := "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:7:7::/srv/app:\nrel:x:8:8::home:\nx:y:z:a:b:/c:\n"
	for uid, want := range map[uint32]string{0: "/root", 7: "/srv/app", 8: "/", 9: "/"} {
		if got := findHome(strings.NewReader(text), uid); got != want {
			t.Errorf("user %d: %q, want %q", uid, got, want)
		}
	}
}

// TestHomeStaysInside makes /etc/passwd of a container a link out of it, and a FIFO.
func TestHomeStaysInside(t *testing.T) {
	outside, root := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "passwd"), []byte("x:x:7:7::/stolen:\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "passwd"), filepath.Join(root, "etc/passwd")); err != nil {
		t.Fatal(err)
	}
	s := &specs.Spec{Root: &specs.Root{Path: root}}
	if got := homeInSpec(s, 7)(); got != "/" {
		t.Errorf("a link was followed out: %s", got)
	}
	p := &specs.Process{Env: []string{"HOME=/own"}}
	setHome(p, func() string { t.Error("looked up in vain"); return "" })
}

// FuzzFindHome gives foreign files.
func FuzzFindHome(f *testing.F) {
	f.Add("root:x:0:0:root:/root:/bin/sh\n", uint32(0))
	f.Add(":::::/:\n\n::0::::::", uint32(0))
	f.Add("a:b:99999999999:c:d:/e", uint32(1))
	f.Fuzz(func(t *testing.T, text string, uid uint32) {
		if got := findHome(strings.NewReader(text), uid); !filepath.IsAbs(got) || strings.ContainsRune(got, 0) {
			t.Errorf("%q", got)
		}
	})
}
