package tarball

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/progress"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	defaultMaxEntries = 1 << 17
	defaultMaxBytes   = 256 << 30
	// maxDocument is how big index.json and manifest.json may be, in bytes.
	maxDocument = 8 << 20
	// small is how big an entry may be that is kept in memory until it is known
	// what it is, in bytes: configs, and documents that nothing needs.
	small = 64 << 10
	// maxKept bounds what is kept in memory for all entries together, in bytes.
	maxKept = 64 << 20
	// maxTrailer is how much is read after the end of the archive, in bytes, so that
	// whoever writes it into a pipe can end in peace.
	maxTrailer = 1 << 20
)

// Load reads an archive of any kind, compressed or not, from r to its end, stores
// the blobs and returns the images, in the archive's order. An archive that is malformed,
// truncated or has other bytes than its digests promise is ErrCorrupt, one beyond the
// limits ErrLimit, and one without images ErrInvalid; the text names the entry.
//
// Layers of a Docker archive are stored as they are, and so mostly uncompressed:
// compressing would take far longer than all the rest, and the digests would depend on the compressor.
// An index of an OCI archive whose images are only partly in the archive is replaced
// by one of those that are there, or by the only one.
func Load(ctx context.Context, r io.Reader, dst Destination, opts LoadOptions) ([]Loaded, error) {
	if opts.MaxEntries == 0 {
		opts.MaxEntries = defaultMaxEntries
	}
	if opts.MaxBytes == 0 {
		opts.MaxBytes = defaultMaxBytes
	}
	l := &loader{
		dst: dst, ing: noSync{dst, dst}, opts: opts, sink: progress.Or(opts.Progress),
		entries: map[string]entry{}, whole: map[digest.Digest]bool{},
	}
	if err := l.readAll(ctx, r); err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	loaded, err := l.images(ctx)
	if err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	if err := l.sync(ctx); err != nil {
		return nil, fmt.Errorf("store the archive's blobs: %w", err)
	}
	return loaded, nil
}

// decompress returns the tar. A plain file is read by itself, so that
// what need not be read can be skipped.
func decompress(ctx context.Context, r io.Reader, maxBytes int64) (io.ReadCloser, error) {
	if f, ok := r.(io.ReadSeeker); ok {
		if at, err := f.Seek(0, io.SeekCurrent); err == nil {
			head := make([]byte, compression.DetectLen)
			n, err := io.ReadFull(f, head)
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, err
			}
			if _, err := f.Seek(at, io.SeekStart); err != nil {
				return nil, err
			}
			if compression.Detect(head[:n]) == compression.None {
				return struct {
					io.ReadSeeker
					io.Closer
				}{f, io.NopCloser(nil)}, nil
			}
		}
	}
	// The tar's headers and padding come on top of the entries.
	return compression.NewReader(whileAlive(ctx, r), compression.Limits{MaxBytes: maxBytes + maxBytes/8})
}

// loader is one Load under way.
type loader struct {
	dst  Destination
	ing  content.Ingester
	opts LoadOptions
	sink progress.Sink

	settler *settler
	entries map[string]entry
	count   int
	kept    int64 // bytes in memory
	total   int64 // bytes of all entries
	whole   map[digest.Digest]bool
}

// readAll takes in the archive.
func (l *loader) readAll(ctx context.Context, r io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.settler = newSettler(ctx, l.dst)
	defer l.settler.close()
	stream, err := decompress(ctx, r, l.opts.MaxBytes)
	if err == nil {
		err = l.read(ctx, stream)
		if closeErr := stream.Close(); err == nil {
			err = closeErr
		}
	}
	if err != nil {
		cancel()
	}
	return err
}

// read takes in all entries.
func (l *loader) read(ctx context.Context, r io.Reader) error {
	tr := tar.NewReader(r)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return l.malformed(err)
		}
		if l.count++; l.count > l.opts.MaxEntries {
			return errdefs.Limit("more than %d entries", l.opts.MaxEntries)
		}
		if err := l.entry(ctx, h, tr); err != nil {
			return fmt.Errorf("entry %.300q: %w", h.Name, err)
		}
	}
	if _, err := io.CopyN(io.Discard, r, maxTrailer); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// malformed gives errors of the tar reader their class.
func (l *loader) malformed(err error) error {
	switch {
	case errors.Is(err, tar.ErrHeader) && l.count == 0:
		return errdefs.Invalid("it is no tar: %w", err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errdefs.Corrupt("it is truncated after %d entries: %w", l.count, err)
	case errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong), errors.Is(err, tar.ErrInsecurePath):
		return errdefs.Corrupt("after %d entries: %w", l.count, err)
	}
	return err
}

// entry takes in one entry.
func (l *loader) entry(ctx context.Context, h *tar.Header, r io.Reader) error {
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return nil
	case tar.TypeSymlink, tar.TypeLink:
		target, err := linkTarget(name, h)
		if err != nil {
			return err
		}
		return l.put(name, entry{link: target})
	case tar.TypeReg:
	default:
		return errdefs.Corrupt("type %q is neither a file nor a directory nor a link", h.Typeflag)
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return errdefs.Unsupported("it is a sparse file; write the archive without sparse files")
		}
	}
	if h.Size > l.opts.MaxBytes-l.total {
		return errdefs.Limit("with it the archive has more than %d bytes", l.opts.MaxBytes)
	}
	l.total += h.Size
	return l.file(ctx, name, h.Size, whileAlive(ctx, r))
}

// file takes in a regular file.
func (l *loader) file(ctx context.Context, name string, size int64, r io.Reader) error {
	if d, ok := blobDigest(name); ok {
		return l.blob(ctx, name, d, size, r)
	}
	if isDocument(name) && size > maxDocument {
		return errdefs.Limit("%d bytes, more than the limit of %d", size, maxDocument)
	}
	if isDocument(name) || size <= small && l.kept+size <= maxKept/2 {
		data := make([]byte, size)
		if _, err := io.ReadFull(r, data); err != nil {
			return truncated(err)
		}
		return l.put(name, entry{data: data})
	}
	// It is a layer, most likely. What it should be is checked when it is known.
	desc, err := l.store(ctx, name, ocispec.Descriptor{Size: size}, r)
	if err != nil {
		return err
	}
	return l.put(name, entry{desc: desc})
}

// blob takes in a blob of a layout, whose name says what it must be.
func (l *loader) blob(ctx context.Context, name string, d digest.Digest, size int64, r io.Reader) error {
	desc := ocispec.Descriptor{Digest: d, Size: size}
	if old, ok := l.entries[name]; ok && old.desc.Digest == d {
		return errdefs.Corrupt("it is there twice")
	}
	info, err := l.dst.Stat(ctx, d)
	switch {
	case err == nil && info.Size == size:
		l.sink.Emit(progress.Event{ID: d.String(), Name: "load " + d.Encoded()[:12], State: progress.Cached, Current: size, Total: size})
		return l.put(name, entry{desc: desc})
	case err == nil:
		return errdefs.Corrupt("%d bytes; the blob of this digest has %d", size, info.Size)
	case !errdefs.IsNotFound(err):
		return err
	}
	if _, err := l.store(ctx, name, desc, r); err != nil {
		return err
	}
	return l.put(name, entry{desc: desc})
}

// store writes a blob.
func (l *loader) store(ctx context.Context, name string, want ocispec.Descriptor, r io.Reader) (ocispec.Descriptor, error) {
	e := progress.Event{ID: name, Name: "load " + name, Total: want.Size}
	if want.Digest != "" {
		e.ID, e.Name = want.Digest.String(), "load "+want.Digest.Encoded()[:12]
	}
	l.sink.Emit(e)
	desc, err := content.WriteReader(ctx, l.ing, l.counted(e, r), want)
	if err == nil {
		l.settler.add(desc.Digest, desc.Size)
	}
	e.State, e.Current = progress.Done, want.Size
	if err != nil {
		err = truncated(err)
		e.State, e.Current, e.Err = progress.Failed, 0, err
	}
	l.sink.Emit(e)
	return desc, err
}

// counted reports how far the reading of r is.
func (l *loader) counted(e progress.Event, r io.Reader) io.Reader {
	const step = 8 << 20
	var told int64
	return readerFunc(func(p []byte) (int, error) {
		n, err := r.Read(p)
		if e.Current += int64(n); e.Current-told >= step {
			told = e.Current
			l.sink.Emit(e)
		}
		return n, err
	})
}

func truncated(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errdefs.Corrupt("the archive is truncated: %w", err)
	}
	return err
}

// sync makes the blobs of the images durable.
func (l *loader) sync(ctx context.Context) error {
	s, ok := l.dst.(content.Syncer)
	if !ok {
		return nil
	}
	all := make([]digest.Digest, 0, len(l.whole))
	for d := range l.whole {
		all = append(all, d)
	}
	return s.Sync(ctx, all...)
}

// noSync writes blobs that are synced later, when the destination can do so.
type noSync struct {
	content.Ingester
	dst any
}

func (n noSync) Writer(ctx context.Context, opts content.WriterOptions) (content.Writer, error) {
	_, opts.NoSync = n.dst.(content.Syncer)
	return n.Ingester.Writer(ctx, opts)
}
