package tarball

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// copyChunk is how much the kernel copies between two looks at the context, in bytes.
const copyChunk = 32 << 20

// kernelCopy lets the kernel copy up to size bytes from the start of r to dst
// and returns how many it copied; r is not moved. Less than size and no
// error means that the kernel cannot do (the rest of) it.
func kernelCopy(ctx context.Context, dst *os.File, r io.Reader, size int64) (int64, error) {
	// Only what can be read at the rest afterwards is fit for a half-done copy.
	src, ok := r.(interface {
		syscall.Conn
		io.Seeker
	})
	if !ok || dst == nil {
		return 0, nil
	}
	in, err := src.SyscallConn()
	if err != nil {
		return 0, nil //nolint:nilerr // the plain way is left
	}
	out, err := dst.SyscallConn()
	if err != nil {
		return 0, nil //nolint:nilerr // the plain way is left
	}
	var done int64
	for _, way := range []func(out, in int, offset *int64, n int) (int, error){copyFileRange, unix.Sendfile} {
		for done < size {
			if err := ctx.Err(); err != nil {
				return done, err
			}
			offset := done
			n, err := onBoth(out, in, func(outfd, infd int) (int, error) {
				return way(outfd, infd, &offset, int(min(size-done, copyChunk)))
			})
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil && isFinal(err) {
				return done, err
			}
			if err != nil || n <= 0 {
				break
			}
			done += int64(n)
		}
	}
	return done, nil
}

// isFinal reports whether the plain way would meet the same error.
func isFinal(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) || errors.Is(err, unix.EIO) || errors.Is(err, unix.EPIPE)
}

func copyFileRange(out, in int, offset *int64, n int) (int, error) {
	return unix.CopyFileRange(in, offset, out, nil, n, 0)
}

// onBoth calls fn while both descriptors are held open.
func onBoth(out, in syscall.RawConn, fn func(out, in int) (int, error)) (int, error) {
	var n int
	var fnErr, outErr error
	inErr := in.Control(func(infd uintptr) {
		outErr = out.Control(func(outfd uintptr) {
			n, fnErr = fn(int(outfd), int(infd))
		})
	})
	return n, errors.Join(inErr, outErr, fnErr)
}
