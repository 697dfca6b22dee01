package engine

import (
	"context"
	"time"

	"github.com/camada/camada/container/record"
)

// ContainerInspect is what inspect shows of a container, in the form of docker's.
type ContainerInspect struct {
	ID              string `json:"Id"`
	Created         string
	Path            string
	Args            []string
	State           ContainerState
	Image           string
	Name            string
	LogPath         string
	Driver          string
	HostConfig      HostConfig
	Config          ContainerConfig
	NetworkSettings NetworkSettings
	RestartCount    int
	Snapshot        string
}

// ContainerState is how it is doing.
type ContainerState struct {
	Status     string
	Running    bool
	Paused     bool
	OOMKilled  bool
	Pid        int
	ExitCode   int
	Error      string
	StartedAt  string
	FinishedAt string
	// Restarting is true between two starts; Health is nil without a health check.
	Restarting bool
	Health     *record.Health `json:",omitempty"`
}

// HostConfig is what was asked for of the host.
type HostConfig struct {
	Binds       []string
	NetworkMode string
	AutoRemove  bool
	Privileged  bool
	Memory      int64
	NanoCpus    int64
	PidsLimit   int64
	// RestartPolicy and LogConfig are as docker shows them.
	RestartPolicy RestartPolicy
	LogConfig     LogConfig
}

// RestartPolicy is when a container is started again.
type RestartPolicy struct {
	Name              string
	MaximumRetryCount int
}

// LogConfig is where the output of a container goes.
type LogConfig struct {
	Type   string
	Config map[string]string
}

// ContainerConfig is what runs.
type ContainerConfig struct {
	Hostname   string
	User       string
	Tty        bool
	Env        []string
	Cmd        []string
	Image      string
	WorkingDir string
	Labels     map[string]string
	StopSignal string
}

// NetworkSettings are the container's address and ports.
type NetworkSettings struct {
	IPAddress  string
	Gateway    string
	MacAddress string
	Ports      []string
	// Networks are those that the container is connected to, by their names.
	Networks map[string]EndpointSettings
}

func (e *Engine) inspectContainer(ctx context.Context, name string) (*ContainerInspect, error) {
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	cfg, st := c.Config, c.State
	v := &ContainerInspect{
		ID: cfg.ID, Created: cfg.Created.Format(time.RFC3339Nano), Image: cfg.ImageID, Name: "/" + cfg.Name, LogPath: c.LogPath(), Snapshot: cfg.Snapshot,
		State: ContainerState{Status: new(statuses).of(c), Running: c.Running(), Paused: paused(c), OOMKilled: st.OOMKilled, ExitCode: st.ExitCode, Error: st.Error,
			StartedAt: stamp(st.Started), FinishedAt: stamp(st.Finished)},
		HostConfig: HostConfig{Binds: cfg.Volumes, NetworkMode: cfg.Network, AutoRemove: cfg.Remove, Privileged: cfg.Privileged,
			Memory: cfg.Memory, NanoCpus: cfg.NanoCPUs, PidsLimit: cfg.PidsLimit},
		Config: ContainerConfig{Hostname: cfg.Hostname, User: cfg.User, Tty: cfg.TTY, Env: cfg.Env, Cmd: cfg.Command, Image: cfg.ImageName,
			WorkingDir: cfg.Workdir, Labels: cfg.Labels, StopSignal: cfg.StopSignal},
	}
	if len(cfg.Command) > 0 {
		v.Path, v.Args = cfg.Command[0], cfg.Command[1:]
	}
	v.State.Restarting, v.State.Health, v.RestartCount = st.Status == record.Restarting, c.Health(), st.RestartCount
	if p, err := parsePolicy(cfg.Restart); err == nil {
		v.HostConfig.RestartPolicy = RestartPolicy{Name: p.name, MaximumRetryCount: p.tries}
	}
	v.HostConfig.LogConfig = LogConfig{Type: orElse(cfg.LogDriver, logJSONFile), Config: map[string]string{}}
	if l, err := launchOf(c); err == nil && l.Options.LogOpts != nil {
		v.HostConfig.LogConfig.Config = l.Options.LogOpts
	}
	if c.Running() {
		v.State.Pid = st.Pid
		v.NetworkSettings = NetworkSettings{IPAddress: address(st), Gateway: st.Gateway, MacAddress: st.MAC, Ports: st.Ports}
	}
	v.NetworkSettings.Networks = e.endpointSettings(c)
	if ch, err := e.choose(ctx); err == nil {
		v.Driver = ch.Driver
	}
	return v, nil
}

func stamp(t time.Time) string {
	return t.UTC().Format(time.RFC3339Nano)
}

// address is the container's address without the length of its network.
func address(st record.State) string {
	for i := range st.Address {
		if st.Address[i] == '/' {
			return st.Address[:i]
		}
	}
	return st.Address
}
