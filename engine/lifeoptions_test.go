package engine

import (
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
)

func TestPolicy(t *testing.T) {
	for text, want := range map[string]restartPolicy{
		"": {name: "no"}, "no": {name: "no"}, "always": {name: "always"}, "on-failure": {name: "on-failure"}, "on-failure:7": {name: "on-failure", tries: 7},
	} {
		if got, err := parsePolicy(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"never", "always:1", "on-failure:x", "on-failure:-1", "no:"} {
		if _, err := parsePolicy(bad); !errdefs.IsInvalid(err) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestRestarts is docker's back-off.
func TestRestarts(t *testing.T) {
	var r restarts
	always := restartPolicy{name: policyAlways}
	for i, want := range []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000} {
		if d, ok := r.next(always, 0, 9*time.Second); !ok || d != want*time.Millisecond {
			t.Errorf("start %d after %s, %v", i, d, ok)
		}
	}
	if d, _ := r.next(always, 0, 10*time.Second); d != firstDelay {
		t.Errorf("after a long run %s", d)
	}
	r = restarts{}
	failure := restartPolicy{name: policyOnFailure, tries: 2}
	for i, want := range []bool{true, true, false} {
		if _, ok := r.next(failure, 1, 0); ok != want {
			t.Errorf("failure %d: %v", i, ok)
		}
	}
	if _, ok := (&restarts{}).next(failure, 0, 0); ok {
		t.Error("started again after a good end")
	}
	if _, ok := (&restarts{}).next(restartPolicy{name: policyNo}, 1, 0); ok {
		t.Error("started again without a policy")
	}
}

func TestLogOptions(t *testing.T) {
	o, err := parseLogOptions("", map[string]string{"max-size": "10m", "max-file": "3", "compress": "true", "labels": "a,b"})
	if err != nil || o.MaxSize != 10<<20 || o.MaxFiles != 3 || !o.Compress || len(o.labels) != 2 {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := parseLogOptions("local", nil); err != nil || o.MaxSize != 20<<20 || o.MaxFiles != 5 || !o.Compress {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range []map[string]string{{"max-size": "0"}, {"max-size": "9999999999g"}, {"max-size": "x"}, {"max-file": "0"}, {"max-file": "2"}, {"compress": "perhaps"}, {"tag": "{{"}, {"other": ""}} {
		if _, err := parseLogOptions("json-file", bad); !errdefs.IsInvalid(err) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if _, err := parseLogOptions("none", map[string]string{"max-size": "1m"}); !errdefs.IsInvalid(err) {
		t.Errorf("%v", err)
	}
}

func TestUnitWords(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"/usr/bin/camada", "run", "a=b"}, "/usr/bin/camada run a=b"},
		{[]string{"sh", "-c", `echo "$HOME" 100%; exit`}, `sh -c "echo \"$$HOME\" 100%%; exit"`},
		{[]string{"", "a\nb", "100%"}, `"" "a\nb" 100%%`},
	} {
		if got := unitWords(tc.args); got != tc.want {
			t.Errorf("%q: %s", tc.args, got)
		}
	}
}
