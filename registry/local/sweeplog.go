package local

import (
	"bytes"
	"context"
	"errors"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/local/kv"
)

// sweepLogs removes the logs of tags that were removed longer ago than logs count.
func (w *sweep) sweepLogs(ctx context.Context, repository string) error {
	prefix := newKey(kindLog, repository)
	var going []string
	var last []byte
	flush := func() error {
		err := w.removeLogs(ctx, repository, going)
		going = going[:0]
		return err
	}
	err := w.each(ctx, prefix, func(rest []byte, e kv.Entry) error {
		tag, at, ok := bytes.Cut(rest, []byte{0})
		if !ok {
			return errdefs.Corrupt("a line of a tag's log has no tag")
		}
		if bytes.Equal(tag, last) {
			return nil
		}
		last = bytes.Clone(tag)
		// The newest is first.
		l, err := decodeLog(at, e.Head)
		if err != nil || l.To != "" || l.Time.After(w.log) {
			return err
		}
		if going = append(going, string(tag)); len(going) < atOnce {
			return nil
		}
		return flush()
	})
	return errors.Join(err, flush())
}

// removeLogs removes the logs of tags that were not moved since they were looked at.
func (w *sweep) removeLogs(ctx context.Context, repository string, tags []string) error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	var b kv.Batch
	for _, tag := range tags {
		moved, err := w.lastMove(repository, tag)
		if err != nil {
			return err
		}
		there, err := w.has(tagKey(repository, tag))
		if err != nil {
			return err
		}
		if there || moved.After(w.log) {
			continue
		}
		err = w.each(ctx, logPrefix(repository, tag), func(_ []byte, e kv.Entry) error {
			b.Delete(e.Key)
			return nil
		})
		if err != nil {
			return err
		}
	}
	_, err := w.db.Write(&b)
	return err
}
