package engine

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/image"
	"github.com/camada/camada/secret"
)

// config looks for secrets in what an image says of itself. Names of variables, labels and annotations are shown, their values never.
func (r *SecretsReport) config(s *secret.Scanner, img *image.Image, places []ScanPlace) {
	look := func(where, name, text string, at ScanPlace) {
		res := s.Text(text, "")
		for _, f := range res.Findings {
			r.Findings = append(r.Findings, SecretFinding{Where: where, Name: s.Mask(name), Finding: f, Place: at})
		}
		if res.More {
			r.More = append(r.More, where+" "+s.Mask(name))
		}
	}
	c := &img.Config.Config
	none := ScanPlace{}
	for _, v := range c.Env {
		name, _, _ := strings.Cut(v, "=")
		look("env", name, v, none)
	}
	for _, k := range slices.Sorted(maps.Keys(c.Labels)) {
		look("label", k, k+"="+c.Labels[k], none)
	}
	for _, k := range slices.Sorted(maps.Keys(img.Manifest.Annotations)) {
		look("annotation", k, k+"="+img.Manifest.Annotations[k], none)
	}
	look("command", "Entrypoint", strings.Join(c.Entrypoint, " "), none)
	look("command", "Cmd", strings.Join(c.Cmd, " "), none)
	look("command", "Shell", strings.Join(c.Shell, " "), none)
	look("command", "OnBuild", strings.Join(c.OnBuild, "\n"), none)
	if c.Healthcheck != nil {
		look("command", "Healthcheck", strings.Join(c.Healthcheck.Test, " "), none)
	}
	look("config", "Author", img.Config.Author, none)
	layer := 0
	for i := range img.Config.History {
		h := &img.Config.History[i]
		at := none
		if !h.EmptyLayer {
			if layer < len(places) {
				at = places[layer]
			}
			layer++
		}
		look("history", strconv.Itoa(i+1), h.CreatedBy, at)
		look("history", strconv.Itoa(i+1), h.Comment, at)
	}
}
