package s3

import (
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/s3/internal/object"
	"github.com/opencontainers/go-digest"
)

// uploadState is the body of an upload's cell: all that another replica needs to go on.
type uploadState struct {
	Repository string           `json:"repository"`
	Algorithm  digest.Algorithm `json:"algorithm"`
	// Size is how many bytes are in the parts and the tail, and Hash the state of the hash after them.
	Size int64  `json:"size"`
	Hash []byte `json:"hash"`
	// Multipart is the store's name for the parts; "" before the first one.
	Multipart string        `json:"multipart,omitempty"`
	Parts     []object.Part `json:"parts,omitempty"`
	// Next is how many numbers of parts were used.
	Next int `json:"next,omitempty"`
	// Tail is the key of the bytes that make no part yet; "" when there are none.
	Tail     string `json:"tail,omitempty"`
	TailSize int64  `json:"tailSize,omitempty"`
	// Holder has the upload open until Until, by the store's clock.
	Holder string    `json:"holder,omitempty"`
	Until  time.Time `json:"until,omitzero"`
	// Committing is set before the bytes become an object: then none may follow.
	Committing bool `json:"committing,omitempty"`
}

// upload is a registry.Upload.
type upload struct {
	s      *Store
	repo   repo
	id     string
	holder string
	cell   *cell
	state  uploadState
	hash   hash.Hash
	// tail are the bytes of state.Tail, when they were read; nil otherwise. held is the room that they or a part that is being read have.
	tail []byte
	held int64
	// sending are the parts on their way, in their order, and used is how many numbers were given to parts.
	sending []*sending
	used    int
	over    bool
}

func (s *Store) uploadKey(id string) string { return s.prefix + "u/" + id }
func (s *Store) tailsKey(id string) string  { return s.prefix + "w/" + id + "/" }

// NewUpload begins an upload: one request.
func (s *Store) NewUpload(ctx context.Context, repository string, alg digest.Algorithm) (registry.Upload, error) {
	r, err := s.repo(repository)
	if err != nil {
		return nil, err
	}
	if alg != digest.SHA256 && alg != digest.SHA512 {
		return nil, errdefs.Unsupported("digests of the algorithm %.40q", alg)
	}
	u := &upload{s: s, repo: r, id: registry.NewUploadID(), holder: newID(), hash: alg.Hash(), state: uploadState{Repository: repository, Algorithm: alg}}
	u.state.Holder = u.holder
	if u.state.Hash, err = hashState(u.hash); err != nil {
		return nil, err
	}
	if err := u.save(ctx); err != nil {
		return nil, fmt.Errorf("begin an upload: %w", err)
	}
	return u, nil
}

// OpenUpload goes on with an upload.
func (s *Store) OpenUpload(ctx context.Context, repository, id string) (registry.Upload, error) {
	r, err := s.repo(repository)
	if err != nil {
		return nil, err
	}
	if !isID(id) {
		return nil, errdefs.NotFound("there is no upload %.80q", id)
	}
	u := &upload{s: s, repo: r, id: id, holder: newID()}
	err = again(ctx, func() error {
		c, err := s.find(ctx, s.uploadKey(id))
		if err != nil {
			return err
		}
		if c == nil || c.State != live {
			return errdefs.NotFound("there is no upload %s", id)
		}
		if err := u.load(c); err != nil {
			return err
		}
		if u.state.Repository != repository {
			return errdefs.NotFound("there is no upload %s in the repository %s", id, repository)
		}
		if u.state.Holder != "" && s.o.Now().Before(u.state.Until) {
			return errdefs.Unavailable("upload %s is open elsewhere", id)
		}
		if u.state.Holder != "" {
			u.state.Next += ahead // whoever had it may still be sending parts
		}
		u.used = u.state.Next
		u.state.Holder = u.holder
		return u.save(ctx)
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// isID tells whether something can be the name of an upload.
func isID(id string) bool {
	return len(id) == 36 && strings.Trim(id, "0123456789abcdef-") == ""
}

// load takes the state of a cell.
func (u *upload) load(c *cell) error {
	u.cell, u.state = c, uploadState{}
	if err := json.Unmarshal(c.body, &u.state); err != nil {
		return errdefs.Corrupt("upload %s: %w", u.id, err)
	}
	if !u.state.Algorithm.Available() || u.state.Size < 0 {
		return errdefs.Corrupt("upload %s is not as it was written", u.id)
	}
	u.hash, u.used = u.state.Algorithm.Hash(), u.state.Next
	if err := u.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(u.state.Hash); err != nil {
		return errdefs.Corrupt("upload %s: the state of its hash: %w", u.id, err)
	}
	return nil
}

// save writes the state: ErrConflict when somebody else did.
func (u *upload) save(ctx context.Context) error {
	u.state.Until = u.s.o.Now().Add(u.s.lease).UTC()
	body, err := json.Marshal(u.state)
	if err != nil {
		return fmt.Errorf("upload %s: %w", u.id, err)
	}
	c, err := u.s.write(ctx, u.s.uploadKey(u.id), u.cell, head{State: live}, body)
	if err != nil {
		return err
	}
	u.cell = c
	return nil
}

// lost is what somebody is told whose upload was taken over.
func lost(err error) error {
	if errdefs.IsConflict(err) {
		return errdefs.Unavailable("somebody else went on with the upload: %v", err)
	}
	return err
}

// ID names the upload.
func (u *upload) ID() string { return u.id }

// Size is how many bytes are stored.
func (u *upload) Size() int64 { return u.state.Size }

// Close lets go of the upload.
func (u *upload) Close() error {
	u.leave()
	if u.over {
		return nil
	}
	u.over = true
	u.state.Holder = ""
	ctx, cancel := detached(context.Background())
	defer cancel()
	if err := u.save(ctx); err != nil && !errdefs.IsConflict(err) && !errdefs.IsNotFound(err) {
		return fmt.Errorf("let go of upload %s: %w", u.id, err)
	}
	return nil
}

// Cancel throws the upload away.
func (u *upload) Cancel(ctx context.Context) error {
	defer u.leave()
	if u.over {
		return nil
	}
	u.over = true
	if err := u.s.endUpload(ctx, u.cell, u.state); err != nil {
		return fmt.Errorf("cancel upload %s: %w", u.id, lost(err))
	}
	return nil
}

// endUpload removes all of an upload but the bytes that were committed: first its parts, then itself, so that a sweep finds what is left.
func (s *Store) endUpload(ctx context.Context, c *cell, st uploadState) error {
	c, err := s.write(ctx, c.key, c, head{State: dead}, c.body)
	if err != nil {
		return err
	}
	return s.clearUpload(ctx, c, st)
}

// clearUpload removes what a dead upload has left. Its name is never used again, so nothing can go wrong with the removal.
func (s *Store) clearUpload(ctx context.Context, c *cell, st uploadState) error {
	id := base(c.key)
	var errs []error
	if st.Multipart != "" {
		errs = append(errs, s.o.AbortMultipart(ctx, s.bytesKey(id), st.Multipart))
	}
	errs = append(errs, s.o.List(ctx, object.ListOptions{Prefix: s.tailsKey(id)}, func(e object.Entry) (bool, error) {
		return true, s.o.Delete(ctx, e.Key)
	}))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.cache.drop(c.key)
	return s.o.Delete(ctx, c.key)
}

// Commit makes a blob of the bytes. Until the link is written, the upload is what holds them for a sweep.
func (u *upload) Commit(ctx context.Context, dgst digest.Digest) (content.Info, error) {
	if u.over {
		return content.Info{}, errdefs.Conflict("upload %s is closed", u.id)
	}
	if err := content.CheckDigest(dgst); err != nil {
		return content.Info{}, err
	}
	same := dgst.Algorithm() == u.state.Algorithm
	if same {
		if got := digest.NewDigest(u.state.Algorithm, u.hash); got != dgst {
			return content.Info{}, errors.Join(errdefs.Corrupt("the bytes are %s and not %s", got, dgst), u.Cancel(ctx))
		}
	}
	if !u.state.Committing {
		u.state.Committing = true
		if err := u.save(ctx); err != nil {
			u.state.Committing = false
			return content.Info{}, fmt.Errorf("commit upload %s: %w", u.id, lost(err))
		}
	}
	if err := u.loadTail(ctx); err != nil {
		return content.Info{}, err
	}
	c, err := u.place(ctx, dgst, same)
	if err != nil {
		return content.Info{}, fmt.Errorf("commit upload %s: %w", u.id, lost(err))
	}
	u.over = true
	u.leave()
	// The blob is there: what is left of the upload goes with a sweep when it cannot go now.
	_ = u.s.endUpload(ctx, u.cell, u.state)
	return infoOf(dgst, c), nil
}

// place makes the bytes an object and links to it.
func (u *upload) place(ctx context.Context, dgst digest.Digest, checked bool) (*cell, error) {
	if len(u.state.Parts) == 0 {
		if !checked && dgst.Algorithm().FromBytes(u.tail) != dgst {
			return nil, errors.Join(errdefs.Corrupt("the bytes are not %s", dgst), u.Cancel(ctx))
		}
		if len(u.tail) <= inline {
			return u.s.linkInline(ctx, u.repo, dgst, u.tail)
		}
		checked = true
	}
	if checked {
		if c, err := u.s.linkKnown(ctx, u.repo, dgst, u.state.Size); err == nil || !errdefs.IsNotFound(err) {
			return c, err
		}
	}
	if err := u.complete(ctx); err != nil {
		return nil, err
	}
	if !checked {
		if err := u.readAgain(ctx, dgst); err != nil {
			if errdefs.IsCorrupt(err) {
				err = errors.Join(err, u.s.o.Delete(ctx, u.s.bytesKey(u.id)), u.Cancel(ctx))
			}
			return nil, err
		}
	}
	if err := u.s.noteWhere(ctx, dgst, u.id); err != nil {
		return nil, err
	}
	// That may have taken long: the upload must still be ours, as it is what holds the bytes.
	if err := u.save(ctx); err != nil {
		return nil, err
	}
	h := head{State: live, Pushed: u.s.o.Now().UTC(), Size: u.state.Size, ID: u.id}
	c, err := u.s.link1(ctx, u.repo.link(dgst), h, nil, nil)
	if err == nil && c.ID != u.id {
		_ = u.s.o.Delete(ctx, u.s.bytesKey(u.id)) // somebody else was faster; nobody knows ours
	}
	return c, err
}

// complete makes one object of what was uploaded.
func (u *upload) complete(ctx context.Context) error {
	key := u.s.bytesKey(u.id)
	if u.state.Multipart == "" {
		_, err := u.s.o.Put(ctx, key, u.tail, object.Always())
		return err
	}
	parts := u.state.Parts
	if len(u.tail) > 0 {
		// Not saved: a second commit uploads the same part again.
		p, err := u.s.o.UploadPart(ctx, key, u.state.Multipart, u.state.Next+1, u.tail)
		if err != nil && !errdefs.IsNotFound(err) {
			return err
		}
		if err == nil {
			parts = append(slices.Clip(parts), p)
		}
	}
	err := u.s.o.CompleteMultipart(ctx, key, u.state.Multipart, parts)
	if errdefs.IsNotFound(err) || errdefs.IsUnavailable(err) {
		// It was completed before, and the answer was lost.
		if info, e := u.s.o.Head(ctx, key); e == nil && info.Size == u.state.Size {
			return nil
		}
	}
	return err
}

// readAgain verifies the object's bytes.
func (u *upload) readAgain(ctx context.Context, dgst digest.Digest) error {
	r := &reader{ctx: ctx, o: u.s.o, key: u.s.bytesKey(u.id), size: u.state.Size}
	defer r.Close()
	return verify(r, dgst, u.state.Size)
}
