package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// outFile is a file that gets its name when it is whole. Until then it has none where the file system has such files, so that
// a killed process leaves nothing.
type outFile struct {
	*os.File
	name string
	// temporary is what it is called meanwhile, "" for nothing.
	temporary string
	// there tells of a device or a pipe, which has its name and keeps it.
	there bool
}

// newFile makes a file that is to be name, or opens the device or the pipe that it is. The caller writes it, calls publish, and discard in any case.
func newFile(name string) (*outFile, error) {
	if fi, err := os.Stat(name); err == nil && !fi.Mode().IsRegular() && !fi.IsDir() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		return &outFile{File: f, name: name, there: true}, err
	}
	dir := filepath.Dir(name)
	if f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o666); err == nil {
		return &outFile{File: f, name: name}, nil
	}
	f, err := os.CreateTemp(dir, ".camada-*")
	if err != nil {
		return nil, err
	}
	return &outFile{File: f, name: name, temporary: f.Name()}, nil
}

// publish gives the file its name, in place of what had it.
func (f *outFile) publish() error {
	if f.there {
		return nil
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if f.temporary == "" {
		self := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
		err := unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, f.name, unix.AT_SYMLINK_FOLLOW)
		if !errors.Is(err, unix.EEXIST) {
			return err
		}
		tmp := filepath.Join(filepath.Dir(f.name), ".camada-"+strings.ToLower(rand.Text()))
		if err := unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, tmp, unix.AT_SYMLINK_FOLLOW); err != nil {
			return err
		}
		f.temporary = tmp
	}
	if err := os.Rename(f.temporary, f.name); err != nil {
		return err
	}
	f.temporary = ""
	return nil
}

// discard closes the file and removes it if it was not published.
func (f *outFile) discard() error {
	err := f.Close()
	if f.temporary != "" {
		err = errors.Join(err, os.Remove(f.temporary))
	}
	return err
}
