package language

import "golang.org/x/sys/unix"

// largePage is what the kernel gives at once of memory that asks for it.
const largePage = 2 << 20

// borrow returns size bytes for a file that is looked at once, until free is called: nothing may be kept of them. Large ones lie outside the heap, so that a
// program of a hundred megabytes does not have the collector run all the time, and in large pages, which the kernel clears much faster.
func borrow(size int) (data []byte, free func()) {
	if size >= largePage {
		if m, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err == nil {
			_ = unix.Madvise(m, unix.MADV_HUGEPAGE) // without large pages it is only slower
			return m, func() { _ = unix.Munmap(m) }
		}
	}
	return make([]byte, size), func() {}
}
