package op

import (
	"errors"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
)

func TestMode(t *testing.T) {
	for _, c := range []struct {
		mode  string
		perm  uint32
		isDir bool
		want  uint32
	}{
		{"", 0o644, false, 0o644},
		{"0", 0o644, false, 0},
		{"755", 0o600, false, 0o755},
		{"4755", 0o600, false, 0o4755},
		{"0644", 0o777, true, 0o644},
		{"u+x", 0o644, false, 0o744},
		{"+x", 0o644, false, 0o755},
		{"a-w", 0o666, false, 0o444},
		{"go=", 0o755, false, 0o700},
		{"u=rw,go=r", 0o777, false, 0o644},
		{"a=rX", 0o600, false, 0o444},
		{"a=rX", 0o700, false, 0o555},
		{"a=rX", 0o600, true, 0o555},
		{"+X", 0o600, false, 0o600},
		{"g=u", 0o750, false, 0o770},
		{"o=g", 0o750, false, 0o755},
		{"u=rwx,go=u-w", 0, false, 0o755},
		{"u+s", 0o755, false, 0o4755},
		{"g+s,+t", 0o755, true, 0o3755},
		{"u-s", 0o4755, false, 0o755},
		{"=", 0o755, false, 0},
		{"u+r-x", 0o300, false, 0o600},
		{"ug+w", 0o444, false, 0o664},
		{"u=rwg", 0o640, false, 0o440},
		{"u=gr", 0o670, false, 0o470},
		{"u=go,g+u-w,o=u-g", 0o754, false, 0o450},
		{"=", 0o7777, true, 0o1000},
		{"a=rwx", 0o2755, true, 0o777},
		{"o+t", 0o644, false, 0o644},
		{"u+t", 0o644, false, 0o1644},
		{"+xt", 0o644, false, 0o1644},
		{"a-X", 0o755, true, 0o644},
		{"u-x,+X", 0o744, false, 0o755},
		{"+", 0o640, false, 0o640},
	} {
		m, err := parseMode(c.mode)
		if err != nil {
			t.Errorf("%s: %v", c.mode, err)
			continue
		}
		if got := m.apply(c.perm, c.isDir); got != c.want {
			t.Errorf("%s of %o: got %o, want %o", c.mode, c.perm, got, c.want)
		}
	}
	for _, bad := range []string{"8", "10000", "777777777777777777777", "x", "u", "u+q", "u+x,", "z+x", "+x,g", "-1", "0o755", "a", ",", "u+x, g+w", "+7", "u+a"} {
		if _, err := parseMode(bad); !errdefs.IsInvalid(err) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}

func TestOwner(t *testing.T) {
	files := map[string]string{
		"/etc/passwd": "root:x:0:0::/root:/bin/sh\nshort:x\nann:x:1000:1001:Ann:/home/ann:/bin/sh\nodd:x:many:1::/:/\n",
		"/etc/group":  "root:x:0:\nstaff:x:50:ann\n",
	}
	read := func(name string) ([]byte, error) {
		if data, ok := files[name]; ok {
			return []byte(data), nil
		}
		return nil, errdefs.NotFound("no %s", name)
	}
	for s, want := range map[string][2]int{
		"5": {5, 5}, "5:6": {5, 6}, "ann": {1000, 1001}, "ann:staff": {1000, 50}, "ann:7": {1000, 7}, "5:staff": {5, 50},
		":staff": {0, 50}, ":9": {0, 9}, "root": {0, 0}, ":": {0, 0}, "+5:+6": {5, 6}, "ann:root": {1000, 0}, "0:0": {0, 0}, "ann:": {1000, 1001},
	} {
		o, err := parseOwner(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		uid, gid, err := o.resolve(read, false)
		if err != nil || uid != want[0] || gid != want[1] {
			t.Errorf("%s: got %d:%d, %v, want %v", s, uid, gid, err, want)
		}
	}
	for s, is := range map[string]func(error) bool{"bob": errdefs.IsNotFound, "ann:none": errdefs.IsNotFound, "short": errdefs.IsNotFound, "odd": errdefs.IsInvalid} {
		o, err := parseOwner(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := o.resolve(read, false); !is(err) {
			t.Errorf("%s: got %v", s, err)
		}
	}
	bob, _ := parseOwner("bob")
	if uid, gid, err := bob.resolve(read, true); err != nil || uid != 0 || gid != 0 {
		t.Errorf("lenient: got %d:%d, %v", uid, gid, err)
	}
	for _, bad := range []string{"4294967295", "1:99999999999", "+-1:4294967295"} {
		if _, err := parseOwner(bad); !errdefs.IsInvalid(err) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}

func TestComparePaths(t *testing.T) {
	sorted := []string{"a", "a/b", "a/b/c", "a/b-c", "a/b.c", "a-b", "a.b", "aa", "b"}
	for i, x := range sorted {
		for j, y := range sorted {
			got := comparePaths(x, y)
			if (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%s and %s: got %d", x, y, got)
			}
		}
	}
}

func TestDefinitions(t *testing.T) {
	a := &Run{Args: []string{"x"}, Env: []string{"a=b"}, Cwd: "/", Proxy: []string{"HTTP_PROXY=p"}}
	b := *a
	b.Proxy = nil
	if a.Definition() != b.Definition() {
		t.Error("proxies are part of the definition")
	}
	b.Script = &File{Name: "EOF", Data: "#!/bin/sh"}
	for _, o := range []Op{&b, &Copy{}, &Mkdir{}, &Run{Args: []string{"x", ""}}, &Run{Args: []string{"x"}, User: "u"}} {
		if o.Definition() == a.Definition() {
			t.Errorf("%+v has the definition of another op", o)
		}
	}
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]*Copy{
		"no source": {Dest: "/"}, "mode": {Sources: []string{"a"}, Chmod: "9"}, "owner": {Sources: []string{"a"}, Chown: "4294967295"},
		"link": {Sources: []string{"a"}, Chown: "ann", Link: true}, "heredoc name": {Files: []File{{Name: "../x"}}},
	} {
		if err := c.Check(); !errdefs.IsInvalid(err) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestCheckExclude(t *testing.T) {
	if err := (&Copy{Sources: []string{"a"}, Exclude: []string{"[a"}}).Check(); !errdefs.IsInvalid(err) {
		t.Errorf("got %v", err)
	}
	if err := (&Copy{Sources: []string{"a"}, Chown: "root:root", Link: true}).Check(); err != nil {
		t.Errorf("root needs no file: %v", err)
	}
}

func TestExitError(t *testing.T) {
	var err error = &ExitError{Code: 137, OOMKilled: true}
	var exit *ExitError
	if !errors.As(err, &exit) || !strings.Contains(err.Error(), "signal 9") || !strings.Contains(err.Error(), "out of memory") {
		t.Errorf("got %v", err)
	}
}

func FuzzMode(f *testing.F) {
	f.Add("u+x,g=o", uint32(0o755))
	f.Fuzz(func(t *testing.T, s string, perm uint32) {
		m, err := parseMode(s)
		if err != nil {
			return
		}
		if got := m.apply(perm&permMask, true); got > permMask {
			t.Fatalf("%s of %o: %o", s, perm, got)
		}
	})
}
