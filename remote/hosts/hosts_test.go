package hosts

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/remote"
	"github.com/google/go-cmp/cmp"
)

// files writes files below a directory, and opens it as /etc, with a home in it.
func files(t *testing.T, text map[string]string, env map[string]string) *Files {
	t.Helper()
	dir := t.TempDir()
	for name, data := range text {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Open(Options{
		Getenv: func(key string) string {
			if key == "HOME" {
				return filepath.Join(dir, "home")
			}
			return strings.ReplaceAll(env[key], "~", dir)
		},
		Etc: dir, Dirs: []string{filepath.Join(dir, "certs.d")},
	})
}

// brief says of sites what matters most: name, address when it is another, repository, rights.
func brief(sites []remote.Site) string {
	var out []string
	for _, s := range sites {
		line := s.Name
		if s.Address != "" && s.Address != s.Name {
			line += "=" + s.Address
		}
		if s.Scheme != "" {
			line = s.Scheme + "://" + line
		}
		if s.Base != nil {
			line += *s.Base
		}
		line += " " + s.Repository + " "
		for _, r := range []struct {
			is   bool
			name string
		}{{s.Resolve, "r"}, {s.Pull, "p"}, {s.Push, "w"}, {s.Insecure, " insecure"}, {s.Namespace != "", " ns=" + s.Namespace}} {
			if r.is {
				line += r.name
			}
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

const registries = `
unqualified-search-registries = ["quay.io"]
short-name-mode = "enforcing"

[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "mirror.lan:5000/hub"
insecure = true
[[registry.mirror]]
location = "second.lan"
pull-from-mirror = "digest-only"

[[registry]]
prefix = "docker.io/team"
location = "elsewhere.lan/our/team"
mirror-by-digest-only = true
[[registry.mirror]]
location = "localhost:1"

[[registry]]
location = "bad.lan"
blocked = true

[[registry]]
prefix = "*.wild.lan"
insecure = true

[[registry]]
prefix = "*.moved.lan"
location = "new.lan"

[[registry]]
prefix = "old.lan"
location = "docker.io"

[aliases]
"fedora" = "registry.fedoraproject.org/fedora"
`

func TestRegistriesConf(t *testing.T) {
	f := files(t, map[string]string{
		"containers/registries.conf":          registries,
		"containers/registries.conf.d/1.conf": "[[registry]]\nlocation = \"late.lan\"\nblocked = true\n",
		"containers/registries.conf.d/2.conf": "[[registry]]\nlocation = \"late.lan\"\ninsecure = true\n",
		"containers/registries.conf.d/3.txt":  "no TOML",
	}, nil)
	for name, want := range map[string]string{
		"docker.io/library/debian": "mirror.lan:5000 hub/library/debian rp insecure\nsecond.lan library/debian p\ndocker.io=registry-1.docker.io library/debian rpw",
		"docker.io/team/app":       "localhost:1 app p\nelsewhere.lan our/team/app rpw",
		"docker.io/teams/app":      "mirror.lan:5000 hub/teams/app rp insecure\nsecond.lan teams/app p\ndocker.io=registry-1.docker.io teams/app rpw",
		"other.lan/app":            "other.lan app rpw",
		"a.b.wild.lan/app":         "a.b.wild.lan app rpw insecure",
		"a.wild.lan:5000/app":      "a.wild.lan:5000 app rpw insecure",
		"wild.lan/app":             "wild.lan app rpw",
		"a.moved.lan:5/x/y":        "new.lan:5 x/y rpw",
		"old.lan/debian":           "docker.io=registry-1.docker.io library/debian rpw",
		"late.lan/app":             "late.lan app rpw insecure",
		"docker.io":                "mirror.lan:5000 hub rp insecure\nsecond.lan  p\ndocker.io=registry-1.docker.io  rpw",
	} {
		host, repo, _ := strings.Cut(name, "/")
		got, err := f.Sites(host, repo)
		if err != nil || brief(got) != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, brief(got), want)
		}
	}
	if _, err := f.Sites("bad.lan", "app"); !errdefs.IsPermission(err) || !strings.Contains(err.Error(), "registries.conf") {
		t.Errorf("bad.lan: %v", err)
	}
}

// TestWhichRegistriesConf reads the user's in place of the system's, and one that is named alone.
func TestWhichRegistriesConf(t *testing.T) {
	block := func(host string) string { return "[[registry]]\nlocation = \"" + host + "\"\nblocked = true\n" }
	text := map[string]string{
		"containers/registries.conf":                       block("a.lan"),
		"containers/registries.conf.d/x.conf":              block("b.lan"),
		"home/.config/containers/registries.conf":          block("c.lan"),
		"home/.config/containers/registries.conf.d/x.con":  block("d.lan"),
		"home/.config/containers/registries.conf.d/x.conf": block("e.lan"),
		"own.conf": block("f.lan"),
	}
	for env, want := range map[string]string{"": "bce", "~/own.conf": "f"} {
		f := files(t, text, map[string]string{"CONTAINERS_REGISTRIES_CONF": env})
		got := ""
		for _, c := range "abcdef" {
			if _, err := f.Sites(string(c)+".lan", "app"); err != nil {
				got += string(c)
			}
		}
		if got != want {
			t.Errorf("%q: %s are blocked, not %s", env, got, want)
		}
	}
}

func TestHostsToml(t *testing.T) {
	f := files(t, map[string]string{
		"certs.d/docker.io/hosts.toml": `
server = "https://registry-1.docker.io"
[host."https://z.lan/cache"]
  capabilities = ["pull", "resolve"]
  ca = ["ca.pem", "/abs/ca.pem"]
  client = [["c.pem", "/k.pem"], ["both.pem"]]
  dial_timeout = "2s"
  [host."https://z.lan/cache".header]
    x-one = "1"
    x-two = ["2", "3"]
[host."http://a.lan:81/all"]
  capabilities = ["pull"]
  override_path = true
  skip_verify = true
[host."b.lan"]
`,
		"certs.d/reg.lan_5000_/hosts.toml":     "skip_verify = true\n",
		"certs.d/moved.lan:5000/hosts.toml":    "server = \"http://new.lan\"\n",
		"certs.d/_default/hosts.toml":          "[host.\"https://any.lan\"]\ncapabilities = [\"pull\", \"resolve\", \"referrers\"]\n",
		"certs.d/plain.lan/ca.crt":             "",
		"containers/registries.conf":           "[[registry]]\nprefix = \"alias.lan\"\nlocation = \"docker.io/x\"\n",
		"certs.d/docker.io/hosts.toml.example": "",
	}, nil)
	hub := "https://z.lan/cache/v2 %s rp ns=docker.io\nhttp://a.lan:81/all %s p insecure ns=docker.io\nhttps://b.lan/v2 %s rpw ns=docker.io\nhttps://docker.io=registry-1.docker.io/v2 %s rpw"
	for name, want := range map[string]string{
		"docker.io/team/app":    strings.ReplaceAll(hub, "%s", "team/app"),
		"alias.lan/app":         strings.ReplaceAll(hub, "%s", "x/app"),
		"reg.lan:5000/app":      "reg.lan:5000/v2 app rpw insecure",
		"moved.lan:5000/app":    "http://moved.lan:5000=new.lan/v2 app rpw ns=moved.lan:5000",
		"plain.lan/app":         "https://any.lan/v2 app rp ns=plain.lan\nplain.lan/v2 app rpw",
		"[::1]:5000/app":        "https://any.lan/v2 app rp ns=[::1]:5000\n[::1]:5000/v2 app rpw",
		"undirected.lan:80/app": "https://any.lan/v2 app rp ns=undirected.lan:80\nundirected.lan:80/v2 app rpw",
	} {
		i := strings.LastIndex(name, "/")
		if strings.Count(name, "/") > 1 {
			i = strings.Index(name, "/")
		}
		got, err := f.Sites(name[:i], name[i+1:])
		if err != nil || brief(got) != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, brief(got), want)
		}
	}
	got, err := f.Sites("docker.io", "team/app")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(got[0].Source)
	want := remote.Site{
		Authorities: []string{dir + "/ca.pem", "/abs/ca.pem"}, Clients: []remote.KeyPair{{Certificate: dir + "/c.pem", Key: "/k.pem"}, {Certificate: dir + "/both.pem"}},
		DialTimeout: 2 * time.Second, Header: http.Header{"X-One": {"1"}, "X-Two": {"2", "3"}},
	}
	is := remote.Site{Authorities: got[0].Authorities, Clients: got[0].Clients, DialTimeout: got[0].DialTimeout, Header: got[0].Header}
	if d := cmp.Diff(want, is); d != "" {
		t.Error(d)
	}
}

// TestRefused names what is not understood: it could forbid something.
func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		"[[registry]]\nlocation = \"a.lan\"\nforbidden = true\n":                                                    "registry.forbidden",
		"[registries.search]\nregistries = [\"a\"]\n":                                                               "version 1",
		"[[registry]]\nlocation = \"https://a.lan\"\n":                                                              "want HOST",
		"[[registry]]\nprefix = \"a.lan/x:tag\"\nlocation = \"a.lan\"\n":                                            "prefix",
		"[[registry]]\nblocked = true\n":                                                                            "prefix",
		"[[registry]]\nlocation = \"a.lan\"\n[[registry.mirror]]\nlocation = \"b.lan\"\npull-from-mirror = \"x\"\n": "pull-from-mirror",
		"[[registry]]\nlocation = \"a.lan\"\n[[registry.mirror]]\nlocation = \"\"\n":                                "mirror",
		"[[registry]]\nprefix = \"*.a.lan/x\"\n":                                                                    "wildcard",
		"[[registry]\n":                                                                                             "line 1",
		"[[registry]]\nlocation = \"a.lan\"\n[[registry.mirror]]\nlocation = \"b\"\npull-from-mirror = 5":           "line",
	} {
		_, err := files(t, map[string]string{"containers/registries.conf": text}, nil).Sites("x.lan", "app")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "registries.conf") {
			t.Errorf("%s: %v", text, err)
		}
	}
	for text, want := range map[string]string{
		"rewrite = true":                                     "rewrite",
		"[host.\"https://a.lan\"]\nrewrite = 1":              "host.https://a.lan.rewrite",
		"capabilities = [\"fly\"]":                           "fly",
		"server = \"ftp://a.lan\"":                           "server",
		"server = \"https://u:hunter2@a.lan\"":               "server",
		"host = {\"https://a.lan\" = {}}":                    "order",
		"[header]\na = 1":                                    "header a",
		"[header]\na = \"hunter2\\n\"":                       "header \"a\"",
		"ca = 1":                                             "ca",
		"client = [[\"a\", \"b\", \"c\"]]":                   "client",
		"dial_timeout = \"-1s\"":                             "dial_timeout",
		"[host.\"https://a.lan\"]\n[host.\"https://a.lan\"]": "line 2",
	} {
		_, err := files(t, map[string]string{"certs.d/x.lan/hosts.toml": text}, nil).Sites("x.lan", "app")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "hosts.toml") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestDebian reads what distributions install.
func TestDebian(t *testing.T) {
	f := Open(Options{})
	if _, err := f.Sites("docker.io", "library/debian"); err != nil {
		t.Error(err)
	}
}

func FuzzRegistries(f *testing.F) {
	f.Add(registries, "docker.io/library/debian")
	f.Add("[[registry]]\nprefix = \"*.a\"\nlocation = \"b/c\"", "x.a/y")
	f.Fuzz(func(t *testing.T, text, name string) {
		rules, err := parseRegistries(text)
		if err != nil {
			return
		}
		host, repo, _ := strings.Cut(name, "/")
		targets, err := follow(rules, host, repo)
		if err == nil && len(targets) == 0 {
			t.Error("nowhere to go")
		}
	})
}

func FuzzHosts(f *testing.F) {
	f.Add("server = \"https://a.lan\"\n[host.\"https://b.lan/x\"]\ncapabilities = [\"pull\"]\nclient = [[\"a\", \"b\"]]\n")
	f.Add("[header]\na = [\"b\"]\n[host]\n")
	f.Fuzz(func(t *testing.T, text string) {
		sites, err := parseHosts(text, target{host: "h.lan", repository: "r", resolve: true, push: true}, "/d/hosts.toml")
		if err != nil {
			return
		}
		if len(sites) == 0 || sites[len(sites)-1].Name != "h.lan" {
			t.Errorf("%+v", sites)
		}
		for _, s := range sites {
			if s.Address == "" || s.Base == nil {
				t.Errorf("%+v", s)
			}
		}
	})
}
