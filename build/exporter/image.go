// Package exporter writes the result of a build as an OCI image: its config
// and its manifest, as canonical JSON in a content store. It sets no ref.
//
//	res, err := exporter.Write(ctx, store, img, layers)
package exporter

import (
	"maps"
	"slices"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is an OCI image config (image-spec, config.md) with the fields that
// Docker adds to it.
type Image struct {
	ocispec.Image
	// Config shadows ocispec.Image.Config.
	Config ImageConfig `json:"config,omitempty"`
}

// ImageConfig is the execution part of an image config.
type ImageConfig struct {
	ocispec.ImageConfig
	dockerspec.DockerOCIImageConfigExt
	// StopTimeout in seconds, as Docker's image config has it.
	StopTimeout *int `json:",omitempty"`
}

// Clone returns a copy that shares no slice or map with img.
func (img Image) Clone() Image {
	c := &img.Config
	c.Env = slices.Clone(c.Env)
	c.Cmd = slices.Clone(c.Cmd)
	c.Entrypoint = slices.Clone(c.Entrypoint)
	c.OnBuild = slices.Clone(c.OnBuild)
	c.Shell = slices.Clone(c.Shell)
	c.ExposedPorts = maps.Clone(c.ExposedPorts)
	c.Volumes = maps.Clone(c.Volumes)
	c.Labels = maps.Clone(c.Labels)
	if c.Healthcheck != nil {
		h := *c.Healthcheck
		h.Test = slices.Clone(h.Test)
		c.Healthcheck = &h
	}
	img.History = slices.Clone(img.History)
	img.RootFS.DiffIDs = slices.Clone(img.RootFS.DiffIDs)
	return img
}
