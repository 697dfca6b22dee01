package userns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/internal/flock"
	"golang.org/x/sys/unix"
)

// The user namespace that the commands of one user share lives as long as one of them, or what they started, runs: then a later one joins
// it. Nobody has to hold it, and when all have ended nothing is left but small files. A directory has one for each process that is inside:
//
//	<dir>/<process id>-<start time>
//
// The directory itself is locked while somebody decides whether to join or to make one.

// shared is the directory, locked.
type shared struct {
	dir  string
	lock *os.File
}

func openShared(ctx context.Context, dir string) (*shared, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("share a user namespace: %w", err)
	}
	f, err := os.Open(dir)
	if err == nil {
		if err = flock.Exclusive(ctx, f); err != nil {
			f.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("share a user namespace: %w", err)
	}
	return &shared{dir: dir, lock: f}, nil
}

func (s *shared) close() { s.lock.Close() }

// find gives the user namespace of a living member whose ids are those that one of our own would have; nil without one. What the dead left is
// removed.
func (s *shared) find(uids, gids []idMap) *os.File {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, ok := alive(e.Name())
		if !ok {
			_ = os.Remove(filepath.Join(s.dir, e.Name()))
			continue
		}
		if !slices.Equal(readMap(pid, "uid_map"), uids) || !slices.Equal(readMap(pid, "gid_map"), gids) {
			continue
		}
		ns, err := os.Open("/proc/" + strconv.Itoa(pid) + "/ns/user")
		if err != nil {
			continue
		}
		if _, ok := alive(e.Name()); ok { // the number was not given out again before it was opened
			return ns
		}
		ns.Close()
	}
	return nil
}

// add notes a process that is inside.
func (s *shared) add(pid int) error { return addMember(s.dir, pid) }

func addMember(dir string, pid int) error {
	start, ok := startTime(pid)
	if !ok {
		return nil // it has ended
	}
	err := os.WriteFile(filepath.Join(dir, memberName(pid, start)), nil, 0o600)
	if err != nil {
		return fmt.Errorf("share a user namespace: %w", err)
	}
	return nil
}

// Stay lets others join the user namespace as long as this process runs. It is for processes inside that outlive the one which Reexec started;
// dir is that of Options.Shared. end is called when the process has no more use for that.
func Stay(dir string) (end func(), err error) {
	nothing := func() {}
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nothing, nil // nobody shares
	}
	if err := addMember(dir, os.Getpid()); err != nil {
		return nothing, err
	}
	start, _ := startTime(os.Getpid())
	return func() { _ = os.Remove(filepath.Join(dir, memberName(os.Getpid(), start))) }, nil
}

func memberName(pid int, start string) string { return strconv.Itoa(pid) + "-" + start }

// alive tells whether the process of a member's file runs.
func alive(name string) (pid int, ok bool) {
	number, start, ok := strings.Cut(name, "-")
	pid, err := strconv.Atoi(number)
	if !ok || err != nil || pid <= 0 {
		return 0, false
	}
	now, ok := startTime(pid)
	return pid, ok && now == start
}

// startTime is field 22 of /proc/<pid>/stat; false for a process that has ended.
func startTime(pid int) (string, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", false
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 20 || f[0][0] == 'Z' || f[0][0] == 'X' {
		return "", false
	}
	return string(f[19]), true
}

// idMap is a row of user_namespaces(7)'s maps.
type idMap struct{ inside, outside, count int }

// mapsOf are the rows that a namespace of our own gets.
func mapsOf(id int, r idRange, useRanges bool) []idMap {
	rows := []idMap{{0, id, 1}}
	if useRanges {
		rows = append(rows, idMap{1, r.start, r.count})
	}
	return rows
}

func readMap(pid int, file string) []idMap {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/" + file)
	if err != nil {
		return nil
	}
	var rows []idMap
	for line := range strings.Lines(string(b)) {
		var r idMap
		if _, err := fmt.Sscan(line, &r.inside, &r.outside, &r.count); err != nil {
			return nil
		}
		rows = append(rows, r)
	}
	return rows
}

// joined starts the program in the namespace; the process is nil when that was not possible, as when its last member has just ended.
func (o Options) joined(ns *os.File, env []string) *os.Process {
	defer ns.Close()
	pid, err := o.Join(ns, append([]string{"camada"}, o.Args...), env)
	if err != nil {
		return nil
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		return nil
	}
	return p
}
