package image

import (
	"maps"
	"slices"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Config is an image config (OCI image-spec, config.md) with the fields that
// Docker adds to it (Docker image spec 1.3).
type Config struct {
	ocispec.Image
	// Config shadows ocispec.Image.Config.
	Config ExecConfig `json:"config,omitempty"`
}

// ExecConfig are the execution parameters of an image config.
type ExecConfig struct {
	ocispec.ImageConfig
	dockerspec.DockerOCIImageConfigExt
	// StopTimeout in seconds, as Docker's image config has it.
	StopTimeout *int `json:",omitempty"`
}

// Clone returns a copy that shares no slice or map with c.
func (c Config) Clone() Config {
	e := &c.Config
	e.Env = slices.Clone(e.Env)
	e.Cmd = slices.Clone(e.Cmd)
	e.Entrypoint = slices.Clone(e.Entrypoint)
	e.OnBuild = slices.Clone(e.OnBuild)
	e.Shell = slices.Clone(e.Shell)
	e.ExposedPorts = maps.Clone(e.ExposedPorts)
	e.Volumes = maps.Clone(e.Volumes)
	e.Labels = maps.Clone(e.Labels)
	if e.Healthcheck != nil {
		h := *e.Healthcheck
		h.Test = slices.Clone(h.Test)
		e.Healthcheck = &h
	}
	c.History = slices.Clone(c.History)
	c.RootFS.DiffIDs = slices.Clone(c.RootFS.DiffIDs)
	return c
}
