package http

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/fetch"
	"github.com/camada/camada/internal/flock"
	"github.com/opencontainers/go-digest"
)

// The cache: <Dir>/<SHA-256 of the URL>/ with
//
//	lock   locked by who works on the URL
//	body   the file, with its time
//	about  what is known of it, JSON; it is of no use when it does not fit the body
//
// A kill leaves at most body.new, which the next one replaces, or a body without its about.
const (
	lockName  = "lock"
	bodyName  = "body"
	aboutName = "about"
	newSuffix = ".new"
	maxAbout  = 64 << 10
)

// about is what is known of a body.
type about struct {
	validators
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	Inode  uint64 `json:"inode"`
	Mtime  int64  `json:"mtime"` // seconds since 1970
}

// Get brings the file at u to dest, which must not be there, and whose directory is. It is a link to the cache's copy where that
// is possible. A file that is not what u.Checksum says is ErrCorrupt; other errors are ErrNotFound,
// ErrPermission, ErrLimit, ErrInvalid or ErrUnavailable.
func (c *Client) Get(ctx context.Context, u fetch.URL, dest string, progress fetch.Progress) (fetch.File, error) {
	if u.Checksum != "" {
		if err := u.Checksum.Validate(); err != nil {
			return fetch.File{}, errdefs.Invalid("checksum %q: %w", u.Checksum, err)
		}
	}
	sum := sha256.Sum256([]byte(u.URL))
	dir := filepath.Join(c.opts.Dir, hex.EncodeToString(sum[:]))
	lock, err := flock.Directory(ctx, dir, lockName)
	if err != nil {
		return fetch.File{}, fmt.Errorf("get %s: %w", fetch.Redact(u.URL), err)
	}
	defer lock.Close()
	e := &entry{dir: dir, client: c}
	e.load()
	f, err := e.get(ctx, u, progress)
	if err != nil {
		return fetch.File{}, err
	}
	now := time.Now()
	_ = os.Chtimes(filepath.Join(dir, lockName), now, now) // when it was last used
	f.Path = dest
	if err := e.deliver(dest); err != nil {
		return fetch.File{}, fmt.Errorf("get %s: %w", fetch.Redact(u.URL), err)
	}
	return f, nil
}

// entry is the directory of one URL, locked.
type entry struct {
	dir    string
	client *Client
	about  *about // nil when there is no body
}

// load reads what is there; anything odd is the same as nothing.
func (e *entry) load() {
	f, err := os.Open(filepath.Join(e.dir, aboutName))
	if err != nil {
		return
	}
	defer f.Close()
	var a about
	data, err := io.ReadAll(io.LimitReader(f, maxAbout))
	if err != nil || json.Unmarshal(data, &a) != nil {
		return
	}
	info, err := os.Lstat(filepath.Join(e.dir, bodyName))
	if err != nil || !info.Mode().IsRegular() || info.Size() != a.Size || inode(info) != a.Inode || info.ModTime().Unix() != a.Mtime {
		return
	}
	if len(a.SHA256) == 2*sha256.Size {
		e.about = &a
	}
}

// get makes sure that the body is what u wants.
func (e *entry) get(ctx context.Context, u fetch.URL, progress fetch.Progress) (fetch.File, error) {
	if u.Checksum != "" && e.about != nil {
		if got, err := e.hash(u.Checksum.Algorithm()); err == nil && got == u.Checksum {
			return e.file(u.Checksum), nil
		}
	}
	var have validators
	if e.about != nil && u.Checksum == "" {
		have = e.about.validators
	}
	var fresh *about
	var got digest.Digest
	a, err := e.client.do(ctx, u.URL, have, func(a answer, r io.Reader) (err error) {
		fresh, got, err = e.save(a, r, u.Checksum, progress)
		return err
	})
	if err != nil {
		return fetch.File{}, err
	}
	if a.notModified {
		return e.file(digest.NewDigestFromEncoded(digest.SHA256, e.about.SHA256)), nil
	}
	if err := e.publish(fresh); err != nil {
		return fetch.File{}, fmt.Errorf("keep %s: %w", fetch.Redact(u.URL), err)
	}
	return e.file(got), nil
}

// hash is the digest of the body in an algorithm. The body is read: it is this that the checksum is for.
func (e *entry) hash(alg digest.Algorithm) (digest.Digest, error) {
	f, err := os.Open(filepath.Join(e.dir, bodyName))
	if err != nil {
		return "", err
	}
	defer f.Close()
	return alg.FromReader(f)
}

// save writes a body beside the old one. A short one is an error of r.
func (e *entry) save(a answer, r io.Reader, want digest.Digest, progress fetch.Progress) (*about, digest.Digest, error) {
	f, err := os.OpenFile(filepath.Join(e.dir, bodyName+newSuffix), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	sum := sha256.New()
	out := []io.Writer{f, sum, &counter{total: max(a.size, 0), tell: progress}}
	alg := digest.SHA256
	if want != "" {
		alg = want.Algorithm()
	}
	other := alg.Digester()
	if alg != digest.SHA256 {
		out = append(out, other.Hash())
	}
	limit := e.client.opts.MaxBytes
	n, err := io.Copy(io.MultiWriter(out...), io.LimitReader(r, limit+1))
	if err != nil {
		return nil, "", err
	}
	if n > limit {
		return nil, "", errdefs.Limit("the file has more than %d bytes", limit)
	}
	got := digest.NewDigest(digest.SHA256, sum)
	fresh := &about{validators: a.validators, SHA256: got.Encoded(), Size: n, Mtime: a.modTime.Unix()}
	if alg != digest.SHA256 {
		got = other.Digest()
	}
	if want != "" && got != want {
		return nil, "", errdefs.Corrupt("the content is %s, not %s", got, want)
	}
	if err := f.Sync(); err != nil { // about will vouch for it
		return nil, "", err
	}
	if err := os.Chtimes(f.Name(), a.modTime, a.modTime); err != nil {
		return nil, "", err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, "", err
	}
	fresh.Inode = inode(info)
	return fresh, got, nil
}

// publish makes what save wrote the body.
func (e *entry) publish(fresh *about) error {
	data, err := json.Marshal(fresh)
	if err != nil {
		return err
	}
	body, text := filepath.Join(e.dir, bodyName), filepath.Join(e.dir, aboutName)
	if err := os.Rename(body+newSuffix, body); err != nil {
		return err
	}
	if err := os.WriteFile(text+newSuffix, data, 0o600); err != nil {
		return err
	}
	e.about = fresh
	return os.Rename(text+newSuffix, text)
}

func (e *entry) file(d digest.Digest) fetch.File {
	return fetch.File{Digest: d, Size: e.about.Size, ModTime: time.Unix(e.about.Mtime, 0)}
}

// deliver links, or copies, the body to dest.
func (e *entry) deliver(dest string) error {
	body := filepath.Join(e.dir, bodyName)
	if err := os.Link(body, dest); err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	in, err := os.Open(body)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dest, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	t := time.Unix(e.about.Mtime, 0)
	return os.Chtimes(dest, t, t)
}

// counter tells how many bytes came.
type counter struct {
	n, total int64
	tell     fetch.Progress
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	if c.tell != nil {
		c.tell(c.n, max(c.total, 0))
	}
	return len(p), nil
}
