package program

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memory is what the child has of its own: it gets no copy of the parent's heap, see Fork. All that a program refers to is put there, and
// stays until the parent is done with the child. Its addresses are stable, and nothing in it points to the heap.
type memory struct {
	chunks [][]byte
	free   []byte
}

// Sizes in bytes.
const (
	chunkSize  = 256 << 10 // address space; what is not used takes nothing
	alignment  = 16
	childStack = 32 << 10
)

// take returns n bytes, which are zero.
func (m *memory) take(n int) ([]byte, error) {
	n = (n + alignment - 1) &^ (alignment - 1)
	if n > len(m.free) {
		size := max(chunkSize, n)
		chunk, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			return nil, fmt.Errorf("memory for a child, %d bytes: %w", size, err)
		}
		m.chunks = append(m.chunks, chunk)
		m.free = chunk[:len(chunk):len(chunk)]
	}
	b := m.free[:n:n]
	m.free = m.free[n:]
	return b, nil
}

// list returns a list of n zero values in m. T must be free of pointers into the heap.
func list[T any](m *memory, n int) ([]T, error) {
	b, err := m.take(max(1, n) * int(unsafe.Sizeof(*new(T))))
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), n), nil
}

// within tells whether some of it lies in the range.
func (m *memory) within(from, to uintptr) bool {
	for _, c := range m.chunks {
		if at := uintptr(unsafe.Pointer(&c[0])); at < to && at+uintptr(len(c)) > from {
			return true
		}
	}
	return false
}

// release gives all back.
func (m *memory) release() {
	for _, c := range m.chunks {
		_ = unix.Munmap(c)
	}
	m.chunks, m.free = nil, nil
}

// heapArena is the part of the address space that holds the heap of a small Go program: the runtime takes it in pieces of this size and alignment.
const heapArena = 64 << 20

// withoutHeap calls fork while children get no copy of the part of the heap that p is in. It is about time alone: pages that a child shares are
// copied, or at least taken back, one by one when the parent writes to them. The caller holds syscall.ForkLock.
func withoutHeap(p *Program, fork func()) {
	from := uintptr(unsafe.Pointer(p)) &^ (heapArena - 1)
	if p.memory.within(from, from+heapArena) {
		fork()
		return
	}
	advise := func(advice uintptr) { _, _, _ = unix.RawSyscall(unix.SYS_MADVISE, from, heapArena, advice) }
	advise(unix.MADV_DONTFORK)
	defer advise(unix.MADV_DOFORK)
	fork()
}
