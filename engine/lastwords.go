package engine

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/tasks"
	"golang.org/x/sys/unix"
)

// lastWords is a file without a name that a monitor has as its standard error until what it looks after runs. A program whose runtime ends
// it can tell nobody but there.
func lastWords() (*os.File, error) {
	fd, err := unix.MemfdCreate("last-words", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file for what the monitor says last: %w", err)
	}
	return os.NewFile(uintptr(fd), "last-words"), nil
}

// endedEarly is the error of a monitor that ended before it told anything: its own, as it stands in its last words.
func endedEarly(what string, words *os.File) error {
	const most = 64 << 10
	b, err := io.ReadAll(io.NewSectionReader(words, 0, most))
	if err != nil {
		b = nil
	}
	text := strings.TrimSpace(string(b))
	if err := tasks.Crashed(text); err != nil {
		return errdefs.Limit("the monitor of %s ended before it started that: %w", what, err)
	}
	first, _, _ := strings.Cut(text, "\n")
	if said, ok := strings.CutPrefix(first, "camada: "); ok {
		first = said
	}
	if first == "" {
		return errdefs.Unavailable("the monitor of %s ended before it started that", what)
	}
	return errdefs.Unavailable("the monitor of %s ended before it started that: %s", what, first)
}

// silent ends the time in which the last words of this monitor count: from now on nobody would read them.
func silent() {
	null, err := unix.Open(os.DevNull, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_ = unix.Dup3(null, unix.Stderr, 0)
	_ = unix.Close(null)
}
