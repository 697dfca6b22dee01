package engine

import (
	"encoding/binary"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// watchFile calls changed whenever a file is put in its place by a rename; the function that it returns ends that, and waits for it. A
// machine that has no more watches to give gets none.
func watchFile(name string, changed func()) (stop func()) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return func() {}
	}
	f := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, filepath.Dir(name), unix.IN_MOVED_TO); err != nil {
		f.Close()
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		base := filepath.Base(name)
		buf := make([]byte, 4096)
		for {
			n, err := f.Read(buf)
			if err != nil {
				return
			}
			if named := namesIn(buf[:n]); named[base] {
				changed()
			}
		}
	}()
	return func() {
		f.Close()
		<-done
	}
}

// namesIn are the names in events of inotify(7).
func namesIn(b []byte) map[string]bool {
	names := map[string]bool{}
	for len(b) >= unix.SizeofInotifyEvent {
		size := int(binary.NativeEndian.Uint32(b[12:]))
		end := min(unix.SizeofInotifyEvent+size, len(b))
		name := b[unix.SizeofInotifyEvent:end]
		for i, c := range name {
			if c == 0 {
				name = name[:i]
				break
			}
		}
		names[string(name)] = true
		b = b[end:]
	}
	return names
}
