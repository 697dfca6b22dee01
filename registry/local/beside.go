package local

import (
	"bytes"
	"errors"
	"iter"

	"github.com/camada/camada/registry/local/kv"
)

// beside goes through keys while somebody else goes through others in the same order: it reads each key once, where looking each up
// would search the map from its top.
type beside struct {
	prefix key
	next   func() (kv.Entry, error, bool)
	stop   func()
	entry  kv.Entry
	more   bool
	err    error
}

// beside returns a walk through the keys with a prefix, as they are now. The caller stops it.
func (s *Store) beside(prefix key) *beside {
	next, stop := iter.Pull2(func(yield func(kv.Entry, error) bool) {
		err := s.db.Scan(prefix, end(prefix), func(e kv.Entry) error {
			if !yield(e, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(kv.Entry{}, err)
		}
	})
	b := &beside{prefix: prefix, next: next, stop: stop}
	b.step()
	return b
}

func (b *beside) step() { b.entry, b.err, b.more = b.next() }

// at calls fn with what follows prefix and part in the keys that begin so, until it returns false. Parts have to come in order, each once.
func (b *beside) at(part []byte, fn func(rest []byte) (bool, error)) error {
	for ; b.more && b.err == nil; b.step() {
		rest := b.entry.Key[len(b.prefix):]
		if after, ok := bytes.CutPrefix(rest, part); ok {
			if more, err := fn(after); !more || err != nil {
				return err
			}
		} else if bytes.Compare(rest, part) > 0 {
			return nil
		}
	}
	return b.err
}
