package engine

import (
	"fmt"
	"maps"
	"strings"

	"github.com/camada/camada/network"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
)

// ContainerConfig is what runs; the names are docker's.
type ContainerConfig struct {
	Hostname     string
	Domainname   string
	User         string
	AttachStdin  bool
	AttachStdout bool
	AttachStderr bool
	// ExposedPorts are PORT/PROTOCOL.
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Tty          bool
	OpenStdin    bool
	StdinOnce    bool
	Env          []string
	Cmd          []string
	Healthcheck  *dockerspec.HealthcheckConfig `json:",omitempty"`
	Image        string
	// Volumes are those of the image, and those of -v without a name.
	Volumes     map[string]struct{}
	WorkingDir  string
	Entrypoint  []string
	OnBuild     []string
	Labels      map[string]string
	StopSignal  string   `json:",omitempty"`
	StopTimeout *int     `json:",omitempty"`
	Shell       []string `json:",omitempty"`
}

// containerConfig joins what the image says and what the user said.
func (l *launch) containerConfig() ContainerConfig {
	o, cfg := l.opts, l.c.Config
	attached := !o.Detach
	c := ContainerConfig{
		Hostname: cfg.Hostname, Domainname: o.Domainname, User: cfg.User, AttachStdin: attached && o.Interactive, AttachStdout: attached, AttachStderr: attached,
		ExposedPorts: l.exposedPorts(), Tty: cfg.TTY, OpenStdin: o.Interactive, StdinOnce: attached && o.Interactive, Env: l.givenEnv(), Healthcheck: l.healthConfig(),
		Image: orElse(o.Image, cfg.ImageName), WorkingDir: cfg.Workdir, Labels: map[string]string{}, StopSignal: cfg.StopSignal, StopTimeout: o.StopTimeout,
		Shell: l.Image.Shell,
	}
	maps.Copy(c.Labels, cfg.Labels)
	if c.StopTimeout == nil {
		c.StopTimeout = l.Image.StopTimeout
	}
	c.Entrypoint, c.Cmd = l.Image.Entrypoint, o.Args
	if o.Entrypoint != nil {
		c.Entrypoint = nil
		if *o.Entrypoint != "" {
			c.Entrypoint = []string{*o.Entrypoint}
		}
	} else if len(o.Args) == 0 {
		c.Cmd = l.Image.Cmd
	}
	for _, text := range o.Volumes {
		if !strings.Contains(text, ":") {
			c.addVolume(text)
		}
	}
	for v := range l.Image.Volumes {
		c.addVolume(v)
	}
	return c
}

func (c *ContainerConfig) addVolume(target string) {
	if c.Volumes == nil {
		c.Volumes = map[string]struct{}{}
	}
	c.Volumes[target] = struct{}{}
}

// givenEnv is the user's environment, and the image's as far as the user did not change it.
func (l *launch) givenEnv() []string {
	env := append([]string{}, l.opts.Env...)
	for _, kv := range l.Image.Env {
		name, _, _ := strings.Cut(kv, "=")
		if !hasEnv(l.opts.Env, name) {
			env = append(env, kv)
		}
	}
	return env
}

// exposedPorts are the image's, those of --expose and those that are published.
func (l *launch) exposedPorts() map[string]struct{} {
	all := map[string]struct{}{}
	for p := range l.Image.ExposedPorts {
		if !strings.Contains(p, "/") {
			p += "/tcp"
		}
		all[p] = struct{}{}
	}
	for _, text := range l.opts.Net.Expose {
		ports, _ := exposed(text)
		for _, p := range ports {
			all[containerPort(p)] = struct{}{}
		}
	}
	for _, p := range l.Ports {
		all[containerPort(p)] = struct{}{}
	}
	return all
}

// containerPort is PORT/PROTOCOL inside.
func containerPort(p network.PortMapping) string {
	return fmt.Sprintf("%d/%s", p.ContainerPort, p.Protocol)
}

// healthConfig joins the image's health check and the user's.
func (l *launch) healthConfig() *dockerspec.HealthcheckConfig {
	o := l.opts.Health
	if o.Disable {
		return &dockerspec.HealthcheckConfig{Test: []string{"NONE"}}
	}
	var h dockerspec.HealthcheckConfig
	if l.Image.Healthcheck != nil {
		h = *l.Image.Healthcheck
	}
	if o.Cmd != "" {
		h.Test = []string{"CMD-SHELL", o.Cmd}
	}
	if o.Interval > 0 {
		h.Interval = o.Interval
	}
	if o.Timeout > 0 {
		h.Timeout = o.Timeout
	}
	if o.StartPeriod > 0 {
		h.StartPeriod = o.StartPeriod
	}
	if o.StartInterval > 0 {
		h.StartInterval = o.StartInterval
	}
	if o.Retries > 0 {
		h.Retries = o.Retries
	}
	if len(h.Test) == 0 {
		return nil
	}
	return &h
}
