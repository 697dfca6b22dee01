// Package browse shows the layers of an image and the files of each in a terminal.
//
//	err := browse.Run(ctx, os.Stdin, os.Stdout, img, browse.Options{Name: "app", Color: true})
//
// The model is plain: keys go in (model.key), lines come out (model.view). So it is tested without a terminal;
// Run only connects it with one.
package browse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/errdefs"
	"golang.org/x/term"
)

// Options shape the browser.
type Options struct {
	// Name is what the image is called.
	Name string
	// Color allows colours. What is selected is shown in reverse in any case.
	Color bool
	// Human writes a size for people.
	Human func(int64) string
}

const (
	enter = "\x1b[?1049h\x1b[?25l\x1b[?7l" // another screen, no cursor, no wrapping
	leave = "\x1b[?7h\x1b[?25h\x1b[?1049l"
)

// Run shows the image until the user has seen enough or ctx ends. It needs a terminal, which it leaves as it was.
func Run(ctx context.Context, in, out *os.File, img *anatomy.Image, opts Options) (err error) {
	if !term.IsTerminal(int(in.Fd())) || !term.IsTerminal(int(out.Fd())) {
		return errdefs.Invalid("browse %s: standard input and output are no terminal", opts.Name)
	}
	old, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return fmt.Errorf("prepare the terminal: %w", err)
	}
	defer func() {
		_, werr := io.WriteString(out, leave)
		err = errors.Join(err, werr, term.Restore(int(in.Fd()), old))
	}()
	if _, err := io.WriteString(out, enter); err != nil {
		return err
	}
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	m := newModel(img, opts)
	keys := make(chan []key)
	done := make(chan struct{})
	defer close(done)
	go read(in, keys, done)
	for {
		w, h, err := term.GetSize(int(out.Fd()))
		if err != nil || w < 1 || h < 1 {
			w, h = 80, 24
		}
		if _, err := io.WriteString(out, frame(m.view(w, h))); err != nil {
			return err
		}
		select {
		case ks, ok := <-keys:
			for _, k := range ks {
				if m.key(k) {
					return nil
				}
			}
			if !ok {
				return nil
			}
		case <-resized:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// frame makes one write of the lines of a screen.
func frame(lines []string) string {
	return "\x1b[H" + strings.Join(lines, "\x1b[0m\x1b[K\r\n") + "\x1b[0m\x1b[J"
}

// read hands on the keys of a terminal. A goroutine that waits for a key when the browser ends stays until the
// process does, which is soon.
func read(in io.Reader, keys chan<- []key, done <-chan struct{}) {
	defer close(keys)
	buf := make([]byte, 256)
	var rest []byte
	for {
		n, err := in.Read(buf)
		if n > 0 {
			var ks []key
			ks, rest = parseKeys(append(rest, buf[:n]...))
			select {
			case keys <- ks:
			case <-done:
				return
			}
		}
		if err != nil {
			return
		}
	}
}
