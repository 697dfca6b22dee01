package engine

import (
	"cmp"
	"context"
	"path"
	"regexp"
	"slices"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/internal/semver"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// SyncFilter chooses tags. The zero value chooses all.
type SyncFilter struct {
	// Tags are patterns (* ? [a-z]) of which a tag has to match one, when there are any; Exclude those of which it must match none.
	Tags, Exclude []string
	// Regexp has to match somewhere in the tag.
	Regexp string
	// Range is a range of versions (>=1.2 <2): tags that are no versions do not pass.
	Range string
	// Newest keeps so many: those of the highest versions with a Range, and otherwise those that were created last. 0 keeps all.
	Newest int
}

// check says what is wrong with the patterns.
func (f SyncFilter) check() error {
	_, err := f.matcher()
	return err
}

// matcher tells of tags whether they are asked for, however new they are.
func (f SyncFilter) matcher() (func(tag string) bool, error) {
	for _, p := range slices.Concat(f.Tags, f.Exclude) {
		if _, err := path.Match(p, ""); err != nil {
			return nil, errdefs.Invalid("pattern of tags %q: %w", p, err)
		}
	}
	if f.Newest < 0 {
		return nil, errdefs.Invalid("the newest %d tags: want a number above 0", f.Newest)
	}
	expression, err := regexp.Compile(f.Regexp)
	if err != nil {
		return nil, errdefs.Invalid("pattern of tags: %w", err)
	}
	var versions semver.Range
	if f.Range != "" {
		if versions, err = semver.ParseRange(f.Range); err != nil {
			return nil, err
		}
	}
	return func(tag string) bool {
		matches := func(p string) bool { ok, err := path.Match(p, tag); return ok && err == nil }
		if len(f.Tags) > 0 && !slices.ContainsFunc(f.Tags, matches) || slices.ContainsFunc(f.Exclude, matches) || !expression.MatchString(tag) {
			return false
		}
		v, ok := semver.Parse(tag)
		return f.Range == "" || ok && versions.Contains(v)
	}, nil
}

// choose returns the tags that pass and are new enough, in the order in which they came.
func (f SyncFilter) choose(ctx context.Context, s *shelfOfTags, all []string) ([]string, error) {
	passes, err := f.matcher()
	if err != nil {
		return nil, err
	}
	var chosen []string
	for _, tag := range all {
		if passes(tag) {
			chosen = append(chosen, tag)
		}
	}
	if f.Newest == 0 || len(chosen) <= f.Newest {
		return chosen, nil
	}
	order := slices.Clone(chosen)
	if f.Range != "" {
		slices.SortStableFunc(order, func(a, b string) int {
			v, _ := semver.Parse(a)
			w, _ := semver.Parse(b)
			return w.Compare(v)
		})
	} else {
		created := map[string]time.Time{}
		for _, tag := range chosen {
			root, err := s.resolve(ctx, tag)
			if err != nil {
				return nil, err
			}
			if created[tag], err = createdAt(ctx, s.from, root); err != nil {
				return nil, err
			}
		}
		slices.SortStableFunc(order, func(a, b string) int { return cmp.Or(created[b].Compare(created[a]), cmp.Compare(b, a)) })
	}
	newest := order[:f.Newest]
	return slices.DeleteFunc(chosen, func(tag string) bool { return !slices.Contains(newest, tag) }), nil
}

// createdAt is when an image says that it was made; the zero time when it does not say.
func createdAt(ctx context.Context, p content.Provider, root ocispec.Descriptor) (time.Time, error) {
	desc := root
	if image.IsIndex(root.MediaType) {
		all, err := image.Manifests(ctx, p, root)
		if err != nil || len(all) == 0 {
			return time.Time{}, err
		}
		desc = all[0]
	}
	_, m, err := image.ReadManifest(ctx, p, desc)
	if err != nil {
		return time.Time{}, err
	}
	if t, err := time.Parse(time.RFC3339, m.Annotations[ocispec.AnnotationCreated]); err == nil {
		return t, nil
	}
	if !image.IsConfig(m.Config.MediaType) {
		return time.Time{}, nil
	}
	_, cfg, err := image.ReadConfig(ctx, p, m.Config)
	if err != nil || cfg.Created == nil {
		return time.Time{}, err
	}
	return *cfg.Created, nil
}
