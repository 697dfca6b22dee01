package runtime

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestParametersOfBinds(t *testing.T) {
	given := []specs.Mount{
		{Type: "tmpfs", Options: []string{"nosuid", "mode=755", "size=1k"}},
		{Type: "bind", Options: []string{"ro", "mode=755"}},
		{Options: []string{"size=1k", "rbind", "rprivate", "rro"}},
	}
	want := []specs.Mount{
		{Type: "tmpfs", Options: []string{"nosuid", "mode=755", "size=1k"}},
		{Type: "bind", Options: []string{"ro"}},
		{Options: []string{"rbind", "rprivate", "rro"}},
	}
	if diff := cmp.Diff(want, withoutParameters(given)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if given[1].Options[1] != "mode=755" {
		t.Error("the caller's spec was changed")
	}
}
