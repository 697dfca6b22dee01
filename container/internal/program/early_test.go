package program

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"
)

// TestNextPid hears the process that goes on before the child that tells of it.
func TestNextPid(t *testing.T) {
	record := func(kind, a uint64) []byte {
		b := make([]byte, RecordSize)
		binary.NativeEndian.PutUint64(b, kind)
		binary.NativeEndian.PutUint64(b[8:], a)
		return b
	}
	child := func(records ...[]byte) *Child {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		for _, b := range records {
			if _, err := w.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		return &Child{status: r, prog: &Program{}}
	}
	c := child(record(recordReady, 0), record(recordPid, 7))
	if pid, err := c.NextPid(); pid != 7 || err != nil {
		t.Errorf("got %d, %v", pid, err)
	}
	if ev, err := c.Next(); !ev.Ready || err != nil {
		t.Errorf("got %+v, %v", ev, err)
	}
	if ev, err := c.Next(); !ev.Executed || err != nil {
		t.Errorf("got %+v, %v", ev, err)
	}
	if _, err := child().NextPid(); !errors.Is(err, ErrEnded) {
		t.Errorf("without a word: %v", err)
	}
}
