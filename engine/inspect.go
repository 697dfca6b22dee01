package engine

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/mount"
)

// ContainerInspect is what inspect shows of a container, in the form of docker's: field by field, as far as there is something to say.
type ContainerInspect struct {
	ID           string `json:"Id"`
	Created      string
	Path         string
	Args         []string
	State        ContainerState
	Image        string
	Name         string
	RestartCount int
	// Driver is that of the snapshots.
	Driver   string
	Platform string
	// The files that are mounted below /etc, "" when there is none.
	ResolvConfPath, HostnamePath, HostsPath string
	LogPath                                 string
	AppArmorProfile                         string
	HostConfig                              HostConfig
	GraphDriver                             GraphDriver
	// SizeRw is what the files of the container's own take, SizeRootFs with those of its image, in bytes. They are counted when asked for.
	SizeRw, SizeRootFs *int64 `json:",omitempty"`
	Mounts             []MountPoint
	Config             ContainerConfig
	NetworkSettings    NetworkSettings
	// Snapshot is the ID of the snapshot that the container writes to.
	Snapshot string
}

// ContainerState is how it is doing.
type ContainerState struct {
	Status  string
	Running bool
	Paused  bool
	// Restarting is true between two starts.
	Restarting bool
	OOMKilled  bool
	Dead       bool
	Pid        int
	ExitCode   int
	Error      string
	StartedAt  string
	FinishedAt string
	// Health is nil without a health check.
	Health *record.Health `json:",omitempty"`
}

// GraphDriver tells where the files of a container or an image are.
type GraphDriver struct {
	// Data are LowerDir, UpperDir and WorkDir of an overlay, or Dir.
	Data map[string]string
	Name string
}

// MountPoint is something that a container sees besides its root file system.
type MountPoint struct {
	// Type is bind, volume, tmpfs or image; Name that of a volume or an image.
	Type string
	Name string `json:",omitempty"`
	// Source is the directory or file on the host, "" when it has none.
	Source      string
	Destination string
	// Driver is that of a volume.
	Driver string `json:",omitempty"`
	// Mode are the options of -v.
	Mode        string
	RW          bool
	Propagation string
}

// InspectOptions say what Inspect looks for.
type InspectOptions struct {
	// Type is container, image, network or volume; "" is the first of them that has the name.
	Type string
	// Size counts what a container takes.
	Size bool
}

func (e *Engine) inspectContainer(ctx context.Context, name string, size bool) (*ContainerInspect, error) {
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	cfg := c.Config
	v := &ContainerInspect{
		ID: cfg.ID, Created: stamp(cfg.Created), Args: []string{}, State: stateOf(c), Image: cfg.ImageID, Name: "/" + cfg.Name, RestartCount: c.State.RestartCount,
		Platform: "linux", ResolvConfPath: fileOf(c, "resolv.conf"), HostnamePath: fileOf(c, "hostname"), HostsPath: fileOf(c, "hosts"), LogPath: c.LogPath(),
		GraphDriver: e.graphDriver(ctx, func(s snapshots) (mount.Mount, error) { return s.Mount(ctx, cfg.Snapshot) }), Snapshot: cfg.Snapshot,
	}
	v.Driver = v.GraphDriver.Name
	if len(cfg.Command) > 0 {
		v.Path, v.Args = cfg.Command[0], cfg.Command[1:]
	}
	l, err := launchOf(c)
	if err != nil { // a damaged record, or one of an older version: what there is
		l = &launch{c: c}
	}
	v.HostConfig, v.Config, v.Mounts = l.hostConfig(), l.containerConfig(), mountPoints(l)
	v.AppArmorProfile = l.opts.Confinement.AppArmor
	v.NetworkSettings = e.networkSettings(c, v.Config.ExposedPorts)
	if size {
		own, all := e.sizesOf(ctx, c)
		v.SizeRw, v.SizeRootFs = &own, &all
	}
	return v, nil
}

func stateOf(c *record.Container) ContainerState {
	st := c.State
	now := new(statuses)
	s := ContainerState{
		Status: now.of(c), Running: c.Running(), Paused: now.paused(c), Restarting: st.Status == record.Restarting, OOMKilled: st.OOMKilled,
		Dead: st.Status == record.Dead, ExitCode: st.ExitCode, Error: st.Error, StartedAt: stamp(st.Started), FinishedAt: stamp(st.Finished), Health: c.Health(),
	}
	if s.Running {
		s.Pid = st.Pid
	}
	return s
}

// fileOf is a file of a container's directory, "" when it is not there.
func fileOf(c *record.Container, name string) string {
	p := filepath.Join(c.Dir(), name)
	if _, err := os.Stat(p); err != nil {
		return ""
	}
	return p
}

// graphDriver tells where the files of a snapshot are, as far as that can be found out.
func (e *Engine) graphDriver(ctx context.Context, find func(snapshots) (mount.Mount, error)) GraphDriver {
	d := GraphDriver{Data: map[string]string{}}
	ch, err := e.choose(ctx)
	if err != nil {
		return d
	}
	d.Name = ch.Driver
	snaps, err := e.snapshots(ctx)
	if err != nil {
		return d
	}
	m, err := find(snaps)
	switch {
	case err != nil:
	case m.Kind == mount.Overlay:
		d.Data["LowerDir"], d.Data["UpperDir"] = joinPaths(m.Lower), m.Upper
		if m.Work != "" {
			d.Data["WorkDir"] = m.Work
		}
	case d.Name == DriverOverlay && m.ReadOnly:
		d.Data["UpperDir"] = m.Source // the only layer
	default:
		d.Data["Dir"] = m.Source
	}
	return d
}

// mountPoints are what a container sees besides its image; a --tmpfs is in HostConfig.
func mountPoints(l *launch) []MountPoint {
	list := []MountPoint{}
	modes := volumeModes(l.opts.Volumes)
	memory := tmpfsOf(l.opts.Tmpfs)
	for _, m := range l.c.Config.Mounts {
		if _, ok := memory[m.Destination]; ok {
			continue
		}
		p := MountPoint{
			Type: m.Type, Name: m.Name, Source: m.Source, Destination: m.Destination, Mode: modes[m.Destination], RW: !m.ReadOnly && m.Type != "image", Propagation: m.Propagation,
		}
		if m.Type == string(mountVolume) {
			p.Driver = volumeDriver
		}
		list = append(list, p)
	}
	return list
}

func stamp(t time.Time) string {
	return t.UTC().Format(time.RFC3339Nano)
}
