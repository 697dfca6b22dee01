package secret

import (
	"context"
	"errors"
	"io"
)

// Stream looks into the files of a tar that is written to it, such as a layer that is being made.
type Stream struct {
	in   *io.PipeWriter
	done chan struct{}
	sum  Summary
	err  error
}

// NewStream returns a Stream, which Finish or Close end.
func NewStream(ctx context.Context, scanner *Scanner) *Stream {
	out, in := io.Pipe()
	s := &Stream{in: in, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.sum, s.err = scanner.Tar(ctx, out)
		out.CloseWithError(errors.Join(s.err, io.ErrClosedPipe))
	}()
	return s
}

// Write takes in the next bytes of the tar. Its error is why the looking ended.
func (s *Stream) Write(p []byte) (int, error) { return s.in.Write(p) }

// Finish ends the tar and returns what was found in it.
func (s *Stream) Finish() (Summary, error) {
	s.in.Close()
	<-s.done
	return s.sum, s.err
}

// Close ends the Stream without a result. It may be called after Finish.
func (s *Stream) Close() error {
	s.in.CloseWithError(io.ErrUnexpectedEOF)
	<-s.done
	return nil
}
