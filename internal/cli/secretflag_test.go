package cli

import (
	"strings"
	"testing"

	"github.com/camada/camada/engine"
	"github.com/google/go-cmp/cmp"
)

func TestParseRunSecret(t *testing.T) {
	t.Setenv("TOKEN", "value")
	for text, want := range map[string]engine.RunSecret{
		"id=a,src=/f":                             {ID: "a", File: "/f", Mode: 0o444},
		"id=a,env=TOKEN":                          {ID: "a", Variable: "TOKEN", Mode: 0o444},
		"TOKEN,type=env":                          {ID: "TOKEN", Variable: "TOKEN", Env: "TOKEN", Mode: 0o444},
		"id=a,src=/f,type=env,target=B":           {ID: "a", File: "/f", Env: "B", Mode: 0o444},
		"a,src=/f,target=/x,mode=400,uid=1,gid=2": {ID: "a", File: "/f", Target: "/x", Mode: 0o400, UID: 1, GID: 2},
	} {
		got, err := parseRunSecret(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	for _, text := range []string{"", "src=/hush", "id=a,hush", "id=a,src=/f,env=TOKEN", "id=a,mode=999", "id=a,uid=hush", "id=a/b", "id=a,type=hush", "id=a,hush=1", "id=a,src=/f,type=env,target=A=B"} {
		_, err := parseRunSecret(text)
		if err == nil {
			t.Errorf("%q is taken", text)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: the error repeats what may be the secret: %v", text, err)
		}
	}
}
