package auth

import (
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/remote"
)

// write makes files below a home directory and returns the lookup of an environment with it.
func write(t *testing.T, files, env map[string]string) func(string) string {
	t.Helper()
	home := t.TempDir()
	for name, text := range files {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", filepath.Join(home, "bin")+":"+os.Getenv("PATH"))
	return func(key string) string {
		if key == "HOME" {
			return home
		}
		return strings.ReplaceAll(env[key], "~", home)
	}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestFiles(t *testing.T) {
	docker := `{"auths": {"https://index.docker.io/v1/": {"auth": "` + b64("hub:pw") + `"}, "reg.lan:5000": {"auth": "` + b64("me:p:w") + `"},
		"https://old.lan/v1/": {"username": "u", "password": "p"}, "id.lan": {"identitytoken": "tok"}, "part.lan/team": {"auth": "` + b64("x:y") + `"}}}`
	pod := `{"auths": {"pod.lan": {"auth": "` + b64("pod:man") + `"}, "reg.lan:5000": {"auth": "` + b64("second:one") + `"}}}`
	getenv := write(t, map[string]string{".docker/config.json": docker, ".config/containers/auth.json": pod}, nil)
	for host, want := range map[string]remote.Credential{
		"docker.io":    {Username: "hub", Password: "pw"},
		"reg.lan:5000": {Username: "me", Password: "p:w"},
		"old.lan":      {Username: "u", Password: "p"},
		"id.lan":       {IdentityToken: "tok"},
		"pod.lan":      {Username: "pod", Password: "man"},
		"reg.lan":      {},
		"part.lan":     {},
	} {
		got, err := Open(Options{Getenv: getenv}).Credential(context.Background(), host)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", host, got, err, want)
		}
	}
}

func TestChosenFile(t *testing.T) {
	getenv := write(t, map[string]string{
		".docker/config.json": `{"auths": {"a.lan": {"auth": "` + b64("docker:x") + `"}}}`,
		"other/config.json":   `{"auths": {"a.lan": {"auth": "` + b64("other:x") + `"}}}`,
		"file.json":           `{"auths": {"a.lan": {"auth": "` + b64("file:x") + `"}}}`,
	}, map[string]string{"DOCKER_CONFIG": "~/other"})
	got, err := Open(Options{Getenv: getenv}).Credential(context.Background(), "a.lan")
	if err != nil || got.Username != "other" {
		t.Errorf("DOCKER_CONFIG: %+v, %v", got, err)
	}
	all := func(key string) string {
		if key == "REGISTRY_AUTH_FILE" {
			return filepath.Join(getenv("HOME"), "file.json")
		}
		return getenv(key)
	}
	if got, err = Open(Options{Getenv: all}).Credential(context.Background(), "a.lan"); err != nil || got.Username != "file" {
		t.Errorf("REGISTRY_AUTH_FILE: %+v, %v", got, err)
	}
}

func TestHelpers(t *testing.T) {
	getenv := write(t, map[string]string{
		".docker/config.json": `{"credsStore": "all", "credHelpers": {"one.lan": "one", "gone.lan": "gone", "bad.lan": "../bad", "broken.lan": "broken"},
			"auths": {"kept.lan": {}, "inline.lan": {"auth": "` + b64("in:line") + `"}}}`,
		"bin/docker-credential-one":    "#!/bin/sh\nread server\necho \"{\\\"ServerURL\\\":\\\"$server\\\",\\\"Username\\\":\\\"$1 $server\\\",\\\"Secret\\\":\\\"s\\\"}\"",
		"bin/docker-credential-all":    "#!/bin/sh\nread server\ncase $server in kept.lan) echo '{\"Username\":\"<token>\",\"Secret\":\"idt\"}';; *) echo credentials not found in native keychain; exit 1;; esac",
		"bin/docker-credential-broken": "#!/bin/sh\necho hunter2; exit 3",
	}, nil)
	f := Open(Options{Getenv: getenv})
	for host, want := range map[string]remote.Credential{
		"one.lan":    {Username: "get one.lan", Password: "s"},
		"kept.lan":   {IdentityToken: "idt"},
		"inline.lan": {Username: "in", Password: "line"},
		"none.lan":   {},
	} {
		if got, err := f.Credential(context.Background(), host); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", host, got, err, want)
		}
	}
	for host, class := range map[string]errdefs.Class{"gone.lan": errdefs.ErrNotFound, "bad.lan": errdefs.ErrInvalid, "broken.lan": errdefs.ErrUnavailable} {
		_, err := f.Credential(context.Background(), host)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v; want %s", host, err, class)
		}
	}
}

func TestBrokenFile(t *testing.T) {
	for _, text := range []string{`{"auths": "hunter2"}`, `{"auths": {"a.lan": {"auth": "hunter2"}}}`, `hunter2`} {
		getenv := write(t, map[string]string{".docker/config.json": text}, nil)
		_, err := Open(Options{Getenv: getenv}).Credential(context.Background(), "a.lan")
		if !errdefs.IsInvalid(err) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"}},"credHelpers":{"x":"y"}}`))
	f.Add([]byte(`{"auths":{"a":{"auth":"AAAA"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse(data)
		if err != nil {
			return
		}
		for _, e := range c.Auths {
			if cred, err := e.credential(); err == nil && e.Auth != "" && strings.Contains(cred.Username, ":") {
				t.Errorf("user %q", cred.Username)
			}
		}
		c.entry("docker.io")
	})
}
