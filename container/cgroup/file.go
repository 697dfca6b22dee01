package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// The files of cgroupfs are small and never block, so plain system calls serve
// and os.File, which asks the poller first, would double their number.

// maxFile bounds what is read of one file of cgroupfs.
const maxFile = 1 << 20

// write writes the whole value at once, as cgroupfs wants it.
func write(dir, file, value string) error {
	p := filepath.Join(dir, file)
	fd, err := open(p, unix.O_WRONLY|unix.O_TRUNC)
	if err != nil {
		return fmt.Errorf("write %q to %s: %w", value, p, err)
	}
	defer unix.Close(fd)
	for {
		_, err = unix.Write(fd, []byte(value))
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("write %q to %s: %w", value, p, err)
	}
	return nil
}

func writeInt[T int64 | uint64](dir, file string, value T) error {
	return write(dir, file, fmt.Sprint(value))
}

// writeMax writes a limit as v2 spells it: a negative number is "max".
func writeMax(dir, file string, value int64) error {
	if value < 0 {
		return write(dir, file, "max")
	}
	return write(dir, file, strconv.FormatInt(value, 10))
}

func read(dir, file string) (string, error) {
	p := filepath.Join(dir, file)
	fd, err := open(p, unix.O_RDONLY)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", p, err)
	}
	defer unix.Close(fd)
	var all []byte
	buf := make([]byte, 4096)
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("read %s: %w", p, err)
		}
		if n == 0 {
			return string(all), nil
		}
		if all = append(all, buf[:n]...); len(all) > maxFile {
			return "", errdefs.Limit("read %s: longer than %d bytes", p, maxFile)
		}
	}
}

func open(p string, flags int) (int, error) {
	for {
		fd, err := unix.Open(p, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// readUint reads a file that is one number; "max" is the largest.
func readUint(dir, file string) (uint64, error) {
	s, err := read(dir, file)
	if err != nil {
		return 0, err
	}
	return parseUint(s)
}

func parseUint(s string) (uint64, error) {
	s = strings.TrimSpace(s)
	if s == "max" || s == "-1" {
		return Unlimited, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, errdefs.Corrupt("cgroup value %q: %w", s, err)
	}
	return n, nil
}

// readKeys reads a file of "key value" lines; lines of another form are left out.
func readKeys(dir, file string) (map[string]uint64, error) {
	s, err := read(dir, file)
	if err != nil {
		return nil, err
	}
	return parseKeys(s), nil
}

func parseKeys(s string) map[string]uint64 {
	m := map[string]uint64{}
	for line := range strings.Lines(s) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			m[key] = n
		}
	}
	return m
}

// readPids reads cgroup.procs.
func readPids(dir string) ([]int, error) {
	s, err := read(dir, "cgroup.procs")
	if err != nil {
		return nil, err
	}
	var pids []int
	for line := range bytes.Lines([]byte(s)) {
		pid, err := strconv.Atoi(strings.TrimSpace(string(line)))
		if err != nil {
			return nil, errdefs.Corrupt("%s/cgroup.procs: %w", dir, err)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// gone tells that a file or directory of cgroupfs is not there (any more).
func gone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) }

// refused tells that the process may not change cgroupfs.
func refused(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS)
}
