package deb

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

const (
	arMagic  = "!<arch>\n"
	arHeader = 60
)

// arReader reads the common form of ar(5) archives, as deb(5) uses it:
//
//	"!<arch>\n"  then, for each member, at an even offset:
//	name[16] mtime[12] uid[6] gid[6] mode[8] size[10] "`\n"  content
type arReader struct {
	r    io.Reader
	left int64 // of the member's content
	pad  int64
}

// arMember is a member's header.
type arMember struct {
	name string
	size int64
	time time.Time
}

func newArReader(r io.Reader) (*arReader, error) {
	magic := make([]byte, len(arMagic))
	if _, err := io.ReadFull(r, magic); err != nil {
		return nil, truncated("ar archive", err)
	}
	if string(magic) != arMagic {
		return nil, errdefs.Corrupt("not an ar archive")
	}
	return &arReader{r: r}, nil
}

// next skips to the next member; io.EOF after the last.
func (a *arReader) next() (arMember, error) {
	if _, err := io.CopyN(io.Discard, a.r, a.left+a.pad); err != nil && !(errors.Is(err, io.EOF) && a.left == 0) {
		return arMember{}, truncated("ar member", err)
	}
	a.left, a.pad = 0, 0
	h := make([]byte, arHeader)
	if _, err := io.ReadFull(a.r, h); err != nil {
		if errors.Is(err, io.EOF) {
			return arMember{}, io.EOF
		}
		return arMember{}, truncated("ar header", err)
	}
	if string(h[58:]) != "`\n" {
		return arMember{}, errdefs.Corrupt("ar header without its end mark")
	}
	size, err := strconv.ParseUint(strings.TrimRight(string(h[48:58]), " "), 10, 40)
	if err != nil {
		return arMember{}, errdefs.Corrupt("ar header with size %q", h[48:58])
	}
	// The time is a help only; a strange one counts as none.
	sec, err := strconv.ParseUint(strings.TrimRight(string(h[16:28]), " "), 10, 40)
	if err != nil {
		sec = 0
	}
	a.left, a.pad = int64(size), int64(size%2)
	return arMember{
		name: strings.TrimSuffix(strings.TrimRight(string(h[:16]), " "), "/"),
		size: int64(size),
		time: time.Unix(int64(sec), 0).UTC(),
	}, nil
}

// Read reads the member's content.
func (a *arReader) Read(p []byte) (int, error) {
	if a.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > a.left {
		p = p[:a.left]
	}
	n, err := a.r.Read(p)
	a.left -= int64(n)
	if errors.Is(err, io.EOF) {
		if a.left > 0 {
			return n, truncated("ar member", err)
		}
		err = nil
	}
	return n, err
}

func truncated(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errdefs.Corrupt("%s: ends too early", what)
	}
	return err
}
