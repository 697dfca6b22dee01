package hosts

import (
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/google/go-cmp/cmp"
)

const daemonText = `{
	"data-root": "/mnt/docker", "log-opts": {"max-size": "10m"},
	"registry-mirrors": ["https://mirror.lan/", "http://127.0.0.1:5001"],
	"insecure-registries": ["reg.lan:5000", "http://old.lan", "10.0.0.0/8"]
}`

func TestDaemonJSON(t *testing.T) {
	mirrored := "https://mirror.lan library/debian rp\nhttp://127.0.0.1:5001 library/debian rp\ndocker.io=registry-1.docker.io library/debian rpw"
	plain := "docker.io=registry-1.docker.io library/debian rpw"
	for name, tc := range map[string]struct {
		files map[string]string
		want  map[string]string
	}{
		"the system's": {map[string]string{"docker/daemon.json": daemonText}, map[string]string{
			"docker.io/library/debian": mirrored, "reg.lan:5000/a": "reg.lan:5000 a rpw insecure", "reg.lan/a": "reg.lan a rpw",
			"old.lan:80/a": "old.lan:80 a rpw insecure", "10.9.9.9:5000/a": "10.9.9.9:5000 a rpw insecure", "11.1.1.1/a": "11.1.1.1 a rpw",
		}},
		"the user's instead": {map[string]string{"docker/daemon.json": daemonText, "home/.config/docker/daemon.json": `{"insecure-registries": ["mine.lan"]}`}, map[string]string{
			"docker.io/library/debian": plain, "mine.lan/a": "mine.lan a rpw insecure", "reg.lan:5000/a": "reg.lan:5000 a rpw",
		}},
		"registries.conf says of docker.io": {map[string]string{"docker/daemon.json": daemonText, "containers/registries.conf": "[[registry]]\nlocation = \"docker.io\"\n"}, map[string]string{
			"docker.io/library/debian": plain, "reg.lan:5000/a": "reg.lan:5000 a rpw insecure",
		}},
		"and of others": {map[string]string{"docker/daemon.json": daemonText, "containers/registries.conf": "[[registry]]\nlocation = \"reg.lan:5000\"\nblocked = true\n"}, map[string]string{
			"docker.io/library/debian": mirrored, "reg.lan:5000/a": "",
		}},
		"nothing": {map[string]string{"docker/daemon.json": `{}`}, map[string]string{"docker.io/library/debian": plain}},
	} {
		t.Run(name, func(t *testing.T) {
			f := files(t, tc.files, nil)
			for at, want := range tc.want {
				host, repository, _ := strings.Cut(at, "/")
				sites, err := f.Sites(host, repository)
				if (err != nil) != (want == "") {
					t.Errorf("%s: %v", at, err)
				}
				if got := brief(sites); got != want {
					t.Errorf("%s: %s", at, cmp.Diff(want, got))
				}
			}
		})
	}
}

func TestBadDaemonJSON(t *testing.T) {
	for _, text := range []string{
		`{`, `[]`, `{"registry-mirrors": "https://a.lan"}`, `{"registry-mirrors": ["a.lan"]}`, `{"registry-mirrors": ["https://a.lan/path"]}`,
		`{"registry-mirrors": ["https://me:secret@a.lan"]}`, `{"registry-mirrors": ["https://a.lan?x=secret"]}`, `{"registry-mirrors": ["ftp://a.lan"]}`,
		`{"registry-mirrors": ["https://"]}`, `{"insecure-registries": [1]}`,
	} {
		_, err := files(t, map[string]string{"docker/daemon.json": text}, nil).Sites("reg.lan", "a")
		if !errdefs.IsInvalid(err) || !strings.Contains(err.Error(), "daemon.json") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// FuzzDaemon: what is taken for a mirror is an address and nothing more, and no text of the file that may be a password is in an error.
func FuzzDaemon(f *testing.F) {
	f.Add([]byte(daemonText))
	f.Add([]byte(`{"registry-mirrors":["https://me:hunter2@mirror.lan"]}`))
	f.Add([]byte(`{"registry-mirrors":["http://[::1]:5000","https://a b"],"insecure-registries":["https://http://x"]}`))
	f.Add([]byte(`{"insecure-registries":"0.0.0.0/0"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var d daemon
		if err := d.parse(data); err != nil {
			if !errdefs.IsInvalid(err) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v", err)
			}
			return
		}
		targets := []target{{host: "docker.io", repository: "library/app", resolve: true}}
		sites := d.before(targets)
		if len(sites) != len(d.mirrors) {
			t.Errorf("%d places of %d mirrors", len(sites), len(d.mirrors))
		}
		for _, s := range sites {
			if s.Name == "" || strings.ContainsAny(s.Name, "/@ ?#") || s.Scheme != "https" && s.Scheme != "http" || s.Push || s.Insecure {
				t.Errorf("%+v", s)
			}
		}
		if d.allow(sites); len(d.insecure) == 0 && len(sites) > 0 && sites[0].Insecure {
			t.Error("a certificate need not be good although nothing says so")
		}
	})
}
