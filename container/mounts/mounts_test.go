package mounts_test

import (
	"strings"
	"testing"

	"github.com/camada/camada/container/mounts"
	"github.com/camada/camada/errdefs"
	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		parse func(string) (mounts.Mount, error)
		text  string
		want  mounts.Mount
	}{
		{mounts.ParseVolume, "/data", mounts.Mount{Type: mounts.Volume, Target: "/data"}},
		{mounts.ParseVolume, "v:/data/", mounts.Mount{Type: mounts.Volume, Source: "v", Target: "/data"}},
		{mounts.ParseVolume, "v:/data:ro,nocopy,z", mounts.Mount{Type: mounts.Volume, Source: "v", Target: "/data", ReadOnly: true, NoCopy: true}},
		{mounts.ParseVolume, "/a/../b:/data:rshared,U", mounts.Mount{Type: mounts.Bind, Source: "/b", Target: "/data", Make: true, Propagation: "rshared", Chown: true}},
		{mounts.ParseMount, "source=v,target=/x", mounts.Mount{Type: mounts.Volume, Source: "v", Target: "/x"}},
		{mounts.ParseMount, "type=volume,dst=/x,volume-label=a=b,volume-opt=type=tmpfs,volume-nocopy,volume-subpath=a/b,src=v",
			mounts.Mount{Type: mounts.Volume, Source: "v", Target: "/x", NoCopy: true, Subpath: "a/b", Labels: map[string]string{"a": "b"}, DriverOptions: map[string]string{"type": "tmpfs"}}},
		{mounts.ParseMount, "type=bind,src=/a,destination=/x,readonly=true,bind-propagation=RSLAVE,bind-recursive=writable",
			mounts.Mount{Type: mounts.Bind, Source: "/a", Target: "/x", ReadOnly: true, Propagation: "rslave", TopOnly: true}},
		{mounts.ParseMount, "type=bind,src=/a,dst=/x,bind-nonrecursive", mounts.Mount{Type: mounts.Bind, Source: "/a", Target: "/x", Single: true}},
		{mounts.ParseMount, `type=bind,"src=/a,b",dst=/x`, mounts.Mount{Type: mounts.Bind, Source: "/a,b", Target: "/x"}},
		{mounts.ParseMount, "type=tmpfs,dst=/x,tmpfs-size=1m,tmpfs-mode=0700", mounts.Mount{Type: mounts.Tmpfs, Target: "/x", Options: []string{"size=1048576", "mode=700"}}},
		{mounts.ParseMount, "type=image,src=box,dst=/x,image-subpath=etc", mounts.Mount{Type: mounts.Image, Source: "box", Target: "/x", ReadOnly: true, Subpath: "etc"}},
		{mounts.ParseTmpfs, "/x", mounts.Mount{Type: mounts.Tmpfs, Target: "/x"}},
		{mounts.ParseTmpfs, "/x:ro,size=1m,exec", mounts.Mount{Type: mounts.Tmpfs, Target: "/x", ReadOnly: true, Options: []string{"size=1m", "exec"}}},
	} {
		got, err := tc.parse(tc.text)
		if err != nil {
			t.Errorf("%s: %v", tc.text, err)
			continue
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.text, diff)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, tc := range []struct {
		parse      func(string) (mounts.Mount, error)
		text, want string
	}{
		{mounts.ParseVolume, "", "empty section"},
		{mounts.ParseVolume, "a:b:c:d", "invalid volume specification"},
		{mounts.ParseVolume, "a:rel", "must be absolute"},
		{mounts.ParseVolume, "a:/", "destination can't be '/'"},
		{mounts.ParseVolume, "a:/x:ro,rw", "invalid mode"},
		{mounts.ParseVolume, "a:/x:shared", "invalid mode"},
		{mounts.ParseVolume, "/a:/x:nocopy", "invalid mode"},
		{mounts.ParseMount, "", "invalid argument"},
		{mounts.ParseMount, "type=nosuch,dst=/x", "mount type unknown"},
		{mounts.ParseMount, "type=npipe,dst=/x", "want bind"},
		{mounts.ParseMount, "type=bind,src=/a,dst=/x,readonly=perhaps", "invalid value for readonly: perhaps"},
		{mounts.ParseMount, "type=bind,src=/a,dst=/x,bind-propagation=up", "invalid value for bind-propagation"},
		{mounts.ParseMount, "type=bind,src=/a,dst=/x,bind-recursive=readonly", "requires 'readonly'"},
		{mounts.ParseMount, "type=bind,src=a,dst=/x", "must be absolute"},
		{mounts.ParseMount, "type=volume,src=/a,dst=/x", "not a name for a volume"},
		{mounts.ParseMount, "type=volume,src=a,dst=/x,volume-subpath=../b", "invalid subpath"},
		{mounts.ParseMount, "type=volume,dst=/x,volume-subpath=b", "anonymous"},
		{mounts.ParseMount, "type=volume,src=a,dst=/x,volume-driver=nfs", "there is the driver local only"},
		{mounts.ParseMount, "type=volume,src=a,dst=/x,tmpfs-size=1", "cannot mix 'tmpfs-*'"},
		{mounts.ParseMount, "type=tmpfs,src=a,dst=/x", "must not be specified"},
		{mounts.ParseMount, "type=tmpfs,dst=/x,tmpfs-size=big", "invalid value for tmpfs-size"},
		{mounts.ParseMount, "type=tmpfs,dst=/x,tmpfs-mode=9", "invalid value for tmpfs-mode"},
		{mounts.ParseMount, "type=image,dst=/x", "field Source must not be empty"},
		{mounts.ParseTmpfs, "x", "must be absolute"},
		{mounts.ParseTmpfs, "/x:uid=", "invalid tmpfs option"},
	} {
		_, err := tc.parse(tc.text)
		if err == nil || !strings.Contains(err.Error(), tc.want) || !errdefs.IsInvalid(err) && !errdefs.IsUnsupported(err) {
			t.Errorf("%q: %v, want %q", tc.text, err, tc.want)
		}
	}
}

func TestParseVolumesFrom(t *testing.T) {
	if name, ro, err := mounts.ParseVolumesFrom("c:ro,z"); name != "c" || !ro || err != nil {
		t.Errorf("%s %t %v", name, ro, err)
	}
	if name, ro, err := mounts.ParseVolumesFrom("c"); name != "c" || ro || err != nil {
		t.Errorf("%s %t %v", name, ro, err)
	}
	for _, text := range []string{"", ":ro", "c:nosuch"} {
		if _, _, err := mounts.ParseVolumesFrom(text); !errdefs.IsInvalid(err) {
			t.Errorf("%q: %v, want ErrInvalid", text, err)
		}
	}
}

// What is read goes to an absolute path, whatever the text is.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"/data", "v:/data:ro", "type=bind,src=/a,dst=/x,readonly", `type=image,"src=a,b",dst=/x`, "/x:size=1m", "c:ro"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, parse := range []func(string) (mounts.Mount, error){mounts.ParseVolume, mounts.ParseMount, mounts.ParseTmpfs} {
			m, err := parse(s)
			if err != nil {
				continue
			}
			if !strings.HasPrefix(m.Target, "/") || m.Target == "/" || strings.Contains(m.Target, "/../") {
				t.Errorf("%q goes to %q", s, m.Target)
			}
			if m.Type == mounts.Bind && !strings.HasPrefix(m.Source, "/") {
				t.Errorf("%q comes from %q", s, m.Source)
			}
		}
	})
}
