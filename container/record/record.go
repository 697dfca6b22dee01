// Package record keeps what is known of containers, in a directory that many processes use at once.
//
//	store := record.Open(dir)
//	c, err := store.Create(ctx, record.Config{Name: "web", ...})   // the name is taken now
//	err = c.SetState(record.Started(pid))
//	...
//	err = c.SetState(record.State{Status: record.Exited, ExitCode: code, ...})
//	err = store.Remove(ctx, c.Config.ID)
//
// # On disk
//
//	<dir>/<id>/config.json   what it was made of; replaced whole, under a lock of the directory (Rename, Change)
//	<dir>/<id>/state.json    how it is doing; replaced whole
//	<dir>/<id>/log           what it wrote: a JSON object a line; log.<n> and log.<n>.gz are what was written before
//	<dir>/<id>/health.json   what its health check found
//	<dir>/<id>/stopped       the user stopped it: it is not started again by itself
//	<dir>/<id>/attach        a socket of the process that looks after it
//	<dir>/<id>/alive         locked by the process that looks after it, as long as it does; holds its last state
//	<dir>/new-<id>/          being made, or being removed; locked by the process that makes it
//	<dir>/names/<name>       a symbolic link to the id: taking a name is making it, under the lock of the directory
//
// Only the process that looks after a container changes its state. Whether a container runs is never taken from the file
// alone: its process must be there, with the start time that was noted. So a machine that was switched off, or a killed
// camada, leaves no container that only seems to run.
package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Status of a container.
type Status string

// The statuses.
const (
	Created Status = "created"
	Running Status = "running"
	Exited  Status = "exited"
	// Restarting is a container that has ended and is started again in a moment.
	Restarting Status = "restarting"
	// Dead is a container whose record cannot be read: it can only be removed.
	Dead Status = "dead"
)

// Config is what a container was made of.
type Config struct {
	// ID is 64 hexadecimal digits.
	ID   string `json:"id"`
	Name string `json:"name"`
	// Image is the descriptor of the manifest; ImageName what the user called it and ImageID the config's digest.
	Image     ocispec.Descriptor `json:"image"`
	ImageName string             `json:"imageName"`
	ImageID   string             `json:"imageID"`
	// Snapshot is the ID of the writable snapshot.
	Snapshot string            `json:"snapshot"`
	Command  []string          `json:"command"`
	Env      []string          `json:"env,omitempty"`
	Workdir  string            `json:"workdir,omitempty"`
	User     string            `json:"user,omitempty"`
	Created  time.Time         `json:"created"`
	Labels   map[string]string `json:"labels,omitempty"`
	// Network is none, host or bridge; Ports are as published.
	Network    string   `json:"network"`
	Ports      []string `json:"ports,omitempty"`
	Volumes    []string `json:"volumes,omitempty"`
	Mounts     []Mount  `json:"mounts,omitempty"`
	Hostname   string   `json:"hostname,omitempty"`
	TTY        bool     `json:"tty,omitempty"`
	Remove     bool     `json:"remove,omitempty"`
	StopSignal string   `json:"stopSignal,omitempty"`
	Privileged bool     `json:"privileged,omitempty"`
	CapAdd     []string `json:"capAdd,omitempty"`
	CapDrop    []string `json:"capDrop,omitempty"`
	// CgroupsPath is where its control group is.
	CgroupsPath string `json:"cgroupsPath,omitempty"`
	// Memory in bytes, NanoCPUs in billionths, PidsLimit; 0 is none.
	Memory    int64 `json:"memory,omitempty"`
	NanoCPUs  int64 `json:"nanoCPUs,omitempty"`
	PidsLimit int64 `json:"pidsLimit,omitempty"`
	// Restart is no, always, unless-stopped or on-failure[:N]; "" is no.
	Restart string `json:"restart,omitempty"`
	// LogDriver is json-file, local, journald or none; "" is json-file.
	LogDriver string `json:"logDriver,omitempty"`
	// UserIDs and GroupIDs are the ids of its user namespace, as its maker sees them; none when it has no own one.
	UserIDs  []specs.LinuxIDMapping `json:"userIDs,omitempty"`
	GroupIDs []specs.LinuxIDMapping `json:"groupIDs,omitempty"`
	// Start is what its maker needs to start it, in the maker's own words.
	Start json.RawMessage `json:"start,omitempty"`
}

// Mount is something that a container sees besides its root file system.
type Mount struct {
	// Type is bind, volume, tmpfs or image; Name that of a volume or an image.
	Type string `json:"type"`
	Name string `json:"name,omitempty"`
	// Source is the directory or file on the host, "" when it has none.
	Source      string `json:"source,omitempty"`
	Destination string `json:"destination"`
	ReadOnly    bool   `json:"readOnly,omitempty"`
	Propagation string `json:"propagation,omitempty"`
	// Anonymous volumes belong to the container that they were made for.
	Anonymous bool `json:"anonymous,omitempty"`
	// Image is the manifest of an image.
	Image *ocispec.Descriptor `json:"image,omitempty"`
}

// State is how a container is doing.
type State struct {
	Status Status `json:"status"`
	// Pid of its first process, and when that started, in the kernel's ticks since boot: both together are never used again.
	Pid       int    `json:"pid,omitempty"`
	StartTick uint64 `json:"startTick,omitempty"`
	// Boot is the kernel's id of the boot in which it was started.
	Boot string `json:"boot,omitempty"`
	// Keeper is the process that looks after it.
	Keeper int `json:"keeper,omitempty"`
	// RestartCount is how often its restart policy started it again.
	RestartCount int       `json:"restartCount,omitempty"`
	ExitCode     int       `json:"exitCode"`
	OOMKilled    bool      `json:"oomKilled,omitempty"`
	Error        string    `json:"error,omitempty"`
	Started      time.Time `json:"started,omitzero"`
	Finished     time.Time `json:"finished,omitzero"`
	// Address is the container's own, "" without one; Ports are those that were published in the end.
	Address string   `json:"address,omitempty"`
	Gateway string   `json:"gateway,omitempty"`
	MAC     string   `json:"mac,omitempty"`
	Ports   []string `json:"ports,omitempty"`
}

// Container is a record as it was read.
type Container struct {
	Config Config
	State  State
	dir    string
	kept   *os.File // the alive file while this process looks after the container
}

// Running reports whether its first process was there when the record was read.
func (c *Container) Running() bool { return c.State.Status == Running }

// Active reports whether it runs, or is started again in a moment.
func (c *Container) Active() bool { return c.Running() || c.State.Status == Restarting }

// Dir is the directory of the container's files.
func (c *Container) Dir() string { return c.dir }

// Store is a directory of records.
type Store struct{ dir string }

// Open returns the store in dir, which is made when it is needed.
func Open(dir string) *Store { return &Store{dir: dir} }

const (
	configFile = "config.json"
	stateFile  = "state.json"
	logFile    = "log"
	aliveFile  = "alive"
	namesDir   = "names"
	newPrefix  = "new-"
	maxFile    = 4 << 20
)

// Get finds a container by its ID, its name, or the beginning of its ID. ErrNotFound when there is none, ErrConflict when the beginning
// fits several. One whose record is damaged is Dead.
func (s *Store) Get(ctx context.Context, query string) (*Container, error) {
	if !validName(query) {
		return nil, errdefs.NotFound("no such container: %s", query)
	}
	if isID(query) {
		return s.load(query)
	}
	if id, err := os.Readlink(filepath.Join(s.dir, namesDir, query)); err == nil && isID(id) {
		c, err := s.load(id)
		switch {
		case err == nil && c.State.Status != Dead && c.Config.Name != query: // left by a renaming that was killed
		case err == nil || !errdefs.IsNotFound(err):
			return c, err
		}
	}
	ids, err := s.ids()
	if err != nil {
		return nil, err
	}
	var hit string
	for _, id := range ids {
		if !strings.HasPrefix(id, query) {
			continue
		}
		if hit != "" {
			return nil, errdefs.Conflict("%s is the beginning of several containers' IDs; give more of it", query)
		}
		hit = id
	}
	if hit == "" {
		return nil, errdefs.NotFound("no such container: %s", query)
	}
	return s.load(hit)
}

// List returns all containers, the newest first. One that vanishes meanwhile is left out; one whose record is damaged is Dead.
func (s *Store) List(ctx context.Context) ([]*Container, error) {
	ids, err := s.ids()
	if err != nil {
		return nil, err
	}
	list := make([]*Container, 0, len(ids))
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c, err := s.load(id)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	slices.SortStableFunc(list, func(a, b *Container) int { return b.Config.Created.Compare(a.Config.Created) })
	return list, nil
}

func (s *Store) ids() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if isID(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

func (s *Store) load(id string) (*Container, error) {
	c := &Container{dir: filepath.Join(s.dir, id)}
	err := readJSON(filepath.Join(c.dir, configFile), &c.Config)
	if err == nil && c.Config.ID != id {
		err = errdefs.Corrupt("it is of container %.12q", c.Config.ID)
	}
	if err == nil {
		return c, c.Refresh()
	}
	if _, serr := os.Stat(c.dir); errors.Is(serr, fs.ErrNotExist) {
		return nil, errdefs.NotFound("no such container: %s", id)
	}
	if errors.Is(err, fs.ErrNotExist) || errdefs.IsCorrupt(err) || errdefs.IsLimit(err) {
		c.Config, c.State = Config{ID: id}, State{Status: Dead, ExitCode: 137, Error: fmt.Sprintf("the record is damaged: %v", err)}
		return c, nil
	}
	return nil, fmt.Errorf("read container %.12s: %w", id, err)
}

// Refresh reads the state again, and compares it with the process.
func (c *Container) Refresh() error {
	st, err := c.readState()
	if err != nil {
		return err
	}
	if gone(st) && (c.kept != nil || !keeperLives(c.dir)) {
		// It ended between the look at the file and the look at the keeper, or its keeper was killed before it could note
		// how it ended. Nobody writes any more, so that reading again tells.
		if st, err = c.readState(); err != nil {
			return err
		}
		if gone(st) {
			st.lost()
		}
	}
	c.State = st
	return nil
}

// gone reports whether a container that should run has no process, or whether only its keeper knows.
func gone(st State) bool {
	return st.Status == Restarting || st.Status == Running && (st.Boot != "" && st.Boot != bootID() || !alive(st.Pid, st.StartTick))
}

// lost makes the state that of a container that nobody saw end.
func (st *State) lost() {
	if st.Status == Running {
		st.ExitCode = 137
	}
	if st.Boot != "" && st.Boot != bootID() {
		st.ExitCode = 255
		st.Error = orText(st.Error, "the machine was started again while the container ran")
	}
	st.Status = Exited
	st.Error = orText(st.Error, "the process that looked after the container was killed")
}

func orText(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// readState reads the state's file. One that is damaged says that the container ended, as no keeper leaves one.
func (c *Container) readState() (State, error) {
	st := State{Status: Created}
	err := readJSON(filepath.Join(c.dir, stateFile), &st)
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return st, nil
	case errdefs.IsCorrupt(err), errdefs.IsLimit(err):
		return State{Status: Dead, ExitCode: 137, Error: fmt.Sprintf("the state is damaged: %v", err)}, nil
	}
	return st, fmt.Errorf("read the state of container %.12s: %w", c.Config.ID, err)
}

func readJSON(name string, v any) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return err
	}
	if len(b) > maxFile {
		return errdefs.Limit("%s is larger than %d bytes", name, maxFile)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return errdefs.Corrupt("%s: %w", name, err)
	}
	return nil
}

// writeJSON replaces a file whole. One process at a time writes it. It is not synced: containers do not live on after the machine stops.
func writeJSON(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := name + ".tmp"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		os.Remove(tmp)
		return err
	}
	if err := os.Rename(tmp, name); err != nil {
		os.Remove(tmp)
		return err
	}
	return nil
}

func isID(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }

// validName follows docker's [a-zA-Z0-9][a-zA-Z0-9_.-]*.
func validName(s string) bool {
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '_' && c != '.' && c != '-') {
			return false
		}
	}
	return s != "" && len(s) <= 128
}
