package delta

import (
	"archive/tar"
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
)

// FuzzCut takes apart what may be a tar: put together again it is the same, byte by byte, and no content is longer than what there is.
func FuzzCut(f *testing.F) {
	for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, name := range []string{"a", "d/" + strings.Repeat("x", 90), "d/" + strings.Repeat("long/", 30) + "n"} {
			h := &tar.Header{Name: name, Mode: 0o644, Size: 600, Format: format}
			if err := w.WriteHeader(h); err != nil {
				continue // it has no such names
			}
			if _, err := w.Write(bytes.Repeat([]byte{'y'}, 600)); err != nil {
				f.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add(bytes.Repeat([]byte{0x80}, 1024))
	f.Fuzz(func(t *testing.T, data []byte) {
		var rest bytes.Buffer
		var contents [][]byte
		err := cut(bytes.NewReader(data), &rest, func(m member, r io.Reader) error {
			b, err := io.ReadAll(r)
			if contents = append(contents, b); err == nil && int64(len(b)) > m.size {
				t.Errorf("%q has %d bytes instead of %d", m.name, len(b), m.size)
			}
			return err
		})
		if err != nil {
			if !errdefs.IsCorrupt(err) && !errdefs.IsLimit(err) && !errdefs.IsUnsupported(err) {
				t.Errorf("no class: %v", err)
			}
			return
		}
		var again bytes.Buffer
		err = join(&again, &rest, func(_ member, w io.Writer) error {
			b := contents[0]
			contents = contents[1:]
			_, err := w.Write(b)
			return err
		})
		if err != nil || !bytes.Equal(again.Bytes(), data) || len(contents) > 0 {
			t.Errorf("%d bytes became %d, %d contents are left, %v", len(data), again.Len(), len(contents), err)
		}
	})
}
