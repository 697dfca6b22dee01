package external

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/camada/camada/container"
	"github.com/camada/camada/errdefs"
)

const (
	// maxLog is how much of what the program says is read, in bytes.
	maxLog = 64 << 10
	// maxOutput is how much a verb may answer, in bytes.
	maxOutput = 16 << 20
)

// run runs a verb of the program. stdio are the container's streams; nil is none.
func (r Runtime) run(ctx context.Context, stdio []*os.File, args ...string) error {
	_, err := r.call(ctx, stdio, args...)
	return err
}

// call runs a verb of the program, and returns what it answers when the container's streams are not given.
func (r Runtime) call(ctx context.Context, stdio []*os.File, args ...string) (answer []byte, err error) {
	log, err := os.CreateTemp(r.Bundle, "log-") // others may call at the same time
	if err != nil {
		return nil, fmt.Errorf("make a log for the runtime: %w", err)
	}
	defer os.Remove(log.Name())
	defer log.Close()
	all := append([]string{"--root", r.State, "--log", log.Name(), "--log-format", "json"}, r.Flags...)
	cmd := exec.CommandContext(ctx, r.Path, append(all, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // reapHelpers knows what it leaves by that
	var out, said bytes.Buffer
	if stdio == nil {
		cmd.Stdout, cmd.Stderr = &limited{w: &out, left: maxOutput}, &limited{w: &said, left: maxLog}
	} else {
		for i, to := range []func(*os.File){func(f *os.File) { cmd.Stdin = f }, func(f *os.File) { cmd.Stdout = f }, func(f *os.File) { cmd.Stderr = f }} {
			if stdio[i] != nil {
				to(stdio[i])
			}
		}
	}
	if err := cmd.Run(); err != nil {
		text, _ := io.ReadAll(io.LimitReader(log, maxLog))
		message := logged(string(text))
		if message == "" {
			message = logged(said.String())
		}
		return nil, startError(args[0], err, message)
	}
	if out.Len() >= maxOutput {
		return nil, errdefs.Limit("the runtime answers more than %d bytes to %s", maxOutput, args[0])
	}
	return out.Bytes(), nil
}

// limited drops what is too much.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	_, err := l.w.Write(p[:n])
	return len(p), err
}

// logged is what a log says went wrong: the errors of one with a JSON object a line, or else all of it.
func logged(text string) string {
	var errs, all []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		var entry struct{ Level, Msg string }
		if json.Unmarshal([]byte(line), &entry) != nil || entry.Msg == "" {
			entry.Msg = line
		}
		if line == "" {
			continue
		}
		all = append(all, entry.Msg)
		if entry.Level == "error" || entry.Level == "fatal" {
			errs = append(errs, entry.Msg)
		}
	}
	if len(errs) > 0 {
		all = errs
	}
	return strings.Join(all, "\n")
}

// startError tells what the program said; a command that is not there has its exit code.
func startError(verb string, err error, said string) error {
	if said != "" {
		err = fmt.Errorf("%s: %w: %s", verb, err, said)
	} else {
		err = fmt.Errorf("%s: %w", verb, err)
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
		return errdefs.With(errdefs.ErrNotFound, err) // the runtime itself
	}
	for _, known := range []struct {
		text string
		code int
	}{{"executable file not found", 127}, {"no such file or directory", 127}, {"permission denied", 126}} {
		if strings.Contains(strings.ToLower(said), known.text) && (strings.Contains(said, "exec") || strings.Contains(said, "failed to load")) {
			return &container.StartError{Code: known.code, Err: err}
		}
	}
	return err
}
