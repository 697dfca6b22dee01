package mount

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// inNamespace makes an Overlay with mount(2) in a mount namespace of its own, and
// clones the mount out of it. The thread that enters the namespace is thrown
// away, so nobody else sees the mount or the changed working directory.
func inNamespace(m Mount, attrs int) (int, error) {
	type result struct {
		fd  int
		err error
	}
	var r result
	onThread(func() { r.fd, r.err = threadMount(m, attrs) })
	return r.fd, r.err
}

// onThread runs fn on a thread that ends with it. That is never the first thread of the
// process, which the runtime cannot end, and whose namespace and directory
// are what /proc shows as the process's.
func onThread(fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			onThread(fn) // on another one, since this one is taken
			runtime.UnlockOSThread()
			return
		}
		fn() // never unlocked: that ends the thread
	}()
	<-done
}

func threadMount(m Mount, attrs int) (int, error) {
	if err := privateNamespace(); err != nil {
		return -1, err
	}
	prefix := m.prefix()
	if err := unix.Chdir(prefix); err != nil {
		return -1, fmt.Errorf("chdir %s: %w", prefix, err)
	}
	m, err := nest(m, prefix)
	if err != nil {
		return -1, err
	}
	data, _ := m.data(prefix)
	// Any directory does as the place: nobody sees it.
	place := strings.TrimPrefix(m.Lower[0], prefix)
	if err := unix.Mount("overlay", place, "overlay", 0, data); err != nil {
		return -1, fmt.Errorf("mount overlay (%d bytes of options): %w", len(data), err)
	}
	return openTree(place, attrs)
}

// nest mounts as many of the lowest directories as needed as an overlay of their own,
// on the place of the first of them, so that the others fit.
func nest(m Mount, prefix string) (Mount, error) {
	if m.fits(prefix) {
		return m, nil
	}
	top, bottom := m, Mount{Kind: Overlay, UserXattr: m.UserXattr}
	for n := len(m.Lower) - 1; n > 0; n-- {
		top.Lower, bottom.Lower = m.Lower[:n], m.Lower[n-1:]
		if top.fits(prefix) {
			break
		}
	}
	if !top.fits(prefix) || !bottom.fits(prefix) {
		return m, errdefs.Limit("%d lower directories do not fit in two overlays of one page of options (%d bytes) each",
			len(m.Lower), os.Getpagesize())
	}
	data, _ := bottom.data(prefix)
	if err := unix.Mount("overlay", strings.TrimPrefix(bottom.Lower[0], prefix), "overlay", 0, data); err != nil {
		return m, fmt.Errorf("mount overlay below (%d bytes of options): %w", len(data), err)
	}
	return top, nil
}

func (m Mount) fits(prefix string) bool {
	_, ok := m.data(prefix)
	return ok && len(m.Lower) <= maxStack
}
