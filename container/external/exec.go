package external

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/camada/camada/container"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ExecConfig is a further process of a running container.
type ExecConfig struct {
	// ID is the container's.
	ID string
	// Process says what runs, and as whom.
	Process *specs.Process
	// Stdin, Stdout and Stderr are given to the process as they are; nil is /dev/null. Ignored when Process.Terminal is set.
	Stdin, Stdout, Stderr *os.File
}

// Exec starts a process in a container that Start has started, in whichever process that was, and returns when its program has been executed. It
// becomes a child of the caller, and dies with it. Starts and Execs of one process follow each other.
func (r Runtime) Exec(ctx context.Context, cfg ExecConfig) (*container.Process, error) {
	p, err := r.exec(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("exec in container %s with %s: %w", cfg.ID, filepath.Base(r.Path), err)
	}
	return p, nil
}

func (r Runtime) exec(ctx context.Context, cfg ExecConfig) (*container.Process, error) {
	if err := adoptOrphans(); err != nil {
		return nil, err
	}
	dir, err := r.place()
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file, pid := filepath.Join(dir, "process.json"), filepath.Join(dir, "pid")
	if err := writeJSON(file, cfg.Process); err != nil {
		return nil, err
	}
	args := []string{"exec", "--detach", "--process", file, "--pid-file", pid}
	stdio := []*os.File{cfg.Stdin, cfg.Stdout, cfg.Stderr}
	var terminal *consoleSocket
	if cfg.Process.Terminal {
		if terminal, err = listen(filepath.Join(dir, "tty")); err != nil {
			return nil, err
		}
		defer terminal.close()
		args, stdio = append(args, "--console-socket", terminal.path), nil
	}
	before, started := children(), 0
	defer func() { reapHelpers(before, started) }()
	if err := r.run(ctx, stdio, append(args, cfg.ID)...); err != nil {
		return nil, err
	}
	var a container.Adopted
	if terminal != nil {
		if a.Console, err = terminal.receive(); err != nil {
			return nil, err
		}
	}
	p, err := r.adopt(a, pid)
	if err == nil {
		started = p.Pid()
	}
	return p, err
}

// place makes a directory for the files of one process. Its name is short: a socket lies in it.
func (r Runtime) place() (dir string, err error) {
	for range 100 {
		dir = filepath.Join(r.Bundle, fmt.Sprintf("x%06x", rand.N(1<<24)))
		if err = os.Mkdir(dir, 0o700); !errors.Is(err, os.ErrExist) {
			break
		}
	}
	if err != nil {
		return "", fmt.Errorf("make a directory for the process: %w", err)
	}
	return dir, nil
}

// Apart reports whether the processes of a container are none of this machine, because the runtime has a kernel of its own. pid is that of the container.
func (r Runtime) Apart(ctx context.Context, id string, pid int) (bool, error) {
	answer, err := r.call(ctx, nil, "ps", "--format", "json", id)
	if err != nil {
		return false, err
	}
	var pids []int
	if err := json.Unmarshal(answer, &pids); err != nil {
		return false, errdefs.Corrupt("the runtime's list of processes: %w", err)
	}
	return !slices.Contains(pids, pid), nil
}

// Table lists the processes of a container as the runtime does: titles, and a row for each process.
func (r Runtime) Table(ctx context.Context, id string) (titles []string, rows [][]string, err error) {
	answer, err := r.call(ctx, nil, "ps", "--format", "table", id)
	if err != nil {
		return nil, nil, err
	}
	titles, rows = table(string(answer))
	return titles, rows, nil
}

// table reads a table whose last column has spaces.
func table(text string) (titles []string, rows [][]string) {
	head, rest, _ := strings.Cut(text, "\n")
	titles = strings.Fields(head)
	for line := range strings.Lines(rest) {
		cells := strings.Fields(line)
		if len(cells) < len(titles) || len(titles) == 0 {
			continue
		}
		last := len(titles) - 1
		rows = append(rows, append(cells[:last:last], strings.Join(cells[last:], " ")))
	}
	return titles, rows
}
