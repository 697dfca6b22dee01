package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	healthFile  = "health.json"
	stoppedFile = "stopped"
)

// Health is what the health check of a container found.
type Health struct {
	// Status is one of the Health constants.
	Status        string `json:"Status"`
	FailingStreak int    `json:"FailingStreak"`
	// Log are the last results, the oldest first.
	Log []HealthResult `json:"Log"`
}

// HealthResult is one check; ExitCode is -1 when it could not be executed or took too long.
type HealthResult struct {
	Start    time.Time `json:"Start"`
	End      time.Time `json:"End"`
	ExitCode int       `json:"ExitCode"`
	Output   string    `json:"Output"`
}

// What a health check can say.
const (
	HealthStarting  = "starting"
	Healthy         = "healthy"
	HealthUnhealthy = "unhealthy"
)

// SetHealth notes what the health check found; nil is that there is none. Only who looks after the container does that.
func (c *Container) SetHealth(h *Health) error {
	name := filepath.Join(c.dir, healthFile)
	var err error
	if h == nil {
		if err = os.Remove(name); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	} else {
		err = writeJSON(name, h)
	}
	if err != nil {
		return fmt.Errorf("note the health of container %.12s: %w", c.Config.ID, err)
	}
	return nil
}

// Health is what the last health check found; nil when the container has none.
func (c *Container) Health() *Health {
	var h Health
	if err := readJSON(filepath.Join(c.dir, healthFile), &h); err != nil || h.Status == "" {
		return nil
	}
	return &h
}

// stopMark is a bit of the mode of aliveFile that says what stoppedFile says: a full disk has no place for a further file, and must not keep
// anybody from ending a container.
const stopMark = fs.ModeSticky

// RequestStop notes that the user wants the container to end: who looks after it does not start it again.
func (c *Container) RequestStop() error {
	f, err := os.OpenFile(filepath.Join(c.dir, stoppedFile), os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = f.Close()
	}
	if (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)) && c.markStop(stopMark) == nil {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // removed: it has ended
		return fmt.Errorf("note that container %.12s is to end: %w", c.Config.ID, err)
	}
	return nil
}

// markStop sets the mark, or takes it away with 0.
func (c *Container) markStop(mark fs.FileMode) error {
	return os.Chmod(filepath.Join(c.dir, aliveFile), 0o600|mark)
}

// marked reports whether the mark is set.
func (c *Container) marked() bool {
	info, err := os.Lstat(filepath.Join(c.dir, aliveFile))
	return err == nil && info.Mode()&stopMark != 0
}

// StopRequested reports whether the user wanted the container to end, since ClearStop was called last.
func (c *Container) StopRequested() bool {
	_, err := os.Lstat(filepath.Join(c.dir, stoppedFile))
	return err == nil || c.marked()
}

// ClearStop takes RequestStop back.
func (c *Container) ClearStop() error {
	err := os.Remove(filepath.Join(c.dir, stoppedFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil && c.marked() {
		err = c.markStop(0)
	}
	if err != nil {
		return fmt.Errorf("start container %.12s: %w", c.Config.ID, err)
	}
	return nil
}
