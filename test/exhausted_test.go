package test

import (
	"fmt"
	"strings"
)

// fewDescriptors is a low limit of open files, RLIMIT_NOFILE.
func (h *hardship) fewDescriptors() {
	for _, n := range []int{64, 32, 16, 8} {
		h.when = fmt.Sprintf("with %d descriptors", n)
		h.wrap = []string{"prlimit", fmt.Sprintf("--nofile=%d:%d", n, n)}
		h.either("too many open files", "run", "--rm", "-p", "80", "app")
		h.either("too many open files", "run", "--rm", "-d", "-p", "80", "app")
	}
	h.wrap = []string{"prlimit", "--nofile=64:64"}
	h.works("it works", "run", "--rm", "-p", "80", "-m", "64m", "app")
}

// either runs a command that does what it is to do, or says why it cannot.
func (h *hardship) either(says string, args ...string) {
	h.m.t.Helper()
	r := h.run(args...)
	if r.code != 0 && (r.code != 125 || !strings.HasPrefix(r.errors, "camada: ") || !strings.Contains(r.errors, says)) {
		h.m.t.Errorf("%s: want it to work, or exit code 125 and %q: %v", h.when, says, r)
	}
	h.clean(args)
}
