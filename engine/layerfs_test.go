package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/camada/camada/mount"
	"golang.org/x/sys/unix"
)

// TestLayerFSAnswersAsTheOverlay compares each case with the mounted file system.
func TestLayerFSAnswersAsTheOverlay(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("overlay mounts and device nodes need root")
	}
	file := func(text string) func(string) error {
		return func(name string) error {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				return err
			}
			return os.WriteFile(name, []byte(text), 0o644)
		}
	}
	whiteout := func(name string) error {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		return unix.Mknod(name, unix.S_IFCHR, 0)
	}
	opaque := func(name string) error {
		if err := os.MkdirAll(name, 0o755); err != nil {
			return err
		}
		return unix.Setxattr(name, "trusted.overlay.opaque", []byte("y"), 0)
	}
	link := func(to string) func(string) error {
		return func(name string) error {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				return err
			}
			return os.Symlink(to, name)
		}
	}
	type layer map[string]func(string) error
	for name, c := range map[string]struct {
		layers []layer // the topmost first
		mount  bool    // the answer needs the mount
	}{
		"top":             {layers: []layer{{"etc/passwd": file("top")}, {"etc/passwd": file("low")}}},
		"below":           {layers: []layer{{"etc/other": file("x")}, {}, {"etc/passwd": file("low")}}},
		"nowhere":         {layers: []layer{{"etc/other": file("x")}, {"bin/x": file("x")}}},
		"whiteout":        {layers: []layer{{"etc/passwd": whiteout}, {"etc/passwd": file("low")}}},
		"parent whiteout": {layers: []layer{{"etc": whiteout}, {"etc/passwd": file("low")}}},
		"opaque":          {layers: []layer{{"etc": opaque}, {"etc/passwd": file("low")}}},
		"opaque, given":   {layers: []layer{{"etc": opaque, "etc/passwd": file("top")}, {"etc/passwd": file("low")}}},
		"link":            {layers: []layer{{"etc/passwd": link("other")}, {"etc/other": file("low")}}, mount: true},
		"parent link":     {layers: []layer{{"etc": link("conf")}, {"conf/passwd": file("low")}}, mount: true},
		"parent file":     {layers: []layer{{"etc": file("x")}, {"etc/passwd": file("low")}}, mount: true},
		"directory":       {layers: []layer{{"etc/passwd/x": file("x")}, {}}, mount: true},
		"empty":           {layers: []layer{{"etc/passwd": file("")}, {"etc/passwd": file("low")}}, mount: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			m := mount.Mount{Kind: mount.Overlay, Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work")}
			for i, l := range c.layers {
				d := filepath.Join(dir, string(rune('a'+i)))
				m.Lower = append(m.Lower, d)
				if err := os.Mkdir(d, 0o755); err != nil {
					t.Fatal(err)
				}
				for p, make := range l {
					if p == "etc" {
						if err := make(filepath.Join(d, p)); err != nil {
							t.Fatal(err)
						}
					}
				}
				for p, make := range l {
					if p != "etc" {
						if err := make(filepath.Join(d, p)); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			for _, d := range []string{m.Upper, m.Work} {
				if err := os.Mkdir(d, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			got, err := fs.ReadFile(layerFS{m}, "etc/passwd")
			if c.mount {
				if !errors.Is(err, errMount) {
					t.Fatalf("%q, %v; want to be sent to the mount", got, err)
				}
				return
			}
			f, merr := mount.View(mount.Mount{Kind: mount.Overlay, Lower: append([]string{m.Upper}, m.Lower...)})
			if merr != nil {
				t.Fatal(merr)
			}
			defer f.Close()
			root, merr := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
			if merr != nil {
				t.Fatal(merr)
			}
			defer root.Close()
			want, wantErr := root.ReadFile("etc/passwd")
			if string(got) != string(want) || errors.Is(err, fs.ErrNotExist) != errors.Is(wantErr, fs.ErrNotExist) || (err == nil) != (wantErr == nil) {
				t.Errorf("%q, %v; the overlay says %q, %v", got, err, want, wantErr)
			}
		})
	}
}
