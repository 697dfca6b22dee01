package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
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

// RequestStop notes that the user wants the container to end: who looks after it does not start it again.
func (c *Container) RequestStop() error {
	f, err := os.OpenFile(filepath.Join(c.dir, stoppedFile), os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // removed: it has ended
		return fmt.Errorf("note that container %.12s is to end: %w", c.Config.ID, err)
	}
	return nil
}

// StopRequested reports whether the user wanted the container to end, since ClearStop was called last.
func (c *Container) StopRequested() bool {
	_, err := os.Lstat(filepath.Join(c.dir, stoppedFile))
	return err == nil
}

// ClearStop takes RequestStop back.
func (c *Container) ClearStop() error {
	err := os.Remove(filepath.Join(c.dir, stoppedFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("start container %.12s: %w", c.Config.ID, err)
	}
	return nil
}
