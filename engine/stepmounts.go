package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/camada/camada/build/cachemount"
	"github.com/camada/camada/build/op"
	"github.com/camada/camada/container"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/mount"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// stepMounts are the mounts of one RUN step. All but caches are in memory or parts of snapshots, attached nowhere, so that a
// kill leaves nothing of them.
type stepMounts struct {
	mounts   []specs.Mount
	detached map[string]*os.File
	// env are the secrets of the environment.
	env []string
	// caches are the directories of caches, by the digest of their keys.
	caches map[string]string
	close  []func()
}

// Close ends the use of what is mounted.
func (s *stepMounts) Close() {
	for i := len(s.close) - 1; i >= 0; i-- {
		s.close[i]()
	}
	s.close = nil
}

// stepMounts makes what the step mounts. The caller closes it when the step has ended.
func (x *executor) stepMounts(ctx context.Context, req op.RunRequest) (*stepMounts, error) {
	s := &stepMounts{detached: map[string]*os.File{}}
	for _, m := range req.StepMounts {
		var err error
		if m.Target == "/proc" || strings.HasPrefix(m.Target, "/proc/") {
			s.Close()
			return nil, errdefs.Invalid("mount on %s: nothing can be mounted inside of /proc", m.Target)
		}
		switch m.Type {
		case op.MountBind:
			err = s.part(m.Tree, m.Path, m.Mount)
		case op.MountCache:
			err = x.cacheMount(ctx, s, m, req)
		case op.MountTmpfs:
			s.tmpfs(m.Mount)
		case op.MountSecret:
			err = x.secretMount(s, m.Mount)
		case op.MountSSH:
			err = x.agentMount(ctx, s, m.Mount)
		default:
			err = errdefs.Unsupported("mounts of type %s", m.Type)
		}
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("mount on %s: %w", m.Target, err)
		}
	}
	return s, nil
}

// attach mounts what f holds.
func (s *stepMounts) attach(target string, f *os.File) {
	name := strconv.Itoa(len(s.detached))
	s.detached[name] = f
	s.close = append(s.close, func() { f.Close() })
	s.mounts = append(s.mounts, specs.Mount{Destination: target, Type: container.TypeDetached, Source: name})
}

// part mounts a file or directory of a tree.
func (s *stepMounts) part(tree mount.Mount, name string, m op.Mount) error {
	f, err := mount.Part(tree, name, m.ReadOnly)
	if err != nil {
		return err
	}
	s.attach(m.Target, f)
	return nil
}

// cacheMount mounts a cache directory, or a directory in one.
func (x *executor) cacheMount(ctx context.Context, s *stepMounts, m op.StepMount, req op.RunRequest) error {
	key := cachemount.Key{ID: m.CacheID, From: m.From, Mode: m.Mode, UID: m.UID, GID: m.GID}
	opts := cachemount.Options{Sharing: m.Sharing, Fill: m.Fill}
	carried := x.carried.fill(key)
	if carried != nil {
		opts.Fill = carried
	}
	h, err := x.acquire(ctx, s, key, opts, req)
	if err != nil && carried != nil && ctx.Err() == nil {
		// What another machine had is gone: it begins as it would without.
		opts.Fill = m.Fill
		h, err = x.acquire(ctx, s, key, opts, req)
	}
	if err != nil {
		return err
	}
	name := "/"
	if m.From == "" { // what the cache begins with is the part that is shown
		name = m.Source
	}
	return s.part(mount.Mount{Kind: mount.Bind, Source: h}, name, m.Mount)
}

// acquire takes a cache directory for the step. One that a step mounts twice is the same in both places.
func (x *executor) acquire(ctx context.Context, s *stepMounts, key cachemount.Key, opts cachemount.Options, req op.RunRequest) (dir string, err error) {
	name := key.Digest().String()
	if s.caches == nil {
		s.caches = map[string]string{}
	}
	if dir := s.caches[name]; dir != "" {
		return dir, nil
	}
	caches := x.e.cacheMounts()
	if x.cacheDir != "" {
		caches = cachemount.Open(filepath.Join(x.cacheDir, "mounts"))
	}
	h, err := caches.Acquire(ctx, key, opts)
	if err != nil {
		return "", err
	}
	s.close = append(s.close, h.Release)
	if err := h.Age(req.Below, req.Epoch); err != nil {
		return "", err
	}
	s.caches[name] = h.Dir()
	return h.Dir(), nil
}

func (s *stepMounts) tmpfs(m op.Mount) {
	options := []string{"nosuid"}
	if m.Size > 0 {
		options = append(options, "size="+strconv.FormatInt(m.Size, 10))
	}
	if m.ReadOnly {
		options = append(options, "ro")
	}
	s.mounts = append(s.mounts, specs.Mount{Destination: m.Target, Type: "tmpfs", Source: "tmpfs", Options: options})
}

// secretMount mounts a secret, or puts it into the environment.
func (x *executor) secretMount(s *stepMounts, m op.Mount) error {
	data, err := x.secrets.get(m.ID)
	missing := errdefs.IsNotFound(err) && x.secrets[m.ID] == nil
	if err != nil && (!missing || m.Required) {
		return err
	}
	if m.Env != "" {
		if strings.ContainsRune(string(data), 0) {
			return errdefs.Invalid("secret %s has a NUL byte, which no variable can have", m.ID)
		}
		s.env = append(s.env, m.Env+"="+string(data)) // without a secret it is empty, as in BuildKit
	}
	if missing || m.Target == "" {
		return nil
	}
	mode, uid, gid := ownership(m)
	f, err := mount.MemoryFile(data, mode, uid, gid)
	if err != nil {
		return err
	}
	s.attach(m.Target, f)
	return nil
}

// agentMount mounts the socket of an agent.
func (x *executor) agentMount(ctx context.Context, s *stepMounts, m op.Mount) error {
	a := x.agents[m.ID]
	if a == nil {
		if !m.Required {
			return nil
		}
		return errdefs.NotFound("no SSH agent or key with the id %q; give it with --ssh %s", m.ID, m.ID)
	}
	mode, uid, gid := ownership(m)
	f, stop, err := a.serve(ctx, mode, uid, gid)
	if err != nil {
		return err
	}
	s.close = append(s.close, stop)
	s.attach(m.Target, f)
	return nil
}

func ownership(m op.Mount) (mode os.FileMode, uid, gid int) {
	if m.Mode != nil {
		mode = os.FileMode(*m.Mode).Perm()
	}
	if m.UID != nil {
		uid = int(*m.UID)
	}
	if m.GID != nil {
		gid = int(*m.GID)
	}
	return mode, uid, gid
}
