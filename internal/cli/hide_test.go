package cli

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestHideVariable looks at /proc/self/environ of a process that hid one of its variables.
func TestHideVariable(t *testing.T) {
	if os.Getenv("CAMADA_TEST_HIDDEN") != "" {
		hideVariable("CAMADA_TEST_HIDDEN")
		hideVariable("CAMADA_TEST_NOTHING")
		env, err := os.ReadFile("/proc/self/environ")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(env), "hidden value") || !strings.Contains(string(env), "CAMADA_TEST_SHOWN=shown value\x00") {
			t.Errorf("the environment shows %q", env)
		}
		if os.Getenv("CAMADA_TEST_HIDDEN") != "hidden value" {
			t.Error("the process has lost it")
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestHideVariable$")
	cmd.Env = append(os.Environ(), "CAMADA_TEST_HIDDEN=hidden value", "CAMADA_TEST_SHOWN=shown value", "CAMADA_TEST_HIDDEN_NOT=x")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestSplitSecret(t *testing.T) {
	t.Setenv("A_VARIABLE", "x")
	for in, want := range map[string]secretFields{
		"id=a,src=f":                    {id: "a", src: "f"},
		"id=a,source=f":                 {id: "a", src: "f"},
		"id=a,env=E":                    {id: "a", env: "E"},
		"type=env,id=a,src=E":           {id: "a", kind: "env", env: "E"},
		"type=env,id=a,env=E":           {id: "a", kind: "env", env: "E"},
		"id=A_VARIABLE":                 {id: "A_VARIABLE", env: "A_VARIABLE"},
		"id=A_VARIABLE,type=file":       {id: "A_VARIABLE", kind: "file", src: "A_VARIABLE"},
		"id=a_file":                     {id: "a_file", src: "a_file"},
		`id=a,"src=with,comma"`:         {id: "a", src: "with,comma"},
		"ID=a,SRC=f":                    {id: "a", src: "f"},
		"id=a,type=file,source=/etc/=x": {id: "a", kind: "file", src: "/etc/=x"},
	} {
		if got, err := splitSecret(in); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "a", "src=f", "id=a,foo=b", "id=a,type=pipe", `id=a,"src=x`} {
		if got, err := splitSecret(bad); err == nil {
			t.Errorf("%s: got %+v", bad, got)
		}
	}
}
