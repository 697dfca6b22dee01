package local

import (
	"bytes"
	"context"
	"encoding"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/local/kv"
	"github.com/opencontainers/go-digest"
)

// uploads are the uploads that are open.
type uploads struct {
	mu   sync.Mutex
	open map[string]*upload
}

// take notes an upload as open; false when it is already.
func (u *uploads) take(id string, up *upload) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open[id] != nil {
		return false
	}
	u.open[id] = up
	return true
}

func (u *uploads) release(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.open, id)
}

// upload is an upload under way.
type upload struct {
	store      *Store
	id         string
	repository string
	in         *incoming
	done       bool
}

// uploadEntry is the value of a kindUpload key.
type uploadEntry struct {
	repository string
	alg        digest.Algorithm
	begun      time.Time
}

func (u uploadEntry) encode() []byte {
	return fields(nil).text(u.repository).text(u.alg.String()).time(u.begun)
}

func decodeUpload(b []byte) (uploadEntry, error) {
	s := scanner{rest: b}
	u := uploadEntry{repository: s.text(), alg: digest.Algorithm(s.text()), begun: s.time()}
	if u.alg != digest.SHA256 && u.alg != digest.SHA512 {
		s.bad = true
	}
	return u, s.err("the entry of an upload")
}

func (s *Store) uploadPath(id string) string { return filepath.Join(s.root, "uploads", id) }

// NewUpload begins an upload.
func (s *Store) NewUpload(ctx context.Context, repository string, alg digest.Algorithm) (registry.Upload, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if alg != digest.SHA256 && alg != digest.SHA512 {
		return nil, errdefs.Unsupported("begin an upload: algorithm %q is neither sha256 nor sha512", alg)
	}
	id := registry.NewUploadID()
	u := &upload{store: s, id: id, repository: repository, in: s.newIncoming(s.uploadPath(id), alg)}
	s.uploads.take(id, u)
	var b kv.Batch
	b.Put(uploadKey(id), uploadEntry{repository, alg, s.now()}.encode())
	// Nothing is lost when a power cut takes an upload without bytes.
	if _, err := s.db.Write(&b); err != nil {
		s.uploads.release(id)
		return nil, err
	}
	return u, nil
}

// OpenUpload goes on with an upload.
func (s *Store) OpenUpload(ctx context.Context, repository, id string) (registry.Upload, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	gone := errdefs.NotFound("upload %.64q is not in repository %s (any more)", id, repository)
	if id == "" || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return nil, gone
	}
	u := &upload{store: s, id: id, repository: repository}
	if !s.uploads.take(id, u) {
		return nil, errdefs.Unavailable("upload %s is in use by another request", id)
	}
	e, ok, err := s.db.Get(uploadKey(id))
	if err == nil && !ok {
		err = gone
	}
	var entry uploadEntry
	if err == nil {
		entry, err = decodeUpload(e.Head)
	}
	if err == nil && entry.repository != repository {
		err = gone
	}
	if err == nil {
		u.in = s.newIncoming(s.uploadPath(id), entry.alg)
		err = u.in.resume(ctx)
	}
	if err != nil {
		s.uploads.release(id)
		return nil, err
	}
	return u, nil
}

func (u *upload) ID() string  { return u.id }
func (u *upload) Size() int64 { return u.in.size }

func (u *upload) Append(ctx context.Context, r io.Reader) (int64, error) {
	if u.done {
		return 0, errdefs.Conflict("upload %s is closed", u.id)
	}
	n, err := u.in.append(&contextReader{ctx: ctx, r: r})
	if err != nil {
		return n, fmt.Errorf("upload %s: %w", u.id, err)
	}
	return n, nil
}

func (u *upload) Commit(ctx context.Context, d digest.Digest) (content.Info, error) {
	if u.done {
		return content.Info{}, errdefs.Conflict("upload %s is closed", u.id)
	}
	if err := content.CheckDigest(d); err != nil {
		return content.Info{}, err
	}
	if err := ctx.Err(); err != nil {
		return content.Info{}, err
	}
	if err := u.in.verify(d); err != nil {
		if errdefs.IsCorrupt(err) {
			err = errors.Join(fmt.Errorf("upload %s: %w", u.id, err), u.Cancel(ctx))
		}
		return content.Info{}, err
	}
	var b kv.Batch
	b.Delete(uploadKey(u.id))
	info, err := u.store.publish(ctx, u.repository, d, u.in, &b)
	if err != nil {
		return content.Info{}, err // it can be tried again
	}
	u.end(u.in.named)
	return info, nil
}

// Cancel throws the upload away.
func (u *upload) Cancel(context.Context) error {
	if u.done {
		return nil
	}
	var b kv.Batch
	b.Delete(uploadKey(u.id))
	_, err := u.store.db.Write(&b)
	u.end(false)
	return err
}

// end lets go of an upload of which nothing is kept.
func (u *upload) end(published bool) {
	u.done = true
	os.Remove(u.store.uploadPath(u.id) + stateSuffix)
	u.in.drop(published)
	u.store.uploads.release(u.id)
}

// Close keeps the bytes for later.
func (u *upload) Close() error {
	if u.done {
		return nil
	}
	u.done = true
	defer u.store.uploads.release(u.id)
	if u.in.size == 0 && u.in.file == nil {
		return nil
	}
	if u.in.file == nil {
		if err := u.in.spill(); err != nil {
			return err
		}
	}
	err := u.in.saveState()
	u.in.file.Close()
	return err
}

const stateSuffix = ".state"

// resume brings the hash to the end of the bytes that are there.
func (in *incoming) resume(ctx context.Context) error {
	f, err := os.OpenFile(in.path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return class("go on with an upload", err)
	}
	fi, err := f.Stat()
	if err == nil {
		in.size = in.loadState(fi.Size())
		_, err = io.Copy(in.hash, &contextReader{ctx, io.NewSectionReader(f, in.size, fi.Size()-in.size)})
		in.size = fi.Size()
	}
	if err != nil {
		f.Close()
		return class("go on with an upload", err)
	}
	in.file = f
	return nil
}

// saveState notes the state of the hash, so that the bytes need not be read again. It counts as long as the machine runs on.
func (in *incoming) saveState() error {
	m, ok := in.hash.(encoding.BinaryMarshaler)
	if !ok {
		return nil
	}
	state, err := m.MarshalBinary()
	if err != nil {
		return err
	}
	b := fields(nil).text(bootID()).text(in.alg.String()).number(in.size).text(string(state))
	path := in.path + stateSuffix
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return class("note the state of an upload", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return class("note the state of an upload", err)
	}
	return nil
}

// loadState sets the hash to what was noted and returns the number of bytes that it stands for; 0 when nothing can be trusted.
func (in *incoming) loadState(size int64) int64 {
	b, err := os.ReadFile(in.path + stateSuffix)
	if err != nil {
		return 0
	}
	s := scanner{rest: b}
	boot, alg, at, state := s.text(), s.text(), s.number(), s.text()
	if s.bad || boot == "" || boot != bootID() || alg != in.alg.String() || at < 0 || at > size {
		return 0
	}
	u, ok := in.hash.(encoding.BinaryUnmarshaler)
	if !ok || u.UnmarshalBinary([]byte(state)) != nil {
		in.hash = in.alg.Hash()
		return 0
	}
	return at
}

func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(b))
}

// dropStrayUploads removes files that no upload has: nobody else has the directory open.
func (s *Store) dropStrayUploads() error {
	list, err := os.ReadDir(filepath.Join(s.root, "uploads"))
	if err != nil {
		return class("list uploads", err)
	}
	for _, e := range list {
		id, suffix, _ := strings.Cut(e.Name(), ".")
		ok, err := s.has(uploadKey(id))
		if err != nil {
			return err
		}
		if !ok || suffix != "" && "."+suffix != stateSuffix {
			os.Remove(filepath.Join(s.root, "uploads", e.Name()))
		}
	}
	return nil
}
