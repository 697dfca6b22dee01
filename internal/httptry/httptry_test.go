package httptry

import (
	"context"
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
)

func TestDo(t *testing.T) {
	boom := errors.New("boom")
	for name, tc := range map[string]struct {
		errs  []error
		calls int
		check func(error) bool
	}{
		"works":         {[]error{nil}, 1, func(err error) bool { return err == nil }},
		"works later":   {[]error{boom, nil}, 2, func(err error) bool { return err == nil }},
		"never works":   {[]error{boom, boom, boom}, 2, func(err error) bool { return errdefs.IsUnavailable(err) && errors.Is(err, boom) }},
		"is not there":  {[]error{errdefs.NotFound("x"), nil}, 1, errdefs.IsNotFound},
		"has a secret":  {[]error{&url.Error{Op: "Get", URL: "https://secret", Err: errdefs.Permission("no")}}, 1, func(err error) bool { return errdefs.IsPermission(err) && !strings.Contains(err.Error(), "secret") }},
		"is of no form": {[]error{errdefs.Invalid("x")}, 1, errdefs.IsInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			err := Do(t.Context(), Options{Tries: 2, Stall: time.Minute}, func(context.Context, Body) error {
				calls++
				return tc.errs[calls-1]
			})
			if !tc.check(err) || calls != tc.calls {
				t.Errorf("%d calls, %v", calls, err)
			}
		})
	}
}

// slow gives a byte for each turn, and then nothing more.
type slow struct {
	ctx  context.Context
	left int
}

func (s *slow) Read(p []byte) (int, error) {
	if s.left == 0 {
		<-s.ctx.Done()
		return 0, s.ctx.Err()
	}
	s.left--
	return copy(p, "x"), nil
}

func TestStall(t *testing.T) {
	err := Do(t.Context(), Options{Stall: 50 * time.Millisecond}, func(ctx context.Context, body Body) error {
		_, err := io.ReadAll(body(&slow{ctx, 3}))
		return err
	})
	if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "the server sent nothing") {
		t.Errorf("%v", err)
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("somebody pressed a key")
	err := Do(ctx, Options{Tries: 9, Stall: time.Minute}, func(context.Context, Body) error {
		cancel(why)
		return errors.New("boom")
	})
	if !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
}
