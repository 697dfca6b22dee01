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
	eachText(&img.Config, img.Manifest.Annotations, func(where, name, text string, layer int) {
		var at ScanPlace
		if layer > 0 && layer <= len(places) {
			at = places[layer-1]
		}
		res := s.Text(text, "")
		for _, f := range res.Findings {
			r.Findings = append(r.Findings, SecretFinding{Where: where, Name: s.Mask(name), Finding: f, Place: at})
		}
		if res.More {
			r.More = append(r.More, where+" "+s.Mask(name))
		}
	})
}

// eachText calls look with all that an image says of itself. layer is that of an entry of the history, from 1, and else 0.
func eachText(cfg *image.Config, annotations map[string]string, look func(where, name, text string, layer int)) {
	c := &cfg.Config
	for _, v := range c.Env {
		name, _, _ := strings.Cut(v, "=")
		look("env", name, v, 0)
	}
	for _, k := range slices.Sorted(maps.Keys(c.Labels)) {
		look("label", k, k+"="+c.Labels[k], 0)
	}
	for _, k := range slices.Sorted(maps.Keys(annotations)) {
		look("annotation", k, k+"="+annotations[k], 0)
	}
	look("command", "Entrypoint", strings.Join(c.Entrypoint, " "), 0)
	look("command", "Cmd", strings.Join(c.Cmd, " "), 0)
	look("command", "Shell", strings.Join(c.Shell, " "), 0)
	look("command", "OnBuild", strings.Join(c.OnBuild, "\n"), 0)
	if c.Healthcheck != nil {
		look("command", "Healthcheck", strings.Join(c.Healthcheck.Test, " "), 0)
	}
	look("config", "Author", cfg.Author, 0)
	layer := 0
	for i := range cfg.History {
		h := &cfg.History[i]
		at := 0
		if !h.EmptyLayer {
			layer++
			at = layer
		}
		look("history", strconv.Itoa(i+1), h.CreatedBy, at)
		look("history", strconv.Itoa(i+1), h.Comment, at)
	}
}
