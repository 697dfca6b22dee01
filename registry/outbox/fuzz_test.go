package outbox

import (
	"bytes"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
)

// FuzzItem reads an item that waits as it was written.
func FuzzItem(f *testing.F) {
	f.Add(encodeItem(7, time.Unix(1e9, 5), []byte("body")))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		decodeTime(b)
		seq, queued, body, err := decodeItem(b)
		if err != nil {
			if !errdefs.IsCorrupt(err) || body != nil {
				t.Errorf("%q, %v", body, err)
			}
			return
		}
		again, at, text, err := decodeItem(encodeItem(seq, queued, body))
		if err != nil || again != seq || !at.Equal(queued) || !bytes.Equal(text, body) || !bytes.HasSuffix(b, body) {
			t.Errorf("%d %s %q became %d %s %q, %v", seq, queued, body, again, at, text, err)
		}
		if got := decodeTime(encodeTime(queued)); !got.Equal(queued) {
			t.Errorf("%s became %s", queued, got)
		}
	})
}
