package auth

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/remote"
)

// FuzzAnswer reads what a credential helper says: a password or a token, and neither in an error.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"ServerURL":"https://a","Username":"me","Secret":"hunter2"}`))
	f.Add([]byte(`{"Username":"<token>","Secret":"hunter2"}`))
	f.Add([]byte(`hunter2`))
	f.Add([]byte(`{"Secret":{"hunter2":1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		cred, err := parseAnswer("docker-credential-x", data)
		if err != nil && (!errdefs.IsInvalid(err) || strings.Contains(err.Error(), "hunter2") || cred != remote.Credential{}) {
			t.Errorf("%+v, %v", cred, err)
		}
		if cred.IdentityToken != "" && cred.Username+cred.Password != "" || cred.RegistryToken != "" {
			t.Errorf("%+v", cred)
		}
	})
}

// FuzzDocument changes one entry of a file: all else in it stays as it is, and what was put there is found again.
func FuzzDocument(f *testing.F) {
	f.Add([]byte(`{"auths":{"a.lan":{"auth":"YTpi","x":[1]},"https://b.lan/v1/":{}},"credsStore":"pass","psFormat":"{{.ID}}"}`))
	f.Add([]byte(`{"auths":null}`))
	f.Add([]byte(` `))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := newDocument(data)
		if err != nil {
			if !errdefs.IsInvalid(err) {
				t.Errorf("no class: %v", err)
			}
			return
		}
		before, err := d.bytes()
		if err != nil {
			t.Fatal(err)
		}
		if err := d.put("new.lan", entry{Username: "me", Password: "secret"}); err != nil {
			t.Fatal(err)
		}
		after, err := d.bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := newDocument(after)
		if err != nil {
			t.Fatal(err)
		}
		c, err := again.config()
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := c.entry("new.lan"); !ok || e.Username != "me" || e.Password != "secret" {
			t.Errorf("%+v", e)
		}
		if !again.forget("new.lan") {
			t.Error("it cannot be forgotten")
		}
		left, err := again.bytes()
		if err != nil {
			t.Fatal(err)
		}
		var was, is map[string]any
		if json.Unmarshal(before, &was) != nil || json.Unmarshal(left, &is) != nil {
			t.Fatalf("%q, %q", before, left)
		}
		if auths, ok := was["auths"].(map[string]any); ok {
			for key := range auths {
				if isFor(key, "new.lan") {
					delete(auths, key)
				}
			}
		}
		if !reflect.DeepEqual(was, is) {
			t.Errorf("%s became %s", before, left)
		}
	})
}
