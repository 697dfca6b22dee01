package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/remote"
)

func TestStoreAndErase(t *testing.T) {
	ctx := context.Background()
	old := `{"auths": {"https://a.lan/v1/": {"auth": "` + b64("old:x") + `"}, "b.lan": {"auth": "` + b64("b:b") + `", "more": 1}}, "proxies": {"default": {"x": 12345678901234567890}}, "psFormat": "<b>"}`
	getenv := write(t, map[string]string{"real.json": old, ".docker/other": "", ".config/containers/auth.json": `{"auths": {"a.lan": {"auth": "` + b64("pod:x") + `"}}}`}, nil)
	path := filepath.Join(getenv("HOME"), ".docker/config.json")
	if err := os.Symlink("../real.json", path); err != nil {
		t.Fatal(err)
	}
	f := Open(Options{Getenv: getenv})
	for host, cred := range map[string]remote.Credential{
		"a.lan":     {Username: "me", Password: "p:w"},
		"docker.io": {Username: "hub", IdentityToken: "idt"},
		"c.lan:5":   {Username: "new", Password: "pw"},
	} {
		kept, err := f.Store(ctx, host, cred)
		if err != nil || kept != (Kept{File: path}) {
			t.Fatalf("%s: %+v, %v", host, kept, err)
		}
		if got, err := f.Credential(ctx, host); err != nil || got != cred {
			t.Errorf("%s: %+v, %v; want %+v", host, got, err, cred)
		}
	}
	info, err := os.Lstat(filepath.Join(getenv("HOME"), "real.json"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`12345678901234567890`, `"more": 1`, `"https://index.docker.io/v1/"`, `"psFormat"`} {
		if !bytes.Contains(data, []byte(want)) {
			t.Errorf("no %s in\n%s", want, data)
		}
	}
	if bytes.Contains(data, []byte("https://a.lan/v1/")) {
		t.Error("the old entry of a.lan is still there")
	}
	had, err := f.Erase(ctx, "a.lan")
	if err != nil || len(had) != 2 {
		t.Errorf("erased in %q: %v", had, err)
	}
	if got, err := f.Credential(ctx, "a.lan"); err != nil || got != (remote.Credential{}) {
		t.Errorf("after erasing: %+v, %v", got, err)
	}
	if got, err := f.Credential(ctx, "b.lan"); err != nil || got.Username != "b" {
		t.Errorf("b.lan: %+v, %v", got, err)
	}
	if had, err := f.Erase(ctx, "a.lan"); err != nil || had != nil {
		t.Errorf("erased again: %q, %v", had, err)
	}
}

// TestStoreForContainers writes the file of podman and its like, where docker.io has its own name.
func TestStoreForContainers(t *testing.T) {
	ctx := context.Background()
	home := t.TempDir()
	path := filepath.Join(home, "new/auth.json")
	f := Open(Options{Getenv: func(key string) string { return map[string]string{"HOME": home, "REGISTRY_AUTH_FILE": path}[key] }})
	if kept, err := f.Store(ctx, "docker.io", remote.Credential{Username: "a", Password: "b"}); err != nil || kept.File != path {
		t.Fatal(kept, err)
	}
	data, err := os.ReadFile(path)
	if err != nil || string(data) != "{\n\t\"auths\": {\n\t\t\"docker.io\": {\n\t\t\t\"auth\": \""+b64("a:b")+"\"\n\t\t}\n\t}\n}\n" {
		t.Errorf("%s, %v", data, err)
	}
	if _, err := Open(Options{}).Store(ctx, "a.lan", remote.Credential{}); !errdefs.IsInvalid(err) {
		t.Errorf("without a place: %v", err)
	}
}

// TestStoreWithHelper gives the password to the helper by its standard input, and to nobody else.
func TestStoreWithHelper(t *testing.T) {
	ctx := context.Background()
	getenv := write(t, map[string]string{
		".docker/config.json": `{"credsStore": "all", "credHelpers": {"bad.lan": "bad", "gone.lan": "gone"}}`,
		"bin/docker-credential-all": `#!/bin/sh
cd "${0%/*}" && case $1 in
store) cat > kept; echo "$@" > args;;
get) read server; case $(cat kept 2>/dev/null) in *"$server"*) cat kept;; *) echo credentials not found in native keychain; exit 1;; esac;;
erase) read server; case $(cat kept 2>/dev/null) in *"$server"*) rm kept;; *) echo credentials not found in native keychain; exit 1;; esac;;
esac`,
		"bin/docker-credential-bad": "#!/bin/sh\ncat; exit 1",
	}, nil)
	f := Open(Options{Getenv: getenv})
	for _, cred := range []remote.Credential{{Username: "me", Password: "hunter2"}, {IdentityToken: "hunter2"}} {
		kept, err := f.Store(ctx, "a.lan", cred)
		if err != nil || kept.Helper != "all" {
			t.Fatalf("%+v, %v", kept, err)
		}
		if got, err := f.Credential(ctx, "a.lan"); err != nil || got != cred {
			t.Errorf("%+v, %v", got, err)
		}
	}
	data, err := os.ReadFile(filepath.Join(getenv("HOME"), ".docker/config.json"))
	if err != nil || bytes.Contains(data, []byte("hunter2")) || bytes.Contains(data, []byte(b64("me:hunter2"))) || !json.Valid(data) || !bytes.Contains(data, []byte(`"a.lan": {}`)) {
		t.Errorf("%s, %v", data, err)
	}
	if args, err := os.ReadFile(filepath.Join(getenv("HOME"), "bin/args")); err != nil || string(args) != "store\n" {
		t.Errorf("arguments %q, %v", args, err)
	}
	if had, err := f.Erase(ctx, "a.lan"); err != nil || len(had) != 1 {
		t.Errorf("%q, %v", had, err)
	}
	if got, err := f.Credential(ctx, "a.lan"); err != nil || got != (remote.Credential{}) {
		t.Errorf("after erasing: %+v, %v", got, err)
	}
	for host, is := range map[string]func(error) bool{"bad.lan": errdefs.IsUnavailable, "gone.lan": errdefs.IsNotFound} {
		_, err := f.Store(ctx, host, remote.Credential{Username: "me", Password: "hunter2"})
		if !is(err) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// TestStoreAtOnce loses nothing when many log in at once.
func TestStoreAtOnce(t *testing.T) {
	ctx := context.Background()
	f := Open(Options{Getenv: write(t, nil, nil)})
	const n = 20
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if _, err := f.Store(ctx, fmt.Sprintf("r%d.lan", i), remote.Credential{Username: "u", Password: "p"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range n {
		if got, err := f.Credential(ctx, fmt.Sprintf("r%d.lan", i)); err != nil || got.Username != "u" {
			t.Errorf("r%d.lan: %+v, %v", i, got, err)
		}
	}
}

// TestStoreInBrokenFile changes nothing.
func TestStoreInBrokenFile(t *testing.T) {
	for _, text := range []string{`{"auths": "hunter2"}`, `[]`, `hunter2`} {
		getenv := write(t, map[string]string{".docker/config.json": text}, nil)
		_, err := Open(Options{Getenv: getenv}).Store(context.Background(), "a.lan", remote.Credential{Username: "u", Password: "p"})
		data, rerr := os.ReadFile(filepath.Join(getenv("HOME"), ".docker/config.json"))
		if !errdefs.IsInvalid(err) || strings.Contains(err.Error(), "hunter2") || rerr != nil || string(data) != text {
			t.Errorf("%s: %v; the file is %q, %v", text, err, data, rerr)
		}
	}
}
