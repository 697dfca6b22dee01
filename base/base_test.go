package base_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/camada/camada/base"
)

var _ base.Runner = (*recorder)(nil)

// recorder fails at the step of that name.
type recorder struct {
	fail string
	err  error
	ran  []string
}

func (r *recorder) Run(_ context.Context, s base.Step) error {
	r.ran = append(r.ran, s.Name)
	if s.Name == r.fail {
		return r.err
	}
	return nil
}

func TestRunStopsAtTheFirstFailure(t *testing.T) {
	r := &recorder{fail: "b", err: errors.New("exit status 1")}
	err := base.Run(t.Context(), r, []base.Step{{Name: "a"}, {Name: "b"}, {Name: "c"}})
	if !errors.Is(err, r.err) || err.Error() != "b: exit status 1" {
		t.Errorf("error = %v", err)
	}
	if !slices.Equal(r.ran, []string{"a", "b"}) {
		t.Errorf("ran %v", r.ran)
	}
}
