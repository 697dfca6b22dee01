package s3

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/camada/camada/errdefs"
)

// sweepLock is held by who sweeps. It is a lease by the store's clock: a holder of which nothing is heard loses it. Should two sweep at once all the same, none takes
// what the other's marks keep: each takes only what it saw condemned before it marked.
type sweepLock struct {
	s      *Store
	holder string
	cell   *cell
	stop   context.CancelFunc
	done   chan struct{}
}

type lockState struct {
	Holder string    `json:"holder,omitempty"`
	Until  time.Time `json:"until,omitzero"`
}

// lock takes the lock, and returns a context that ends when it is lost.
func (s *Store) lock(ctx context.Context) (*sweepLock, context.Context, error) {
	l := &sweepLock{s: s, holder: newID(), done: make(chan struct{})}
	key := s.prefix + "sweep"
	c, err := s.find(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	var st lockState
	if c != nil {
		if err := json.Unmarshal(c.body, &st); err != nil {
			return nil, nil, errdefs.Corrupt("%s: %w", key, err)
		}
	}
	if st.Holder != "" && s.o.Now().Before(st.Until) {
		return nil, nil, errdefs.Unavailable("somebody else sweeps this registry")
	}
	l.cell = c
	if err := l.save(ctx, l.holder); err != nil {
		if errdefs.IsConflict(err) {
			err = errdefs.Unavailable("somebody else sweeps this registry: %v", err)
		}
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	l.stop = func() { cancel(nil) }
	go l.keep(ctx, cancel)
	return l, ctx, nil
}

func (l *sweepLock) save(ctx context.Context, holder string) error {
	body, err := json.Marshal(lockState{holder, l.s.o.Now().Add(l.s.lease).UTC()})
	if err != nil {
		return fmt.Errorf("lock of the sweep: %w", err)
	}
	c, err := l.s.write(ctx, l.s.prefix+"sweep", l.cell, head{State: live}, body)
	if err == nil {
		l.cell = c
	}
	return err
}

// keep keeps the lock until it is given back or lost.
func (l *sweepLock) keep(ctx context.Context, cancel context.CancelCauseFunc) {
	defer close(l.done)
	saved := time.Now()
	tick := time.NewTicker(l.s.lease / 6)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		sctx, end := context.WithTimeout(ctx, l.s.lease/2)
		begun := time.Now()
		err := l.save(sctx, l.holder)
		end()
		if err == nil {
			saved = begun
		} else if errdefs.IsConflict(err) || time.Since(saved) > l.s.lease/2 {
			cancel(errdefs.Unavailable("the sweep lost its lock: %v", err))
			return
		}
	}
}

// unlock gives the lock back.
func (l *sweepLock) unlock(ctx context.Context) {
	l.stop()
	<-l.done
	ctx, cancel := detached(ctx)
	defer cancel()
	_ = l.save(ctx, "") // it ends by itself otherwise
}
