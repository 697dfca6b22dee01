package inventory

import "testing"

func TestOrigin(t *testing.T) {
	for _, o := range []Origin{
		{Layer: 1, Digest: "sha256:a"},
		{Layer: 2, Digest: "sha256:a", Instruction: "RUN a: b, c:1: d"},
		{Layer: 3, Digest: "sha256:a", Dockerfile: "Dockerfile", Line: 3},
		{Layer: 4, Digest: "sha256:a", Dockerfile: "a b/x:y.Dockerfile", Line: 30, Instruction: "COPY a, b /"},
	} {
		if got, ok := ParseOrigin(o.String()); !ok || got != o {
			t.Errorf("%q is read as %+v", o, got)
		}
	}
	if s := (Origin{}).String(); s != "" {
		t.Errorf("nothing is %q", s)
	}
	for _, bad := range []string{"", "from layer 0 (a)", "from layer x (a)", "from layer 1", "from layer -1 (a)", "a comment"} {
		if o, ok := ParseOrigin(bad); ok || o != (Origin{}) {
			t.Errorf("%q is %+v", bad, o)
		}
	}
}

func TestWhere(t *testing.T) {
	deb := Package{Type: "deb", Source: "s", SourceVersion: "1", Found: "var/lib/dpkg/status"}
	if found, source, version, ok := ParseWhere(deb.Where()); !ok || found != deb.Found || source != "s" || version != "1" {
		t.Errorf("%q: %s %s %s", deb.Where(), found, source, version)
	}
	npm := Package{Type: "npm", Found: "a b/package.json"}
	if found, source, _, ok := ParseWhere(npm.Where()); !ok || found != npm.Found || source != "" {
		t.Errorf("%q: %s %s", npm.Where(), found, source)
	}
	for _, bad := range []string{"", "listed in /a", "listed in /a; built from b", "listed in /a\x1b; built from b c", "acquired from /a"} {
		if _, _, _, ok := ParseWhere(bad); ok {
			t.Errorf("%q is read", bad)
		}
	}
	inv := Inventory{Unread: []string{"a", "b c"}}
	if got := ParseUnread(inv.UnreadText()); len(got) != 2 || got[1] != "b c" {
		t.Errorf("got %q", got)
	}
	if got := ParseUnread("something else"); got != nil {
		t.Errorf("got %q", got)
	}
	inv.Unread = []string{"\x1b"}
	if got := ParseUnread(inv.UnreadText()); len(got) != 1 || got[0] != "?" {
		t.Errorf("got %q", got)
	}
}
