package container

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/camada/camada/container/internal/program"
	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// The FIFOs of a container that waits, in the directory Config.Hold.
const (
	// goFIFO: a byte lets the process go on.
	goFIFO = "exec.fifo"
	// statusFIFO: the process tells there why it could not.
	statusFIFO = "status.fifo"
)

// holding is what a container waits by when its starter does not stay. The process has both FIFOs open for reading and
// writing, so that neither a missing reader nor a missing writer ends it, and nobody else has: whether it
// waits is asked of the kernel.
type holding struct{ gate, status, answer *os.File }

// newHold makes the FIFOs in dir.
func newHold(dir string) (*holding, error) {
	h := &holding{}
	for _, f := range []struct {
		file  **os.File
		name  string
		flags int
	}{{&h.gate, goFIFO, unix.O_RDWR}, {&h.status, statusFIFO, unix.O_RDWR}, {&h.answer, statusFIFO, unix.O_RDONLY | unix.O_NONBLOCK}} {
		name := filepath.Join(dir, f.name)
		if err := unix.Mkfifo(name, 0o600); err != nil && !errors.Is(err, unix.EEXIST) {
			h.close()
			return nil, &os.PathError{Op: "make the FIFO", Path: name, Err: err}
		}
		fd, err := unix.Open(name, f.flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if err != nil {
			h.close()
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
		if f.flags&unix.O_NONBLOCK != 0 {
			err = unix.SetNonblock(fd, false)
		}
		*f.file = os.NewFile(uintptr(fd), name)
		if err != nil {
			h.close()
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
	}
	return h, nil
}

func (h *holding) close() {
	if h == nil {
		return
	}
	for _, f := range []*os.File{h.gate, h.status, h.answer} {
		if f != nil {
			f.Close()
		}
	}
}

// takeStatus gives both ends of the FIFO of the status away.
func (h *holding) takeStatus() (read, write *os.File) {
	read, write = h.answer, h.status
	h.answer, h.status = nil, nil
	return read, write
}

// Held tells whether a container that was started with Config.Hold still waits in dir.
func Held(dir string) bool {
	fd, err := openGate(dir)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

// openGate opens the FIFO for writing, which succeeds only while somebody reads it: ENXIO otherwise.
func openGate(dir string) (int, error) {
	return unix.Open(filepath.Join(dir, goFIFO), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
}

// Release lets a container that was started with Config.Hold = dir execute its program, and returns when it did. name
// is the program's, for the error: a *StartError when it cannot be executed, ErrConflict when no process waits in dir.
// One caller at a time.
func Release(ctx context.Context, dir, name string) error {
	fd, err := openGate(dir)
	if err != nil {
		return errdefs.Conflict("no process waits to be started: %w", err)
	}
	gate := os.NewFile(uintptr(fd), goFIFO)
	defer gate.Close()
	status, err := os.OpenFile(filepath.Join(dir, statusFIFO), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("hear from the container's process: %w", err)
	}
	defer status.Close()
	stop := context.AfterFunc(ctx, func() { _ = status.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := gate.Write([]byte{1}); err != nil {
		return fmt.Errorf("let the container's process go on: %w", err)
	}
	var record [program.RecordSize]byte
	_, err = io.ReadFull(status, record[:])
	switch {
	case errors.Is(err, io.EOF): // its end closed: the program is executed, or the process killed
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("hear from the container's process: %w", err)
	}
	// All that is left to fail is the execution itself.
	errno := unix.Errno(binary.NativeEndian.Uint64(record[16:]))
	return startError(name, &program.Error{Stage: "execute", Errno: errno, Exec: true, Found: errno != unix.ENOENT})
}
