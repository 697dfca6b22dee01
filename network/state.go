package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// state is the state directory; its layout stands at the package.
type state struct{ dir string }

// held is what a container holds, and who it is.
type held struct {
	ID          string        `json:"id"`
	Owner       process       `json:"owner"`
	Driver      Driver        `json:"driver"`
	Connections []Connection  `json:"connections,omitempty"`
	Ports       []PortMapping `json:"ports,omitempty"`
	// Relayed ports are served by sockets of the host, and not translated.
	Relayed bool `json:"relayed,omitempty"`
	// Keeper looks after a container of the driver Embedded; Out is what it has open.
	Keeper process `json:"keeper,omitzero"`
	Out    outlet  `json:"out,omitzero"`
	// Helper is the driver's process in user space.
	Helper process `json:"helper,omitzero"`
}

// maxRecord bounds a container's file: 4096 ports take less.
const maxRecord = 1 << 20

func (s state) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// prepare makes the directories.
func (s state) prepare() error {
	if _, err := os.Lstat(s.path("bridges")); err == nil {
		return nil
	}
	for _, d := range []string{"addresses", "ports", "names", "containers", "bridges"} { // the last one says that all are there
		if err := os.MkdirAll(s.path(d), 0o700); err != nil {
			return fmt.Errorf("make network state: %w", err)
		}
	}
	return nil
}

// lock takes the lock of the state directory; it is held for moments only.
func (s state) lock() (unlock func(), err error) {
	if _, err := os.Lstat(s.dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(s.path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock network state: %w", err)
	}
	return func() { f.Close() }, nil
}

func (s state) load(id string) (held, error) {
	var h held
	if !validID(id) {
		return h, errdefs.NotFound("network of container %q: no such id", id)
	}
	err := readJSON(s.path("containers", id+".json"), &h)
	return h, err
}

func (s state) save(h held) error { return writeJSON(s.path("containers", h.ID+".json"), h) }

func readJSON(path string, v any) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return errdefs.With(errdefs.ErrNotFound, err)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > maxRecord {
		return errdefs.Limit("%s: larger than %d bytes", path, maxRecord)
	}
	data := make([]byte, info.Size())
	if _, err := f.ReadAt(data, 0); err != nil && len(data) > 0 {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return errdefs.Corrupt("%s: %w", path, err)
	}
	return nil
}

// writeJSON replaces a file under the lock. It is not flushed to disk: after a
// crash of the machine nothing that it describes is there any more.
func writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// claim makes the symbolic link name -> id. One that belongs to a container whose
// process is gone is taken over, together with all that container held. The
// caller has the lock.
func (s state) claim(ctx context.Context, name, id string) (bool, error) {
	for range 2 {
		err := os.Symlink(id, s.path(name))
		if !errors.Is(err, os.ErrExist) {
			return err == nil, err
		}
		freed, err := s.reclaim(ctx, name)
		if err != nil || !freed {
			return false, err
		}
	}
	return false, nil
}

// reclaim releases the owner of a link when it is gone.
func (s state) reclaim(ctx context.Context, name string) (bool, error) {
	owner, err := os.Readlink(s.path(name))
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	h, err := s.load(owner)
	switch {
	case errdefs.IsNotFound(err), errdefs.IsCorrupt(err):
	case err != nil:
		return false, err
	case h.Owner.alive():
		return false, nil
	default:
		if err := s.release(ctx, h); err != nil {
			return false, err
		}
	}
	err = os.Remove(s.path(name))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return true, err
}

func portName(p PortMapping) string {
	return fmt.Sprintf("ports/%s-%d-%s", p.Protocol, p.HostPort, p.ip())
}

// portTaken tells whether a living container has published an overlapping port:
// the wildcard address overlaps with all of its family.
func (s state) portTaken(ctx context.Context, p PortMapping) (bool, error) {
	wildcard := PortMapping{Protocol: p.Protocol, HostPort: p.HostPort}
	if p.ip().Is6() {
		wildcard.HostIP = netip.IPv6Unspecified()
	}
	names := []string{portName(p), portName(wildcard)}
	if p.ip().IsUnspecified() {
		all, err := os.ReadDir(s.path("ports"))
		if err != nil {
			return false, err
		}
		prefix := fmt.Sprintf("%s-%d-", p.Protocol, p.HostPort)
		for _, e := range all {
			if address, ok := strings.CutPrefix(e.Name(), prefix); ok && strings.Contains(address, ":") == p.ip().Is6() {
				names = append(names, "ports/"+e.Name())
			}
		}
	}
	for _, name := range names {
		free, err := s.reclaim(ctx, name)
		if err != nil || !free {
			return true, err
		}
	}
	return false, nil
}

// release takes back what h holds. The file goes last, so that a release that was
// interrupted is done again. The caller has the lock.
func (s state) release(ctx context.Context, h held) error {
	var errs []error
	switch h.Driver {
	case Bridge:
		if len(h.Connections) == 0 {
			break // the allocation failed before anything was made
		}
		errs = append(errs, unpublish(h))
		if h.Owner.alive() {
			for _, n := range h.Connections {
				errs = append(errs, removeInterface(h.Owner, n))
			}
		}
	case Embedded:
		if len(h.Connections) > 0 {
			errs = append(errs, s.releaseEmbedded(h))
		}
	default:
		errs = append(errs, h.Helper.stop(ctx))
		s.hideNamespace(h.ID)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, p := range h.Ports {
		errs = append(errs, s.disclaim(portName(p), h.ID))
	}
	for _, n := range h.Connections {
		errs = append(errs, s.dropClaims(n, h.ID))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, ending := range []string{".sock", ".pid", ".json"} {
		if err := os.Remove(s.path("containers", h.ID+ending)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// dropClaims gives addresses and names back.
func (s state) dropClaims(n Connection, id string) error {
	var errs []error
	addresses, names := n.claims()
	for _, a := range addresses {
		errs = append(errs, s.disclaim(a, id))
	}
	for _, name := range names {
		if err := os.Remove(s.path(name, id)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
		_ = os.Remove(s.path(name)) // only the last one can
	}
	return errors.Join(errs...)
}

// disclaim removes a link, unless it became somebody else's.
func (s state) disclaim(name, id string) error {
	owner, err := os.Readlink(s.path(name))
	if err == nil && owner == id {
		err = os.Remove(s.path(name))
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// all gives what all containers hold; files that cannot be read are left out.
func (s state) all() ([]held, error) {
	entries, err := os.ReadDir(s.path("containers"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var hs []held
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		if h, err := s.load(id); err == nil {
			hs = append(hs, h)
		}
	}
	return hs, err
}

func (s state) reconcile(ctx context.Context) ([]string, error) {
	hs, err := s.all()
	if err != nil {
		return nil, err
	}
	var gone []string
	var errs []error
	known := map[string]bool{}
	for _, h := range hs {
		if h.Owner.alive() {
			for _, n := range h.Connections {
				known[n.Host] = true
			}
			continue
		}
		if err := s.release(ctx, h); err != nil {
			errs = append(errs, err)
			continue
		}
		gone = append(gone, h.ID)
	}
	for _, dir := range []string{"addresses", "ports"} {
		entries, err := os.ReadDir(s.path(dir))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, e := range entries {
			if _, err := s.reclaim(ctx, dir+"/"+e.Name()); err != nil {
				errs = append(errs, err)
			}
		}
	}
	sweep := func() error { return s.sweepLinks(ctx, known) }
	return gone, errors.Join(append(errs, s.sweepFiles(), s.inside(sweep), s.forgetRouter())...)
}

// forgetRouter removes what is known of a router that is gone.
func (s state) forgetRouter() error {
	if !s.routed() {
		return nil
	}
	router, err := s.findRouter()
	switch {
	case err != nil:
		return nil //nolint:nilerr // it is there, and cannot be entered from here
	case router != nil:
		return router.Close()
	}
	bridges, err := s.bridges()
	errs := []error{err}
	for _, b := range bridges {
		errs = append(errs, s.forgetBridge(b))
	}
	return errors.Join(append(errs, os.Remove(s.path(routerFile)))...)
}

// sweepFiles removes files whose writer was killed before it gave them their name: under the lock nobody writes.
func (s state) sweepFiles() error {
	var errs []error
	for _, dir := range []string{".", "containers", "bridges"} {
		files, err := filepath.Glob(s.path(dir, "*.new"))
		errs = append(errs, err)
		for _, f := range files {
			errs = append(errs, os.Remove(f))
		}
	}
	return errors.Join(errs...)
}

// sweepLinks removes interfaces of the bridges that no living container has, and bridges whose network is gone.
func (s state) sweepLinks(ctx context.Context, known map[string]bool) error {
	bridges, err := s.bridges()
	if err != nil || len(bridges) == 0 {
		return err
	}
	c, err := dialRtnl()
	if err != nil {
		return err
	}
	defer c.close()
	all, err := c.links()
	if err != nil {
		return err
	}
	ours := map[string]bool{}
	for _, b := range bridges {
		ours[b.Name] = true
	}
	masters := map[int]bool{}
	for _, l := range all {
		if ours[l.name] {
			masters[l.index] = true
		}
	}
	var errs []error
	for _, l := range all {
		if masters[l.master] && strings.HasPrefix(l.name, vethPrefix) && !known[l.name] {
			errs = append(errs, c.deleteLink(l.name))
		}
	}
	for _, b := range bridges {
		if !b.orphaned() {
			continue
		}
		if users, err := s.usersOf(ctx, b.Network); err != nil || len(users) > 0 {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, s.removeBridge(c, b))
	}
	return errors.Join(errs...)
}
