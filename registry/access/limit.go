package access

import (
	"math"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/camada/camada/errdefs"
)

// maxClients is how many clients are counted; the counts of others begin anew.
const maxClients = 1 << 16

// client is who is counted: a user, or an address when he is not known.
type client struct {
	user string
	addr netip.Addr
}

// clientAt is a client by his address. One of IPv6 has a network.
func clientAt(a netip.Addr) client {
	if a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			a = p.Addr()
		}
	}
	return client{addr: a}
}

// buckets count what clients do, as buckets that leak.
type buckets struct {
	rate  float64
	burst float64
	now   func() time.Time

	mu           sync.Mutex
	newer, older map[client]*bucket
}

type bucket struct {
	left float64
	seen time.Time
}

func newBuckets(rate float64, burst int) *buckets {
	return &buckets{rate: rate, burst: float64(burst), now: time.Now, newer: map[client]*bucket{}}
}

// WaitError says that a client did too much. It is of the class ErrLimit.
type WaitError struct {
	// Seconds to wait, at least 1.
	Seconds int
}

// Error returns the text.
func (e *WaitError) Error() string {
	return "too many requests: try again in " + strconv.Itoa(e.Seconds) + " seconds"
}

// Unwrap returns the class.
func (e *WaitError) Unwrap() error { return errdefs.ErrLimit }

// RetryAfter is how many seconds to wait.
func (e *WaitError) RetryAfter() int { return e.Seconds }

// take counts one; a *WaitError when there was too much, which is not counted.
func (b *buckets) take(c client) error {
	_, err := b.count(c, 1)
	return err
}

// peek is a *WaitError when take would be.
func (b *buckets) peek(c client) error {
	_, err := b.count(c, 0)
	return err
}

// count counts n, and says how many are left.
func (b *buckets) count(c client, n float64) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	k := b.newer[c]
	if k == nil {
		if k = b.older[c]; k == nil {
			k = &bucket{b.burst, now}
		}
		if len(b.newer) >= maxClients/2 {
			b.newer, b.older = map[client]*bucket{}, b.newer
		}
		b.newer[c] = k
	}
	k.left = min(b.burst, k.left+b.rate*now.Sub(k.seen).Seconds())
	k.seen = now
	if k.left < 1 {
		return 0, &WaitError{max(1, int(math.Ceil((1-k.left)/b.rate)))}
	}
	k.left -= n
	return int(k.left), nil
}
