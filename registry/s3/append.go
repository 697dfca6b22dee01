package s3

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/s3/internal/object"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxPart bounds parts: they are held in memory.
	maxPart = 128 << 20
	// taste is how many bytes of an upload are held without asking for room.
	taste = 64 << 10
	// ahead is how many parts of one upload are on their way at once.
	ahead = 3
	// turn is how long an upload may hold room while others wait for some.
	turn = 10 * time.Second
)

// partSize is how large the next part is. They grow, as there may be 10,000 only: 8 MiB for the first 16 GiB, up to 128 MiB for what comes after 384 GiB.
func partSize(parts int) int {
	return min(8<<20<<(parts/2000), maxPart)
}

// sending is a part on its way, and the state of the upload when it has arrived.
type sending struct {
	data []byte
	room int64
	size int64
	hash []byte
	done chan struct{}
	// part and err are there when done is closed.
	part object.Part
	err  error
}

// arrived reports whether the part is on its way no more.
func (p *sending) arrived() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Append stores what r has: while parts are on their way, the next one is read. What makes no part is an object of its own until more comes.
func (u *upload) Append(ctx context.Context, r io.Reader) (int64, error) {
	if u.over || u.state.Committing {
		return 0, errdefs.Conflict("upload %s takes no more bytes", u.id)
	}
	if err := u.loadTail(ctx); err != nil {
		return 0, err
	}
	before := u.state.Size
	err := u.fill(ctx, r)
	return u.state.Size - before, err
}

// fill reads and stores. The caller may be gone when r fails: what came is stored all the same.
func (u *upload) fill(ctx context.Context, r io.Reader) error {
	for {
		fresh := len(u.tail)
		buf, end, err := u.read(ctx, r)
		u.hash.Write(buf[fresh:])
		if !end {
			u.tail = nil
			if serr := u.launch(ctx, buf); serr != nil {
				return u.failed(serr)
			}
			continue
		}
		sctx, cancel := ctx, context.CancelFunc(func() {})
		if err != nil {
			sctx, cancel = detached(ctx)
		}
		serr := u.settle(sctx, 0)
		if serr == nil {
			serr = u.store(sctx, buf, fresh)
		}
		cancel()
		if serr != nil {
			return u.failed(serr)
		}
		if !errors.Is(err, errTurn) {
			return err
		}
		u.leave() // somebody else's turn
		if err := u.loadTail(ctx); err != nil {
			return err
		}
	}
}

// loadTail reads the bytes that make no part yet, when there is room for them.
func (u *upload) loadTail(ctx context.Context) error {
	if u.tail != nil || u.state.Tail == "" {
		return nil
	}
	if u.state.TailSize > taste && u.held == 0 {
		if err := u.enter(ctx, int64(partSize(len(u.state.Parts)))); err != nil {
			return fmt.Errorf("go on with upload %s: %w", u.id, err)
		}
	}
	data, _, err := u.s.o.ReadAll(ctx, u.state.Tail, "", maxPart)
	if err != nil {
		return fmt.Errorf("go on with upload %s: %w", u.id, err)
	}
	if int64(len(data)) != u.state.TailSize {
		return errdefs.Corrupt("upload %s: its last %d bytes are %d", u.id, u.state.TailSize, len(data))
	}
	u.tail = slices.Clip(data)
	return nil
}

// errTurn ends a read in favour of others.
var errTurn = errors.New("others wait")

// read reads what makes the next part, after the tail. end says that r has no more, or fails with err, or that it is others' turn.
func (u *upload) read(ctx context.Context, r io.Reader) (buf []byte, end bool, err error) {
	size := partSize(len(u.state.Parts) + len(u.sending))
	buf, err = readFull(r, u.tail, min(taste, size), nil)
	if err == nil && u.held == 0 {
		err = u.enter(ctx, int64(size))
	}
	if err == nil {
		since := time.Now()
		buf, err = readFull(r, buf, size, func() bool { return time.Since(since) > turn && u.s.room.crowded() })
	}
	if err == nil {
		return buf, false, nil
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return buf, true, err
}

// enter takes room for a part. Who has parts on their way already does not wait for more room than that: when there is none, he waits for them.
func (u *upload) enter(ctx context.Context, n int64) error {
	for len(u.sending) > 0 {
		if len(u.sending) < ahead && u.s.room.try(n) {
			u.held = n
			return nil
		}
		if err := u.settle(ctx, len(u.sending)-1); err != nil {
			return err
		}
	}
	if err := u.s.room.take(ctx, n); err != nil {
		return err
	}
	u.held = n
	return nil
}

// leave gives back the room of what was read.
func (u *upload) leave() {
	if u.held > 0 {
		u.s.room.give(u.held)
		u.held = 0
	}
	u.tail = nil
}

// readFull fills buf up to size bytes, and lets it grow no further than what comes. It stops with errTurn when stop says so.
func readFull(r io.Reader, buf []byte, size int, stop func() bool) ([]byte, error) {
	for len(buf) < size {
		if stop != nil && stop() {
			return buf, errTurn
		}
		if len(buf) == cap(buf) {
			more := make([]byte, len(buf), min(max(4*cap(buf), taste), size))
			copy(more, buf)
			buf = more
		}
		n, err := r.Read(buf[len(buf):min(cap(buf), size)])
		buf = buf[:len(buf)+n]
		if err != nil {
			return buf, err
		}
	}
	return buf, nil
}

// launch sends a part on its way, with its room. What has arrived meanwhile is noted.
func (u *upload) launch(ctx context.Context, data []byte) error {
	key := u.s.bytesKey(u.id)
	if u.used >= object.MaxParts-1 {
		return errdefs.Limit("upload %s has too many parts", u.id)
	}
	if u.state.Multipart == "" {
		id, err := u.s.o.CreateMultipart(ctx, key)
		if err != nil {
			return err
		}
		u.state.Multipart = id
	}
	hash, err := hashState(u.hash)
	if err != nil {
		return err
	}
	size := u.state.Size - u.state.TailSize
	if n := len(u.sending); n > 0 {
		size = u.sending[n-1].size
	}
	u.used++
	p := &sending{data: data, room: u.held, size: size + int64(len(data)), hash: hash, done: make(chan struct{})}
	u.held = 0
	u.sending = append(u.sending, p)
	number, upload := u.used, u.state.Multipart
	go func() {
		defer close(p.done)
		p.part, p.err = u.s.o.UploadPart(ctx, key, upload, number, p.data)
		p.data = nil
		u.s.room.give(p.room)
	}()
	return u.settle(ctx, ahead-1)
}

// settle waits until at most n parts are on their way, and notes those that have arrived, in their order.
func (u *upload) settle(ctx context.Context, n int) error {
	came := 0
	for len(u.sending) > 0 {
		p := u.sending[0]
		if len(u.sending) <= n && !p.arrived() {
			break
		}
		<-p.done
		if p.err != nil {
			return errors.Join(p.err, u.note(ctx, came))
		}
		u.sending = u.sending[1:]
		u.state.Parts = append(u.state.Parts, p.part)
		u.state.Size, u.state.Hash, u.state.Next = p.size, p.hash, u.used
		came++
	}
	return u.note(ctx, came)
}

// note saves the state when parts came, without the tail that the first of them had in it.
func (u *upload) note(ctx context.Context, came int) error {
	if came == 0 {
		return nil
	}
	old := u.state.Tail
	u.state.Tail, u.state.TailSize = "", 0
	if err := u.save(ctx); err != nil {
		return err
	}
	if old != "" {
		_ = u.s.o.Delete(ctx, old) // it goes with the upload otherwise
	}
	return nil
}

// store stores the last bytes, of which those from fresh on are new: as a part when they are enough, otherwise as the tail.
func (u *upload) store(ctx context.Context, buf []byte, fresh int) error {
	if len(buf) >= object.MinPart {
		u.tail = nil
		if err := u.launch(ctx, buf); err != nil {
			return err
		}
		return u.settle(ctx, 0)
	}
	u.tail = buf
	if fresh == len(buf) {
		return nil
	}
	hash, err := hashState(u.hash)
	if err != nil {
		return err
	}
	old, key := u.state.Tail, u.s.tailsKey(u.id)+newID()[:16]
	if _, err := u.s.o.Put(ctx, key, buf, object.Always()); err != nil {
		return err
	}
	u.state.Size += int64(len(buf) - fresh)
	u.state.Tail, u.state.TailSize, u.state.Hash = key, int64(len(buf)), hash
	if err := u.save(ctx); err != nil {
		return err
	}
	if old != "" {
		_ = u.s.o.Delete(ctx, old) // it goes with the upload otherwise
	}
	return nil
}

// failed goes back to what is stored, after err. Parts that were on their way may still arrive: their numbers are not used again.
func (u *upload) failed(err error) error {
	for _, p := range u.sending {
		<-p.done
	}
	u.sending = nil
	u.leave()
	used := u.used
	if e := u.load(u.cell); e != nil || errdefs.IsConflict(err) {
		u.over = true
	}
	u.used = max(u.state.Next, used)
	u.state.Next = u.used
	return fmt.Errorf("store upload %s: %w", u.id, lost(err))
}

// hashState is the state of a hash, as another process can go on from it.
func hashState(h any) ([]byte, error) {
	b, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("the state of a hash: %w", err)
	}
	return b, nil
}

// verify reads all bytes and compares them with a digest.
func verify(r io.Reader, d digest.Digest, size int64) error {
	v, err := content.NewVerifyReader(r, ocispec.Descriptor{Digest: d, Size: size})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, v)
	return err
}
