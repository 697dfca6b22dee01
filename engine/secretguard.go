package engine

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/camada/camada/build"
	"github.com/camada/camada/build/graph"
	"github.com/camada/camada/content"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/secret"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/opencontainers/go-digest"
)

// The modes of a SecretsPolicy.
const (
	SecretsBlock = "block"
	SecretsWarn  = "warn"
	SecretsOff   = "off"
)

// SecretsPolicy says what becomes of secrets in what is built, committed and pushed.
type SecretsPolicy struct {
	// Mode is SecretsBlock, which refuses, SecretsWarn or SecretsOff. "" warns of what can be seen at next to no cost: configs, instructions, and what is
	// remembered of layers.
	Mode string
	// Allow is an allow-list, as package secret has it; AllowName is its name in messages.
	Allow     []byte
	AllowName string
}

// guardTold is how many secrets of one layer a warning or an error tells of.
const guardTold = 10

// secretGuard looks for secrets in what is about to be kept or sent. It is a build.Guard.
type secretGuard struct {
	e *Engine
	// block refuses what has secrets; full looks into layers.
	block, full bool
	allow       []secret.Allowed
	version     func() string
	scanner     func() (*secret.Scanner, error)

	mu       sync.Mutex
	warnings []dockerfile.Warning
	// seen are the findings that were warned of.
	seen map[string]bool
}

// newGuard returns what does as a policy says; nil when it is to do nothing.
func (e *Engine) newGuard(p SecretsPolicy) (*secretGuard, error) {
	switch p.Mode {
	case "", SecretsBlock, SecretsWarn:
	case SecretsOff:
		return nil, nil
	default:
		return nil, errdefs.Invalid("secrets: want %s, %s or %s", SecretsBlock, SecretsWarn, SecretsOff)
	}
	list, err := secret.ParseAllow(p.Allow)
	if err != nil {
		return nil, fmt.Errorf("allow-list %s: %w", p.AllowName, err)
	}
	valid, expired := validAllowed(list, time.Now())
	e.noteExpired(p.AllowName, expired)
	return &secretGuard{
		e: e, block: p.Mode == SecretsBlock, full: p.Mode != "", allow: valid,
		version: sync.OnceValue(secret.Version), scanner: sync.OnceValues(secret.New), seen: map[string]bool{},
	}, nil
}

// noteExpired warns of lines of an allow-list that have ended.
func (e *Engine) noteExpired(name string, expired []secret.Allowed) {
	for _, x := range expired {
		e.notice(fmt.Sprintf("%s:%d does not count since %s: %s", name, x.Line, x.Until.Format(time.DateOnly), x.Reason))
	}
}

// finds are what is remembered of layers, and of texts that have no secrets.
func (g *secretGuard) finds() *secretStore { return g.e.secretFinds(g.version()) }

// Texts implements build.Guard. That there is nothing in them is remembered.
func (g *secretGuard) Texts(texts []graph.Text) (int, error) {
	if len(texts) == 0 {
		return 0, nil
	}
	var all strings.Builder
	for _, t := range texts {
		fmt.Fprintf(&all, "%q %q\n", t.Where, t.Text)
	}
	name := aside("texts", digest.FromString(all.String()))
	if g.finds().clean(name) {
		return 0, nil
	}
	clean := true
	for i, t := range texts {
		n, err := g.text(t.Location, t.Where, t.Name, t.Text)
		if err != nil {
			return i, err
		}
		clean = clean && n == 0
	}
	if clean {
		g.finds().putClean(name)
	}
	return 0, nil
}

// text looks at one text, and returns how many secrets are in it; one more when it was not looked at as a whole.
func (g *secretGuard) text(at []parser.Range, where, name, text string) (int, error) {
	s, err := g.scanner()
	if err != nil {
		return 0, err
	}
	res := s.Text(text, "")
	found := make([]SecretFinding, len(res.Findings))
	for i, f := range res.Findings {
		found[i] = SecretFinding{Where: where, Name: s.Mask(name), Finding: f}
	}
	if res.More {
		return len(found) + 1, g.judge(at, found, tooMuch)
	}
	return len(found), g.judge(at, found, "")
}

// config looks at what an image says of itself, and returns how many secrets are in it.
func (g *secretGuard) config(cfg *image.Config, annotations map[string]string) (n int, err error) {
	eachText(cfg, annotations, func(where, name, text string, _ int) {
		if err == nil {
			var k int
			k, err = g.text(nil, where, name, text)
			n += k
		}
	})
	return n, err
}

// Layer implements build.Guard.
func (g *secretGuard) Layer(ctx context.Context, v *graph.Vertex) (build.LayerGuard, error) {
	if !g.full {
		return nil, nil
	}
	return g.layer(ctx, v.Location)
}

func (g *secretGuard) layer(ctx context.Context, at []parser.Range) (*guardedLayer, error) {
	s, err := g.scanner()
	if err != nil {
		return nil, err
	}
	return &guardedLayer{Stream: secret.NewStream(ctx, s), g: g, at: at}, nil
}

// guardedLayer looks at a layer that is being made.
type guardedLayer struct {
	*secret.Stream
	g  *secretGuard
	at []parser.Range
	// found is what Check has accepted.
	found secret.Summary
}

// watch has the layer that is written with these options looked at: to tee goes what is read, and done ends it. A nil guard looks at nothing.
func (g *secretGuard) watch(ctx context.Context, opts *layer.WriteOptions) (tee []io.Writer, done func(), err error) {
	if g == nil || !g.full {
		return nil, func() {}, nil
	}
	l, err := g.layer(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	opts.Check, opts.Stored = l.Check, l.Stored
	return []io.Writer{l}, func() { _ = l.Close() }, nil
}

// Check implements build.LayerGuard.
func (l *guardedLayer) Check(digest.Digest) error {
	sum, err := l.Finish()
	if err != nil {
		return fmt.Errorf("look for secrets in the layer: %w", err)
	}
	if err := l.g.summary(l.at, 0, &sum); err != nil {
		return err
	}
	l.found = sum
	return nil
}

// Stored implements build.LayerGuard. What was found is remembered of the blob, which so need not be read to know that it is that layer.
func (l *guardedLayer) Stored(made layer.Layer) {
	_ = l.g.finds().putLayer(made.Descriptor, made.DiffID, &l.found) // it spares time
}

// Cached implements build.Guard.
func (g *secretGuard) Cached(ctx context.Context, v *graph.Vertex, l layer.Layer, p content.Provider) error {
	sum, err := g.remembered(ctx, l.Descriptor, l.DiffID)
	if sum == nil && err == nil && g.full {
		sum, err = g.inLayer(ctx, p, l.Descriptor, l.DiffID, nil)
	}
	if err != nil {
		return fmt.Errorf("look for secrets in the layer, which is in the cache: %w", err)
	}
	if sum == nil {
		return nil
	}
	return g.summary(v.Location, 0, sum)
}

// sentLayer looks at a layer that is sent to others and is in no image. A nil guard looks at nothing.
func (g *secretGuard) sentLayer(ctx context.Context, p content.Provider, l layer.Layer) error {
	if g == nil || !g.full {
		return nil
	}
	sum, err := g.inLayer(ctx, p, l.Descriptor, l.DiffID, nil)
	if err != nil {
		return fmt.Errorf("look for secrets: %w", err)
	}
	return g.summary(nil, 0, sum)
}
