package engine

import (
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/google/go-cmp/cmp"
)

func TestParseDevice(t *testing.T) {
	for _, tc := range []struct {
		text string
		want deviceMap
	}{
		{"/dev/a", deviceMap{"/dev/a", "/dev/a", "rwm"}},
		{"/dev/a:r", deviceMap{"/dev/a", "/dev/a", "r"}},
		{"/dev/a:/dev/b/", deviceMap{"/dev/a", "/dev/b", "rwm"}},
		{"/dev/a:/dev/b:mw", deviceMap{"/dev/a", "/dev/b", "mw"}},
	} {
		got, err := parseDevice(tc.text)
		if err != nil || got != tc.want {
			t.Errorf("%s: %+v %v, want %+v", tc.text, got, err, tc.want)
		}
	}
	for _, text := range []string{"", "dev/a", "/dev/a:b:rw", "/dev/a:/dev/b:rr", "/dev/a:/dev/b:x", "/dev/a:/:r", "/a:/b:r:w"} {
		if d, err := parseDevice(text); !errdefs.IsInvalid(err) {
			t.Errorf("%q: %+v %v, want ErrInvalid", text, d, err)
		}
	}
}

func TestParseRule(t *testing.T) {
	r, err := parseRule("c 10:* rw")
	if err != nil || r.Type != "c" || *r.Major != 10 || *r.Minor != -1 || r.Access != "rw" || !r.Allow {
		t.Errorf("%+v %v", r, err)
	}
	for _, text := range []string{"", "c 10 rw", "d 1:1 r", "c -1:1 r", "c 1:1 x", "c 1:1 r w", "c 99999999999:1 r"} {
		if _, err := parseRule(text); !errdefs.IsInvalid(err) {
			t.Errorf("%q: %v, want ErrInvalid", text, err)
		}
	}
}

func TestGpuNames(t *testing.T) {
	for text, want := range map[string][]string{
		"": nil, "all": {"nvidia.com/gpu=all"}, "2": {"nvidia.com/gpu=0", "nvidia.com/gpu=1"},
		`"device=1,GPU-x"`: {"nvidia.com/gpu=1", "nvidia.com/gpu=GPU-x"},
	} {
		got, err := gpuNames(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	for _, text := range []string{"capabilities=utility", "device=1,capabilities=utility", "device="} {
		if _, err := gpuNames(text); !errdefs.IsUnsupported(err) {
			t.Errorf("%q: %v, want ErrUnsupported", text, err)
		}
	}
}

func TestIsSet(t *testing.T) {
	for _, s := range []string{"", "0", "0-3", "0-1,5"} {
		if !isSet(s) {
			t.Errorf("%q is refused", s)
		}
	}
	for _, s := range []string{"a", "1-", "-1", "3-1", "1,,2", "0-3-5", "70000"} {
		if isSet(s) {
			t.Errorf("%q is taken", s)
		}
	}
}

func TestConfinementRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"nosuch":                  "want KEY=VALUE",
		"nosuch=1":                "want no-new-privileges",
		"systempaths=all":         "want no-new-privileges",
		"mask=/etc":               "not a path of /proc or /sys",
		"unmask=/proc/../etc":     "not a path of /proc or /sys",
		"no-new-privileges=maybe": "invalid syntax",
		"seccomp=/dev/null":       "seccomp profile",
	} {
		if _, err := confinement([]string{text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	c, err := confinement([]string{"no-new-privileges:true", "seccomp:unconfined", "label:disable", "unmask=ALL", "mask=/proc/a:/sys/b"})
	if err != nil || !c.NoNewPrivileges || c.Seccomp != "unconfined" || !c.ShowAll || len(c.Mask) != 2 {
		t.Errorf("%+v %v", c, err)
	}
}

// A secret that is missing is told of without its value, and two of one name are refused.
func TestCheckSecrets(t *testing.T) {
	for _, list := range [][]RunSecret{
		{{ID: "a"}, {ID: "a"}},
		{{ID: "a", Target: "/x"}, {ID: "b", Target: "/x/"}},
		{{ID: "a", Env: "X"}, {ID: "b", Env: "X"}},
		{{ID: "a", Target: "/"}},
	} {
		if err := checkSecrets(list); !errdefs.IsInvalid(err) {
			t.Errorf("%+v: %v, want ErrInvalid", list, err)
		}
	}
	if err := checkSecrets([]RunSecret{{ID: "a"}, {ID: "b", Target: "sub/c"}, {ID: "c", Env: "a"}}); err != nil {
		t.Error(err)
	}
	env := withoutSecrets([]string{"A=1", "TOKEN=x", "TOKENS=y"}, []RunSecret{{Variable: "TOKEN"}})
	if diff := cmp.Diff([]string{"A=1", "TOKENS=y"}, env); diff != "" {
		t.Error(diff)
	}
}
