package test

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// TestHardship runs containers where something is missing or exhausted. Each command does what it is to do, or says what is wrong, where, and what to
// do, with the right exit code; and nothing is left.
func TestHardship(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.write("ctx/Dockerfile", "FROM scratch\nCOPY rootfs /\nCMD [\"echo\", \"it works\"]\n")
		m.camada("build", "-q", "-t", "app", "ctx")
		m.camada("save", "-o", "app.tar", "app")
		m.camada("run", "--rm", "-p", "80", "app") // what stays of the first one is there
		h := &hardship{m: m}
		h.withoutGroups()
		h.withoutDevices()
		h.withoutParts()
		h.readOnlyStore()
		h.otherStores()
		h.fullRun()
		h.noInodes()
		h.fewDescriptors()
	})
}

type hardship struct {
	m *machine
	// when is what is wrong, and wrap the program that makes it so, before camada and its arguments.
	when string
	wrap []string
}

// in sets what is wrong by a shell script in a mount namespace of its own.
func (h *hardship) in(when, script string) {
	h.when, h.wrap = when, []string{"unshare", "--mount", "sh", "-c", script + "\nexec \"$@\"", "sh"}
}

func (h *hardship) run(args ...string) result {
	h.m.t.Helper()
	cmd := h.m.command(args...)
	if len(h.wrap) > 0 {
		path, err := exec.LookPath(h.wrap[0])
		h.m.must(err)
		cmd.Path, cmd.Args = path, append(append([]string{}, h.wrap...), append([]string{cmd.Path}, args...)...)
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		errs.WriteString(err.Error())
	}
	return result{args: args, out: out.String(), errors: errs.String(), code: cmd.ProcessState.ExitCode()}
}

// works runs a command that does what it does elsewhere.
func (h *hardship) works(want string, args ...string) {
	h.m.t.Helper()
	if r := h.run(args...); r.code != 0 || want != "" && strings.TrimSpace(r.out) != want {
		h.m.t.Errorf("%s: want %q: %v", h.when, want, r)
	}
	h.clean(args)
}

// fails runs a command that cannot do what it is to do.
func (h *hardship) fails(code int, says []string, args ...string) {
	h.m.t.Helper()
	r := h.run(args...)
	for _, s := range says {
		if !strings.Contains(r.errors, s) {
			h.m.t.Errorf("%s: want %q: %v", h.when, s, r)
		}
	}
	if r.code != code || !strings.HasPrefix(r.errors, "camada: ") {
		h.m.t.Errorf("%s: want exit code %d: %v", h.when, code, r)
	}
	h.clean(args)
}

// clean checks that nothing is left of a command.
func (h *hardship) clean(args []string) {
	h.m.t.Helper()
	when := fmt.Sprintf("%s: after %v", h.when, args)
	if len(args) > 0 && args[0] == "run" && args[1] != "-d" {
		h.m.none(when, h.m.leftovers)
		for _, odd := range account(h.m.t, h.m.root) {
			if begun(odd) {
				h.m.t.Errorf("%s there is %s", when, odd)
			}
		}
	}
}
