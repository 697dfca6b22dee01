package test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/internal/peers"
	"github.com/google/go-cmp/cmp"
)

// compareChecks compares what both print of the build checks: names, words, addresses and the lines of the Dockerfile.
func (y *parity) compareChecks(t *testing.T, p *peers.Peers, c *ours, pc *parityCase) {
	t.Helper()
	theirs, _, err := p.Talk("buildctl", append([]string{"build", "--opt", "requestid=frontend.lint"}, pc.buildctl(y.bases)...)...)
	if err != nil {
		return // it checks nothing that it cannot parse
	}
	ours, message, code := c.talk(append([]string{"build", "--check"}, pc.camada()...)...)
	want, got := warnings(string(theirs)), warnings(strings.ReplaceAll(ours, filepath.Dir(pc.dockerfile)+"/", ""))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("checks, -BuildKit +camada\n%s%s", diff, message)
	}
	if !pc.fails && (code != 0) != (len(got) > 0) {
		t.Errorf("%d warnings, and the exit code is %d: %s", len(got), code, message)
	}
}

// warnings are the warnings of a printed list, sorted: BuildKit has no order for those of one line.
func warnings(printed string) []string {
	parts := strings.Split(printed, "WARNING: ")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	out := slices.Clone(parts[1:])
	slices.Sort(out)
	return out
}

// theirWarnings are the warnings in buildctl's progress, sorted.
func theirWarnings(progress string) []string {
	var out []string
	for l := range strings.Lines(progress) {
		var status struct{ Warnings []struct{ Short []byte } }
		if json.Unmarshal([]byte(l), &status) != nil {
			continue
		}
		for _, w := range status.Warnings {
			out = append(out, string(w.Short))
		}
	}
	slices.Sort(out)
	return out
}

// ourWarnings are the warnings at the end of camada's progress, sorted.
func ourWarnings(progress string) []string {
	var out []string
	for l := range strings.Lines(progress) {
		if text, ok := strings.CutPrefix(l, " - "); ok {
			out = append(out, strings.TrimSpace(text))
		}
	}
	slices.Sort(out)
	return out
}
