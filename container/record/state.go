package record

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/flock"
	"golang.org/x/sys/unix"
)

// Keep marks this process as the one that looks after the container, until the file is closed or the process ends. It
// waits while another one begins to do so or ends, and reads the state again. ErrConflict when the container runs or is restarted by
// another one, which may take for ever; ErrNotFound when the container was removed.
func (c *Container) Keep(ctx context.Context) (*os.File, error) {
	const pause = 5 * time.Millisecond
	for {
		f, ok, err := c.TryKeep()
		if err != nil || ok {
			return f, err
		}
		if err := c.Refresh(); err != nil {
			return nil, fmt.Errorf("look after container %.12s: %w", c.Config.ID, err)
		}
		if c.Active() {
			return nil, errdefs.Conflict("container %s is looked after by another process", c.Config.Name)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// TryKeep is Keep without waiting; false when another process looks after the container.
func (c *Container) TryKeep() (*os.File, bool, error) {
	f, err := c.openAlive()
	if err != nil {
		return nil, false, fmt.Errorf("look after container %.12s: %w", c.Config.ID, err)
	}
	ok, err := flock.TryExclusive(f)
	if err == nil && ok && !named(f) {
		err = errdefs.NotFound("it was removed")
	}
	if err == nil && ok && c.State.Status != Dead {
		c.kept = f // whoever had it before is gone
		err = c.Refresh()
	}
	if err != nil || !ok {
		c.kept = nil
		f.Close()
		if err != nil {
			err = fmt.Errorf("look after container %.12s: %w", c.Config.ID, err)
		}
		return nil, false, err
	}
	c.kept = f
	return f, true, nil
}

// openAlive opens the file whose lock says that somebody looks after the container.
func (c *Container) openAlive() (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(c.dir, aliveFile), os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errdefs.NotFound("it was removed")
	}
	return f, err
}

// named reports whether an open file still has its name.
func named(f *os.File) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(a, b)
}

// keeperLives reports whether a process looks after the container in dir.
func keeperLives(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, aliveFile), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	free, err := flock.TryShared(f)
	return err == nil && !free
}

// SetState replaces the state. Only who looks after the container does that. On a disk that has no place for a further file it is written over the
// old one: how a container ended happens once.
func (c *Container) SetState(st State) error {
	name := filepath.Join(c.dir, stateFile)
	err := writeJSON(name, st)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		err = overwriteJSON(name, st)
	}
	if err != nil {
		return fmt.Errorf("note the state of container %.12s: %w", c.Config.ID, err)
	}
	c.State = st
	if b, err := json.Marshal(st); err == nil && c.kept != nil && st.Status != Running {
		// For those who wait: they have this file open, also when the container is removed as it ends.
		_, _ = c.kept.WriteAt(append(b, '\n'), 0)
	}
	return nil
}

// overwriteJSON writes to a file that is there, in one call and not shorter than it is, so that a reader finds JSON and spaces at any time.
func overwriteJSON(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if more := min(st.Size(), maxFile) - int64(len(b)); more > 0 {
		b = append(b, bytes.Repeat([]byte{' '}, int(more))...)
	}
	_, err = f.WriteAt(b, 0)
	return err
}

// Started makes the state of a container whose first process is pid.
func Started(pid int) State {
	tick, _ := startTick(pid)
	return State{Status: Running, Pid: pid, StartTick: tick, Boot: bootID(), Keeper: os.Getpid(), Started: time.Now().UTC()}
}

// bootID is the kernel's id of this boot, "" when it tells none.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(b))
}

// Wait waits until nobody looks after the container any more and returns the exit code, also of a container that is
// removed as it ends.
func (c *Container) Wait(ctx context.Context) (int, error) {
	f, err := c.openAlive()
	if err != nil {
		return 0, fmt.Errorf("wait for container %.12s: %w", c.Config.ID, err)
	}
	defer f.Close()
	if err := flock.Shared(ctx, f); err != nil {
		return 0, fmt.Errorf("wait for container %.12s: %w", c.Config.ID, err)
	}
	if named(f) {
		err := c.Refresh()
		return c.State.ExitCode, err
	}
	var last State
	if err := json.NewDecoder(io.LimitReader(f, maxFile)).Decode(&last); err != nil {
		return 0, errdefs.NotFound("container %.12s was removed, and nobody noted how it ended", c.Config.ID)
	}
	c.State = last
	return last.ExitCode, nil
}

// Alive reports whether the first process of a container is there, as the kernel says. It may have ended while the container counts as running, because
// whoever looks after it is still at that.
func (c *Container) Alive() bool { return alive(c.State.Pid, c.State.StartTick) }

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
	return parseStat(b)
}

// parseStat reads /proc/<pid>/stat (proc_pid_stat(5)). The second field, the name in parentheses, can hold anything.
func parseStat(b []byte) (tick uint64, zombie bool) {
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // begins with field 3
	if len(f) < 20 {
		return 0, false
	}
	tick, err := strconv.ParseUint(string(f[19]), 10, 64)
	if err != nil {
		return 0, false
	}
	return tick, f[0][0] == 'Z' || f[0][0] == 'X'
}

// Kept reports whether a process looks after the container now.
func (c *Container) Kept() bool { return keeperLives(c.dir) }
