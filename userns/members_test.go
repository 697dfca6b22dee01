package userns

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestShared finds the namespace of a process that runs, and no other.
func TestShared(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "members")
	if end, err := Stay(dir); err != nil {
		t.Error(err)
	} else if end(); exists(dir) {
		t.Error("a directory for nobody")
	}
	s, err := openShared(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	mine := readMap(os.Getpid(), "uid_map")
	if ns := s.find(mine, mine); ns != nil {
		t.Error("a namespace of nobody")
	}
	child := exec.Command("sleep", "100")
	if err := child.Start(); err != nil {
		t.Skip(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	if err := s.add(child.Process.Pid); err != nil {
		t.Fatal(err)
	}
	ns := s.find(mine, mine)
	if ns == nil {
		t.Fatal("the namespace of a member is not found")
	}
	got, _ := ns.Stat()
	want, err := os.Stat("/proc/self/ns/user")
	if ns.Close(); err != nil || !os.SameFile(got, want) {
		t.Errorf("another namespace: %v", err)
	}
	if ns := s.find(mapsOf(12345, idRange{100000, 65536}, true), mine); ns != nil {
		t.Error("a namespace with other ids")
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	if ns := s.find(mine, mine); ns != nil {
		t.Error("the namespace of a dead one")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left of the dead: %v %v", left, err)
	}
	// A number that was given out again is another process.
	if err := os.WriteFile(filepath.Join(dir, memberName(os.Getpid(), "1")), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if ns := s.find(mine, mine); ns != nil {
		t.Error("a namespace by a number alone")
	}
	end, err := Stay(dir)
	if err != nil {
		t.Fatal(err)
	}
	if ns := s.find(mine, mine); ns == nil {
		t.Error("who stays is not found")
	} else {
		ns.Close()
	}
	if end(); s.find(mine, mine) != nil {
		t.Error("who stayed is still found")
	}
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
