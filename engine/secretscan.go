package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/harmless"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/secret"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// SecretsOptions say how secrets are looked for.
type SecretsOptions struct {
	Platform string
	// Allow is an allow-list, as package secret has it; AllowName is its name in errors.
	Allow     []byte
	AllowName string
}

// SecretFinding is a secret. Nothing in it tells the secret itself.
type SecretFinding struct {
	// Where is file, env, label, annotation, command, history or config; Name is which variable, label, annotation or field, or which entry of the history, from 1.
	Where string
	Name  string `json:",omitempty"`
	secret.Finding
	// Hidden is set when the file, or this content of it, is not in the image any more: the layer HiddenBy (from 1; 0 when it is not known)
	// has removed or replaced it. Whoever pulls the image has the layer all the same.
	Hidden   bool `json:",omitempty"`
	HiddenBy int  `json:",omitempty"`
	// Place is what brought it: empty for a directory and for all of the config but the history, whose entries can have a layer.
	Place ScanPlace `json:",omitzero"`
}

// SecretsReport is what was found.
type SecretsReport struct {
	// Image is what was asked for; the others are empty for a directory.
	Image                string
	ID, Digest, Platform string `json:",omitempty"`
	// Layers, Files and Bytes are how much was looked at.
	Layers   int `json:",omitempty"`
	Files    int
	Bytes    int64
	Findings []SecretFinding
	// Allowed is how many more were found that the allow-list accepts, Expired its lines that have ended.
	Allowed int
	Expired []secret.Allowed `json:",omitempty"`
	// More are files with more findings than are told, Unread those that could not be read, and Cut is set when there are too many findings, or Closed, to tell all. With any of
	// them the findings are not all.
	More   []string `json:",omitempty"`
	Unread []string `json:",omitempty"`
	// Closed are archives that were not looked into to their end: see secret.Result.
	Closed []string `json:",omitempty"`
	Cut    bool     `json:",omitempty"`
}

// ErrNotAll is the class of errors of a search that could not look at everything.
const ErrNotAll errdefs.Class = "not everything was looked at"

// Complete is nil when all was looked at and all is told, and else an error of class ErrNotAll.
func (r *SecretsReport) Complete() error {
	var lacks []string
	if n := len(r.Unread); n > 0 {
		lacks = append(lacks, fmt.Sprintf("%d files could not be read, such as %s", n, harmless.Line(r.Unread[0])))
	}
	if n := len(r.More); n > 0 {
		lacks = append(lacks, fmt.Sprintf("%d files have more than is told, such as %s", n, harmless.Line(r.More[0])))
	}
	if n := len(r.Closed); n > 0 {
		lacks = append(lacks, fmt.Sprintf("%d archives are too big or too deep to look into all of them, such as %s", n, harmless.Line(r.Closed[0])))
	}
	if r.Cut {
		lacks = append(lacks, fmt.Sprintf("there are more than %d findings, or archives that were not looked into to their end, and no more are told", secret.MaxTotal))
	}
	if len(lacks) == 0 {
		return nil
	}
	return errdefs.New(ErrNotAll, "%s was not looked at as a whole: %s", r.Image, strings.Join(lacks, "; "))
}

// Secrets looks for secrets in all layers of an image, also in files that later layers remove, and in its config; or, when name is that of a directory that is no OCI layout (also
// dir:PATH), in its files. What was found in a layer is remembered, without the secrets, so that each is read once.
func (e *Engine) Secrets(ctx context.Context, name string, o SecretsOptions, sink progress.Sink) (*SecretsReport, error) {
	allow, err := secret.ParseAllow(o.Allow)
	if err != nil {
		return nil, fmt.Errorf("allow-list %s: %w", o.AllowName, err)
	}
	s, err := secret.New()
	if err != nil {
		return nil, err
	}
	r := &SecretsReport{Image: name, Findings: []SecretFinding{}}
	if dir, ok := e.directory(ctx, name); ok {
		err = r.directory(ctx, s, dir)
	} else {
		err = e.imageSecrets(ctx, s, r, o.Platform, progress.Or(sink))
	}
	if err != nil {
		return nil, fmt.Errorf("look for secrets in %s: %w", name, err)
	}
	r.allow(allow, time.Now())
	e.noteExpired(o.AllowName, r.Expired)
	return r, nil
}

// directory tells whether a name means the files of a directory.
func (e *Engine) directory(ctx context.Context, name string) (string, bool) {
	if dir, ok := strings.CutPrefix(name, "dir:"); ok {
		return dir, true
	}
	info, err := os.Stat(name)
	if err != nil || !info.IsDir() {
		return "", false
	}
	if _, err := os.Stat(filepath.Join(name, "oci-layout")); err == nil {
		return "", false
	}
	_, err = e.resolve(ctx, name) // an image of that name comes first, as everywhere
	return name, err != nil
}

func (r *SecretsReport) directory(ctx context.Context, s *secret.Scanner, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	sum, err := s.Tree(ctx, root.FS())
	if err != nil {
		return err
	}
	r.count(s, &sum)
	for _, f := range sum.Findings {
		f.Path = s.Mask(f.Path)
		r.Findings = append(r.Findings, SecretFinding{Where: "file", Finding: f})
	}
	return nil
}

func (r *SecretsReport) count(s *secret.Scanner, sum *secret.Summary) {
	r.Files += sum.Files
	r.Bytes += sum.Bytes
	r.Unread = append(r.Unread, sum.Unread...) // masked already
	for _, name := range sum.More {
		r.More = append(r.More, s.Mask(name))
	}
	for _, name := range sum.Closed {
		r.Closed = append(r.Closed, s.Mask(name))
	}
	r.Cut = r.Cut || sum.Cut
}

func (e *Engine) imageSecrets(ctx context.Context, s *secret.Scanner, r *SecretsReport, want string, sink progress.Sink) (err error) {
	at, err := e.find(ctx, r.Image, want, sink)
	if err != nil {
		return err
	}
	if at.close != nil {
		defer func() { err = errors.Join(err, at.close()) }()
	}
	return e.locatedSecrets(ctx, s, r, at, sink)
}

// locatedSecrets looks into an image that was found.
func (e *Engine) locatedSecrets(ctx context.Context, s *secret.Scanner, r *SecretsReport, at located, sink progress.Sink) error {
	img := at.image
	r.ID, r.Digest, r.Platform, r.Layers = img.ID().String(), img.Descriptor.Digest.String(), platform.Format(img.Config.Platform), len(img.Layers)
	sums, err := e.layerSecrets(ctx, s, at, sink)
	if err != nil {
		return err
	}
	places, err := e.places(ctx, img)
	if err != nil {
		return err
	}
	found := false
	for i := range sums {
		r.count(s, &sums[i])
		places[i].Instruction = s.Mask(places[i].Instruction)
		found = found || len(sums[i].Findings) > 0
	}
	r.config(s, img, places)
	if !found { // to know what is hidden needs the lists of all layers
		return nil
	}
	a, err := anatomy.Open(ctx, at.provider, watched{e.indexes(), sink}, img)
	if err != nil {
		return err
	}
	var files []SecretFinding
	for i := range sums {
		for _, f := range sums[i].Findings {
			x := SecretFinding{Where: "file", Finding: f, Place: places[i]}
			outer, _, _ := strings.Cut(f.Path, secret.Inside)
			x.Hidden, x.HiddenBy = hidden(a, i, outer)
			x.Path = s.Mask(f.Path)
			files = append(files, x)
		}
	}
	r.Findings = append(files, r.Findings...)
	return nil
}

// layerSecrets looks into the layers.
func (e *Engine) layerSecrets(ctx context.Context, s *secret.Scanner, at located, sink progress.Sink) ([]secret.Summary, error) {
	sums := make([]secret.Summary, len(at.image.Layers))
	store := e.secretFinds(secret.Version())
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, desc := range at.image.Layers {
		diffID := at.image.DiffIDs[i]
		g.Go(func() (err error) {
			kept, err := store.verified(gctx, at.provider, desc, diffID)
			if err != nil {
				return fmt.Errorf("layer %d: %w", i+1, err)
			}
			if kept != nil {
				sums[i] = *kept
				return nil
			}
			if sums[i], err = lookIntoLayer(gctx, s, at.provider, desc, diffID, sink); err != nil {
				return fmt.Errorf("layer %d: %w", i+1, err)
			}
			return store.putLayer(desc, diffID, &sums[i])
		})
	}
	return sums, g.Wait()
}

// lookIntoLayer looks into all files of a layer.
func lookIntoLayer(ctx context.Context, s *secret.Scanner, p content.Provider, desc ocispec.Descriptor, diffID digest.Digest, sink progress.Sink) (sum secret.Summary, err error) {
	ev := progress.Event{ID: "secrets-" + desc.Digest.String(), Name: "look into layer " + desc.Digest.String(), Total: desc.Size}
	sink.Emit(ev)
	r, err := layer.Open(ctx, p, desc, diffID, layer.OpenOptions{})
	if err == nil {
		sum, err = s.Tar(ctx, r)
		err = errors.Join(err, r.Close())
	}
	if ev.State, ev.Err = progress.Done, err; err != nil {
		ev.State = progress.Failed
	}
	sink.Emit(ev)
	return sum, err
}

// hidden tells whether a later layer removed or replaced the file that layer (from 0) has at path.
func hidden(a *anatomy.Image, layer int, path string) (bool, int) {
	found, err := a.Find(path)
	if err != nil {
		return true, 0
	}
	if found.Node.Path() != path { // a link leads elsewhere by now, or did so all the time
		return len(found.Hops) > 0 && found.Hops[len(found.Hops)-1].Layer > layer, 0
	}
	for _, v := range found.Node.Versions {
		if v.Layer > layer && (v.Change == anatomy.Replaced || v.Change == anatomy.Gone) {
			return true, v.Layer + 1
		}
	}
	return false, 0
}

// allow takes out what the list accepts.
func (r *SecretsReport) allow(list []secret.Allowed, now time.Time) {
	valid, expired := validAllowed(list, now)
	r.Expired = expired
	all := len(r.Findings)
	r.Findings = slices.DeleteFunc(r.Findings, func(f SecretFinding) bool {
		return slices.ContainsFunc(valid, func(a secret.Allowed) bool { return a.Covers(&f.Finding) })
	})
	r.Allowed = all - len(r.Findings)
}
