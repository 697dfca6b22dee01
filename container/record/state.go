package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Keep marks this process as the one that looks after the container, until the file is closed or the process ends.
func (c *Container) Keep() (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(c.dir, aliveFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("look after container %.12s: %w", c.Config.ID, err)
	}
	if err := flock(f, unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("look after container %.12s: %w", c.Config.ID, err)
	}
	return f, nil
}

// keeperLives reports whether a process looks after the container in dir.
func keeperLives(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, aliveFile), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// SetState replaces the state.
func (c *Container) SetState(st State) error {
	if err := writeJSON(filepath.Join(c.dir, stateFile), st); err != nil {
		return fmt.Errorf("note the state of container %.12s: %w", c.Config.ID, err)
	}
	c.State = st
	return nil
}

// Started makes the state of a container whose first process is pid.
func Started(pid int) State {
	tick, _ := startTick(pid)
	return State{Status: Running, Pid: pid, StartTick: tick, Keeper: os.Getpid(), Started: time.Now().UTC()}
}

// Wait waits until nobody looks after the container any more and returns the exit code.
func (c *Container) Wait(ctx context.Context) (int, error) {
	f, err := os.OpenFile(filepath.Join(c.dir, aliveFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return 0, fmt.Errorf("wait for container %.12s: %w", c.Config.ID, err)
	}
	defer f.Close()
	done := make(chan error, 1)
	go func() { done <- flock(f, unix.LOCK_SH) }()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case err := <-done:
		if err != nil {
			return 0, fmt.Errorf("wait for container %.12s: %w", c.Config.ID, err)
		}
	}
	last := c.State
	if err := c.Refresh(); err != nil {
		return 0, err
	}
	if c.State.Status == Created && last.Status != Created {
		c.State = last // it was removed as it ended
	}
	return c.State.ExitCode, nil
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// alive reports whether a process is there, and is the one that was noted.
func alive(pid int, tick uint64) bool {
	now, zombie := startTick(pid)
	return pid > 0 && now != 0 && !zombie && (tick == 0 || now == tick)
}

// startTick reads when a process started (field 22 of /proc/<pid>/stat, in ticks since boot), 0 when it is not there, and
// whether it is a zombie.
func startTick(pid int) (tick uint64, zombie bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // begins with field 3
	if len(f) < 20 {
		return 0, false
	}
	tick, _ = strconv.ParseUint(f[19], 10, 64)
	return tick, f[0] == "Z"
}

// Kept reports whether a process looks after the container now.
func (c *Container) Kept() bool { return keeperLives(c.dir) }
