package container_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/camada/camada/container"
	"github.com/camada/camada/mount"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestDetachedMounts gives a container mounts that are attached nowhere, and looks which mount points it had to make.
func TestDetachedMounts(t *testing.T) {
	root := busybox(t)
	if err := os.Symlink("/tmp", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	tree := t.TempDir()
	for name, text := range map[string]string{"sub/in": "", "sub/file": "tree"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(tree, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(tree, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	part, err := mount.Part(mount.Mount{Kind: mount.Bind, Source: tree}, "sub", true)
	if err != nil {
		t.Fatal(err)
	}
	defer part.Close()
	secret, err := mount.MemoryFile([]byte("secret"), 0o400, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	s := defaults(t, "sh", "-c", "cat /new/dir/file /new/dir/in /link/secret; touch /new/dir/x 2>/dev/null || echo -n ' kept'")
	s.Process.Cwd = "/work"
	s.Mounts = append(s.Mounts,
		specs.Mount{Type: container.TypeDetached, Source: "part", Destination: "/new/dir"},
		specs.Mount{Type: container.TypeDetached, Source: "secret", Destination: "/link/secret"},
		specs.Mount{Type: "tmpfs", Source: "tmpfs", Destination: "/etc"})
	var made []string
	out, status, err := runContainer(t, container.Config{
		Spec: s, Rootfs: overlayOf(t, root), Detached: map[string]*os.File{"part": part, "secret": secret},
		MountPoint: func(p container.MountPoint) {
			if p.After.Before(p.Before) || p.After.IsZero() {
				t.Errorf("%s: the directory's time was %v, then %v", p.Path, p.Before, p.After)
			}
			made = append(made, p.Path)
		},
	})
	if err != nil || status.Code != 0 || out != "treesecret kept" {
		t.Errorf("output %q, %+v, %v", out, status, err)
	}
	if want := []string{"/new", "/new/dir", "/tmp/secret"}; !slices.Equal(made, want) {
		t.Errorf("made %q, want %q", made, want)
	}
	s.Mounts[len(s.Mounts)-2].Source = "nothing"
	if _, _, err := runContainer(t, container.Config{Spec: s, Rootfs: overlayOf(t, root)}); err == nil {
		t.Error("a mount that is not there was made")
	}
}
