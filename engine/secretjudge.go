package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/attest"
	"github.com/camada/camada/build/graph"
	"github.com/camada/camada/content"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/internal/harmless"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/secret"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// At says for people where a finding is.
func (f *SecretFinding) At() string {
	path := f.Path
	if f.Place.Layer > 0 {
		path = "/" + path
	}
	switch {
	case f.Where != "file":
		return f.Where + " " + f.Name
	case f.Line == 0:
		return path
	}
	return fmt.Sprintf("%s:%d:%d", path, f.Line, f.Column)
}

// tell says all of a finding in one line.
func (f *SecretFinding) tell() string {
	text := fmt.Sprintf("%s %s in %s (%s)", f.Rule, f.Secret, harmless.Line(f.At()), f.Fingerprint)
	if f.Place.Layer > 0 {
		text = fmt.Sprintf("layer %d: %s", f.Place.Layer, text)
	}
	return text
}

// refusedSecrets is why a guard refuses something.
type refusedSecrets struct{ text string }

func (r *refusedSecrets) Error() string { return r.text }

// Hint says what to do about it.
func (r *refusedSecrets) Hint() string {
	return "give secrets to RUN with --mount=type=secret, and to containers when they run; --secrets-allow FILE accepts what its lines name by fingerprint or path"
}

// tooMuch says that the search in a file was ended.
const tooMuch = "so much looks like secrets that not all was looked at"

// tooMany says that of what was found in a layer a part is not told.
const tooMany = "there are so many secrets, or archives that cannot be looked into, that not all are told"

// refusal makes an error of what was found, and of what was not looked at.
func refusal(found []SecretFinding, lacks string) error {
	var list []string
	for i := range found[:min(len(found), guardTold)] {
		list = append(list, found[i].tell())
	}
	if len(found) > len(list) {
		list = append(list, "and more")
	}
	if lacks != "" {
		list = append(list, lacks)
	}
	are := "are"
	if len(found) == 0 {
		are = "may be"
	}
	return errdefs.With(secret.ErrFound, &refusedSecrets{"there " + are + " secrets: " + strings.Join(list, "; ")})
}

// judge decides about what was found at a place of the Dockerfile; lacks says what was not looked at there, "" for nothing.
func (g *secretGuard) judge(at []parser.Range, found []SecretFinding, lacks string) error {
	found = slices.DeleteFunc(found, func(f SecretFinding) bool {
		return slices.ContainsFunc(g.allow, func(a secret.Allowed) bool { return a.Covers(&f.Finding) })
	})
	if len(found) == 0 && lacks == "" {
		return nil
	}
	if g.block {
		return refusal(found, lacks)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if lacks != "" && !g.seen[lacks] {
		g.seen[lacks] = true
		g.warn(at, lacks)
	}
	told := 0
	for i := range found {
		f := &found[i]
		key := f.Fingerprint
		if f.Where == "file" {
			key += f.At()
		}
		if g.seen[key] {
			continue
		}
		g.seen[key] = true
		if told++; told > guardTold {
			g.warn(at, fmt.Sprintf("and %d more there", len(found)-i))
			break
		}
		g.warn(at, f.tell())
	}
	return nil
}

// warn keeps a warning; the lock is held.
func (g *secretGuard) warn(at []parser.Range, text string) {
	g.warnings = append(g.warnings, dockerfile.Warning{Rule: "SecretFound", Description: "Whoever has the image has the secrets that are in it", Text: text, Location: at})
}

// told are the warnings in the order of the Dockerfile.
func (g *secretGuard) told() []dockerfile.Warning {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	f := dockerfile.File{Warnings: slices.Clone(g.warnings)}
	f.SortWarnings()
	return f.Warnings
}

// notices tells the warnings where there is no Dockerfile.
func (g *secretGuard) notices() {
	for _, w := range g.told() {
		g.e.notice("secret: " + w.Text)
	}
}

// summary judges what was found in a layer, whose number is n, or 0 for a layer that has none yet.
func (g *secretGuard) summary(at []parser.Range, n int, sum *secret.Summary) error {
	found := make([]SecretFinding, 0, len(sum.Findings))
	for _, f := range sum.Findings {
		if slices.ContainsFunc(g.allow, func(a secret.Allowed) bool { return a.Covers(&f) }) {
			continue
		}
		s, err := g.scanner()
		if err != nil {
			return err
		}
		f.Path = s.Mask(f.Path)
		if n == 0 {
			f.Path = "/" + f.Path
		}
		found = append(found, SecretFinding{Where: "file", Finding: f, Place: ScanPlace{Layer: n}})
	}
	lacks, err := g.lacks(sum)
	if err != nil {
		return err
	}
	return g.judge(at, found, lacks)
}

// lacks says what of a layer was not looked at; "" when all was. Archives that cannot be looked into as a whole are accepted by lines of the allow-list that accept whatever is in them.
func (g *secretGuard) lacks(sum *secret.Summary) (string, error) {
	if len(sum.More) > 0 {
		return tooMuch, nil
	}
	if sum.Cut {
		return tooMany, nil
	}
	if !g.full {
		return "", nil
	}
	for _, name := range sum.Closed {
		outer, _, _ := strings.Cut(name, secret.Inside)
		if slices.ContainsFunc(g.allow, func(a secret.Allowed) bool {
			return a.Rule == "" && a.Fingerprint == "" && (a.Covers(&secret.Finding{Path: name}) || a.Covers(&secret.Finding{Path: outer}))
		}) {
			continue
		}
		s, err := g.scanner()
		if err != nil {
			return "", err
		}
		return "not all that is in the archive /" + harmless.Line(s.Mask(name)) + " can be looked at", nil
	}
	return "", nil
}

// inLayer is what is in a layer: what is remembered of it, or what is found now.
func (g *secretGuard) inLayer(ctx context.Context, p content.Provider, desc ocispec.Descriptor, diffID digest.Digest, sink progress.Sink) (*secret.Summary, error) {
	sum, err := g.finds().verified(ctx, p, desc, diffID)
	if err != nil || sum != nil {
		return sum, err
	}
	return g.read(ctx, p, desc, diffID, sink)
}

// remembered is what is remembered of a layer; nil for nothing, or when it is not here, so that it would have to be fetched to know that it is that layer. A guard that is not asked to look
// into layers makes no error of one that cannot be read: there is nothing that it knows of it.
func (g *secretGuard) remembered(ctx context.Context, desc ocispec.Descriptor, diffID digest.Digest) (*secret.Summary, error) {
	sum, known := g.finds().layer(desc, diffID)
	if known {
		return sum, nil
	}
	_, err := g.e.content.Stat(ctx, desc.Digest)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err == nil {
		sum, err = g.finds().verified(ctx, g.e.content, desc, diffID)
	}
	if err != nil && !g.full {
		return nil, ctx.Err()
	}
	return sum, err
}

// read looks into all of a layer, and remembers what it finds.
func (g *secretGuard) read(ctx context.Context, p content.Provider, desc ocispec.Descriptor, diffID digest.Digest, sink progress.Sink) (*secret.Summary, error) {
	s, err := g.scanner()
	if err != nil {
		return nil, err
	}
	sum, err := lookIntoLayer(ctx, s, p, desc, diffID, progress.Or(sink))
	if err != nil {
		return nil, err
	}
	_ = g.finds().putLayer(desc, diffID, &sum)
	return &sum, nil
}

// sent looks at an image, or all those of an index, before it is sent to a place. What is there already, as far as there can tell, is not read.
func (g *secretGuard) sent(ctx context.Context, src content.Provider, root ocispec.Descriptor, there func(digest.Digest) bool, sink progress.Sink) error {
	if g == nil {
		return nil
	}
	manifests := []ocispec.Descriptor{root}
	if image.IsIndex(root.MediaType) {
		var err error
		if manifests, err = image.Manifests(ctx, src, root); err != nil {
			return err
		}
		if err := g.notes(ctx, src, root); err != nil {
			return err
		}
	}
	for _, m := range manifests {
		_, doc, err := image.ReadManifest(ctx, src, m)
		if errdefs.IsNotFound(err) || err == nil && !image.IsConfig(doc.Config.MediaType) {
			continue // it is not here, and not sent; or no image
		}
		if err != nil {
			return err
		}
		if err := g.sentImage(ctx, src, m, there, sink); err != nil {
			return err
		}
	}
	return nil
}

// keptBack reports whether a layer is not sent to registries, as package transfer decides it.
func keptBack(l ocispec.Descriptor) bool { return len(l.URLs) > 0 && image.IsForeign(l.MediaType) }

// notes looks at the annotations of an index, which stand in none of the manifests.
func (g *secretGuard) notes(ctx context.Context, src content.Provider, root ocispec.Descriptor) error {
	_, idx, err := image.ReadIndex(ctx, src, root)
	if err != nil {
		return err
	}
	var notes annotations
	add := func(place string, all map[string]string) {
		for _, k := range slices.Sorted(maps.Keys(all)) {
			notes = append(notes, annotation{place: place, key: k, value: all[k]})
		}
	}
	add(inIndex, idx.Annotations)
	for _, d := range idx.Manifests {
		add(inDescriptor, d.Annotations)
	}
	return g.indexNotes(notes)
}

// indexNotes looks at those annotations that an index gets; the builds of the images do not know them.
func (g *secretGuard) indexNotes(notes annotations) error {
	var texts []graph.Text
	for _, a := range notes {
		if a.place != inManifest {
			texts = append(texts, graph.Text{Where: "annotation", Name: a.key, Text: a.key + "=" + a.value})
		}
	}
	_, err := g.Texts(texts)
	return err
}

// stated looks at what a provenance repeats: arguments that no instruction takes are among them, and comments.
func (g *secretGuard) stated(p *attest.Provenance) error {
	if g == nil {
		return nil
	}
	var texts []graph.Text
	args := p.BuildDefinition.ExternalParameters.Args
	for _, k := range slices.Sorted(maps.Keys(args)) {
		texts = append(texts, graph.Text{Where: "arg", Name: k, Text: k + "=" + args[k]})
	}
	if text := p.BuildDefinition.InternalParameters.DockerfileText; text != "" {
		texts = append(texts, graph.Text{Where: "provenance", Name: "Dockerfile", Text: text})
	}
	_, err := g.Texts(texts)
	return advised(err)
}

func (g *secretGuard) sentImage(ctx context.Context, src content.Provider, desc ocispec.Descriptor, there func(digest.Digest) bool, sink progress.Sink) error {
	img, err := image.Open(ctx, src, desc, ocispec.Platform{})
	if err != nil {
		return err
	}
	// The annotations are in the manifest, and it decides.
	if kept, name := g.finds(), aside("image", img.Descriptor.Digest); !kept.clean(name) {
		n, err := g.config(&img.Config, img.Manifest.Annotations)
		if err != nil {
			return err
		}
		if n == 0 {
			kept.putClean(name)
		}
	}
	for i, l := range img.Layers {
		sum, err := g.remembered(ctx, l, img.DiffIDs[i])
		if sum == nil && err == nil && g.full && (there == nil || !keptBack(l) && !there(l.Digest)) {
			sum, err = g.inLayer(ctx, src, l, img.DiffIDs[i], sink)
		}
		if errdefs.IsNotFound(err) && len(l.URLs) > 0 {
			continue // it is not here, and not sent
		}
		if err != nil {
			return fmt.Errorf("look for secrets in layer %d: %w", i+1, err)
		}
		if sum == nil {
			continue
		}
		if err := g.summary(nil, i+1, sum); err != nil {
			return err
		}
	}
	return nil
}

// pushed looks at an image before it is pushed to the registries of names.
func (g *secretGuard) pushed(ctx context.Context, src content.Provider, refs []reference.Reference, desc ocispec.Descriptor, sink progress.Sink) error {
	if g == nil {
		return nil
	}
	for _, ref := range refs {
		repo := g.e.registries().Repository(ref)
		there := func(d digest.Digest) bool {
			_, err := repo.Stat(ctx, d)
			return err == nil
		}
		if err := g.sent(ctx, src, desc, there, sink); err != nil {
			return fmt.Errorf("push %s: %w", ref.Familiar(), advised(err))
		}
	}
	return nil
}

// advised puts what to do about an error behind it.
func advised(err error) error {
	var r *refusedSecrets
	if errors.As(err, &r) {
		return fmt.Errorf("%w; %s", err, r.Hint())
	}
	return err
}

// validAllowed parts the lines that count from those that have ended.
func validAllowed(list []secret.Allowed, now time.Time) (valid, expired []secret.Allowed) {
	for _, a := range list {
		if a.Expired(now) {
			expired = append(expired, a)
		} else {
			valid = append(valid, a)
		}
	}
	return valid, expired
}
