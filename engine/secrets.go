package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/camada/camada/errdefs"
)

// maxSecret is how large a secret may be, in bytes: BuildKit's limit.
const maxSecret = 500 << 10

// secrets are those of one build, by ID. Their content is in memory only, and never part of an error.
type secrets map[string]*buildSecret

type buildSecret struct {
	BuildSecret
	once sync.Once
	data []byte
	err  error
}

func newSecrets(list []BuildSecret) (secrets, error) {
	out := secrets{}
	for _, b := range list {
		if b.ID == "" {
			return nil, errdefs.Invalid("--secret: a secret without id")
		}
		if b.File != "" {
			st, err := os.Stat(b.File)
			if err != nil {
				return nil, classOf(err, "secret "+b.ID)
			}
			if st.Mode().IsRegular() && st.Size() > maxSecret {
				return nil, errdefs.Limit("secret %s: %s has more than %d bytes", b.ID, b.File, maxSecret)
			}
		} else if len(b.Value) > maxSecret {
			return nil, errdefs.Limit("secret %s has more than %d bytes", b.ID, maxSecret)
		}
		out[b.ID] = &buildSecret{BuildSecret: b}
	}
	return out, nil
}

// get returns a secret; ErrNotFound when the user gave none of this ID. It is read once: the file may be a pipe.
func (s secrets) get(id string) ([]byte, error) {
	x := s[id]
	if x == nil {
		return nil, errdefs.NotFound("secret %s: not found; give it with --secret id=%s", id, id)
	}
	x.once.Do(func() {
		if x.File == "" {
			x.data = x.Value
			return
		}
		x.data, x.err = readSmallFile(x.File, maxSecret)
	})
	if x.err != nil {
		return nil, fmt.Errorf("secret %s: %w", id, x.err)
	}
	return x.data, nil
}

// readSmallFile reads a file of at most limit bytes.
func readSmallFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, classOf(err, "read")
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, classOf(err, "read")
	}
	if int64(len(data)) > limit {
		return nil, errdefs.Limit("%s has more than %d bytes", name, limit)
	}
	return data, nil
}

// classOf gives an error of the file system its class.
func classOf(err error, doing string) error {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errdefs.NotFound("%s: %w", doing, err)
	case errors.Is(err, os.ErrPermission):
		return errdefs.Permission("%s: %w", doing, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
