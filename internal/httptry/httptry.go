// Package httptry makes requests again when the trouble may pass, and ends those on which nothing comes any more.
//
//	err := httptry.Do(ctx, httptry.Options{Tries: 4, Stall: time.Minute}, func(ctx context.Context, body httptry.Body) error {
//		res, err := client.Do(request(ctx))
//		if err != nil {
//			return err
//		}
//		defer res.Body.Close()
//		return save(body(res.Body))
//	})
//
// It knows the errors of net/http without importing it: the address, which may have secrets in it, is taken out of them, and who calls
// adds what may be shown.
package httptry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/camada/camada/errdefs"
)

// Options say how long to go on.
type Options struct {
	// Tries is how often a request is made; at least once.
	Tries int
	// Stall is how long nothing may come.
	Stall time.Duration
}

// Body returns a reader of a response that puts the end of the request off with each read.
type Body func(io.Reader) io.Reader

// Do calls ask until it works, or will not: errors of the classes ErrNotFound, ErrLimit, ErrCorrupt, ErrPermission and ErrInvalid are
// final, and all others become ErrUnavailable after the last try. ask must be fit to be called again, and
// its context ends when nothing comes.
func Do(ctx context.Context, o Options, ask func(ctx context.Context, body Body) error) error {
	for try := 0; ; try++ {
		err := once(ctx, o.Stall, ask)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case final(err):
			return err
		case try+1 >= o.Tries:
			return errdefs.With(errdefs.ErrUnavailable, err)
		}
		select {
		case <-time.After(time.Duration(2<<try) * 100 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// final reports whether trying again cannot help.
func final(err error) bool {
	return errdefs.IsNotFound(err) || errdefs.IsLimit(err) || errdefs.IsCorrupt(err) || errdefs.IsPermission(err) || errdefs.IsInvalid(err)
}

func once(ctx context.Context, stall time.Duration, ask func(ctx context.Context, body Body) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(stall, func() { cancel(fmt.Errorf("the server sent nothing for %s", stall)) })
	defer watch.Stop()
	err := ask(ctx, func(r io.Reader) io.Reader { return &watched{r, watch, stall} })
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// watched puts the watch off with each read.
type watched struct {
	r     io.Reader
	watch *time.Timer
	stall time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if n > 0 {
		w.watch.Reset(w.stall)
	}
	return n, err
}
