package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/flock"
	"github.com/camada/camada/remote"
)

// Kept says where a credential was put.
type Kept struct {
	// File names the registry. It has the credential itself when Helper is "".
	File string
	// Helper is the program that keeps the credential.
	Helper string
}

// Store keeps the credential for a host where Credential finds it first: in the first file that is looked at, or with the helper which that
// file names for the host. All else that is in the file stays; the file is readable to its owner alone.
func (f Files) Store(ctx context.Context, host string, cred remote.Credential) (Kept, error) {
	files := f.files()
	if len(files) == 0 {
		return Kept{}, errdefs.Invalid("no place for credentials: set HOME, DOCKER_CONFIG or REGISTRY_AUTH_FILE")
	}
	at := files[0]
	kept := Kept{File: at.path}
	err := at.edit(ctx, func(d *document) error {
		c, err := d.config()
		if err != nil {
			return err
		}
		key := at.key(host)
		e := entry{IdentityToken: cred.IdentityToken, RegistryToken: cred.RegistryToken}
		if cred.Username != "" {
			e.Auth = base64.StdEncoding.EncodeToString([]byte(cred.Username + ":" + cred.Password))
		}
		if kept.Helper = c.helper(host); kept.Helper != "" {
			if _, err := tell(ctx, kept.Helper, "store", stored(key, cred)); err != nil {
				return err
			}
			e = entry{} // docker lists the names all the same
		}
		d.forget(host)
		return d.put(key, e)
	})
	if err != nil {
		return Kept{}, fmt.Errorf("keep the credentials for %s: %w", host, err)
	}
	return kept, nil
}

// Erase removes all that the files and their helpers have for a host. It returns the files that had something.
func (f Files) Erase(ctx context.Context, host string) ([]string, error) {
	var had []string
	var errs []error
	for _, at := range f.files() {
		if c, err := read(at.path); err == nil && c.isEmpty() {
			continue // it is not there, not ours, or has nothing
		}
		found := false
		err := at.edit(ctx, func(d *document) error {
			c, err := d.config()
			if err != nil {
				return err
			}
			found = d.forget(host)
			helper := c.helper(host)
			if helper == "" {
				return nil
			}
			for _, key := range keys(host) {
				gone, err := tell(ctx, helper, "erase", []byte(key))
				if err != nil {
					return err
				}
				found = found || gone
			}
			return nil
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("remove the credentials for %s: %w", host, err))
		}
		if found {
			had = append(had, at.path)
		}
	}
	return had, errors.Join(errs...)
}

func (c config) isEmpty() bool {
	return len(c.Auths) == 0 && len(c.CredHelpers) == 0 && c.CredsStore == ""
}

// helper is the helper that keeps a host's credential; "" is none.
func (c config) helper(host string) string {
	for _, key := range keys(host) {
		if name, ok := c.CredHelpers[key]; ok {
			return name
		}
	}
	return c.CredsStore
}

// stored is what a helper is told to store (docker-credential-helpers).
func stored(key string, cred remote.Credential) []byte {
	s := struct{ ServerURL, Username, Secret string }{key, cred.Username, cred.Password}
	if cred.IdentityToken != "" {
		s.Username, s.Secret = tokenUser, cred.IdentityToken
	}
	data, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings can be marshaled
	}
	return data
}

// key is what a host is called in a new entry of the file.
func (f file) key(host string) string {
	if f.docker {
		return keys(host)[0]
	}
	return host
}

// document is a file that is being changed. What is not understood of it stays as it is.
type document struct {
	top     map[string]json.RawMessage
	auths   map[string]json.RawMessage
	changed bool
}

func (d *document) config() (config, error) {
	data, err := json.Marshal(d.top)
	if err != nil {
		return config{}, errdefs.With(errdefs.ErrInvalid, err)
	}
	return parse(data)
}

// put sets the entry of a key.
func (d *document) put(key string, e entry) error {
	data, err := json.Marshal(e)
	if err != nil {
		return errdefs.With(errdefs.ErrInvalid, err)
	}
	d.auths[key], d.changed = data, true
	return nil
}

// forget removes the entries of a host, and reports whether there was one.
func (d *document) forget(host string) bool {
	found := false
	for key := range d.auths {
		if slices.Contains(keys(host), key) || isFor(key, host) {
			delete(d.auths, key)
			found = true
		}
	}
	d.changed = d.changed || found
	return found
}

// edit changes the file: many may do so at once, and whoever reads it meanwhile sees it as it was or as it will be.
func (f file) edit(ctx context.Context, change func(*document) error) error {
	path, err := target(f.path)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory: %w", err)
	}
	lock, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	defer lock.Close()
	if err := flock.Exclusive(ctx, lock); err != nil {
		return err
	}
	data, info, err := readFile(path)
	if err != nil {
		return err
	}
	d, err := newDocument(data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := change(d); err != nil || !d.changed {
		return err
	}
	if data, err = d.bytes(); err != nil {
		return err
	}
	return replace(path, data, info, lock)
}

// target follows a link to the file that is meant, which may be missing.
func target(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		return real, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("find the file of credentials: %w", err)
	}
	to, err := os.Readlink(path)
	if err != nil {
		return path, nil //nolint:nilerr // no link: it is made
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(filepath.Dir(path), to)
	}
	return to, nil
}

func newDocument(data []byte) (*document, error) {
	d := &document{top: map[string]json.RawMessage{}, auths: map[string]json.RawMessage{}}
	if _, err := parse(data); err != nil {
		return nil, err
	}
	if err := parseInto(data, &d.top); err != nil {
		return nil, err
	}
	if err := parseInto(d.top["auths"], &d.auths); err != nil {
		return nil, err
	}
	if d.top == nil {
		d.top = map[string]json.RawMessage{}
	}
	if d.auths == nil {
		d.auths = map[string]json.RawMessage{}
	}
	return d, nil
}

func (d *document) bytes() ([]byte, error) {
	auths, err := json.Marshal(d.auths)
	if err != nil {
		return nil, errdefs.With(errdefs.ErrInvalid, err)
	}
	d.top["auths"] = auths
	data, err := json.MarshalIndent(d.top, "", "\t")
	if err != nil {
		return nil, errdefs.With(errdefs.ErrInvalid, err)
	}
	return append(data, '\n'), nil
}

// replace writes a file aside and gives it its name. It belongs to whom the old one belonged, when that can be done.
func replace(path string, data []byte, old fs.FileInfo, dir *os.File) error {
	w, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // of mode 0600
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	defer os.Remove(w.Name()) // it is not there any more when all went well
	if old != nil {
		if st, ok := old.Sys().(*syscall.Stat_t); ok {
			_ = w.Chown(int(st.Uid), int(st.Gid))
		}
	}
	_, err = w.Write(data)
	if err == nil {
		err = w.Sync()
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(w.Name(), path); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return dir.Sync()
}
