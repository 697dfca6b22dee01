package engine

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/semver"
	"github.com/camada/camada/reference"
)

// RemoteTagsOptions say which tags of a repository are listed.
type RemoteTagsOptions struct {
	// Repository is a name without a tag.
	Repository string
	// Filters are pattern=GLOB, of which one must match, and semver=RANGE.
	Filters []string
	// Newest keeps so many of the highest versions; 0 keeps all.
	Newest int
	// Sort is SortName, SortVersion or SortNone.
	Sort string
	// Reverse turns the order around.
	Reverse bool
}

// The orders of tags: by name, by version (what is no version first), and as the registry has them.
const (
	SortName    = "name"
	SortVersion = "version"
	SortNone    = "none"
)

// RemoteTag is a tag of a registry.
type RemoteTag struct {
	Repository, Tag string
	// Name is the two together.
	Name string
}

// RemoteTags lists the tags that a registry has of a repository.
func (e *Engine) RemoteTags(ctx context.Context, o RemoteTagsOptions) ([]RemoteTag, error) {
	ref, err := repositoryOnly(o.Repository)
	if err != nil {
		return nil, err
	}
	want := SyncFilter{Newest: o.Newest}
	for _, f := range o.Filters {
		switch key, value, _ := strings.Cut(f, "="); {
		case value != "" && key == "pattern":
			want.Tags = append(want.Tags, value)
		case value != "" && key == "semver" && want.Range == "":
			want.Range = value
		default:
			return nil, errdefs.Invalid("filter %q: want pattern=GLOB, or once semver=RANGE", f)
		}
	}
	passes, err := want.matcher()
	if err != nil {
		return nil, err
	}
	switch o.Sort {
	case "", SortName, SortVersion, SortNone:
	default:
		return nil, errdefs.Invalid("order %q: want %s, %s or %s", o.Sort, SortName, SortVersion, SortNone)
	}
	tags, err := e.registries().Repository(ref).Tags(ctx, 0)
	if err != nil {
		return nil, pullError(ref, err)
	}
	tags = slices.DeleteFunc(tags, func(t string) bool {
		_, isVersion := semver.Parse(t)
		return !reference.ValidTag(t) || !passes(t) || o.Newest > 0 && !isVersion
	})
	if o.Newest > 0 || o.Sort == SortVersion {
		sortVersions(tags)
	} else if o.Sort != SortNone {
		slices.Sort(tags)
	}
	if o.Newest > 0 {
		tags = tags[len(tags)-min(len(tags), o.Newest):]
		if o.Sort == "" {
			slices.Reverse(tags)
		}
	}
	if o.Sort == SortName {
		slices.Sort(tags)
	}
	if o.Reverse {
		slices.Reverse(tags)
	}
	rows := make([]RemoteTag, len(tags))
	for i, t := range tags {
		rows[i] = RemoteTag{Repository: ref.FamiliarName(), Tag: t, Name: ref.WithTag(t).Familiar()}
	}
	return rows, nil
}

// sortVersions sorts tags by their versions, the lowest first; those that are none come before all, by name.
func sortVersions(tags []string) {
	slices.SortFunc(tags, func(a, b string) int {
		v, isA := semver.Parse(a)
		w, isB := semver.Parse(b)
		if isA != isB {
			if isB {
				return -1
			}
			return 1
		}
		return cmp.Or(v.Compare(w), strings.Compare(a, b))
	})
}

// repositoryOnly parses a name without tag and digest.
func repositoryOnly(name string) (reference.Reference, error) {
	ref, err := reference.ParseRemote(name)
	if err != nil {
		return ref, err
	}
	// Whoever has a tag already can have no other one.
	if _, err := reference.ParseRemote(name + ":x"); err != nil || ref.Digest != "" {
		return ref, errdefs.Invalid("%s: want a repository, without a tag or a digest", name)
	}
	return ref, nil
}

// SearchOptions say what is looked for.
type SearchOptions struct {
	// Term is a part of a name, after a HOST/ when it is not docker.io that is searched.
	Term string
	// Limit is how many are listed at most; 0 is 25.
	Limit int
	// Filters are stars=N, is-official=BOOL and is-automated=BOOL.
	Filters []string
}

// SearchRow is a repository that was found, with docker's names.
type SearchRow struct {
	Name, Description       string
	StarCount               int
	IsOfficial, IsAutomated bool
}

// maxSearch is how many docker.io gives at most.
const maxSearch = 100

// Search looks for repositories: with docker.io's search, or in the list that another registry has.
func (e *Engine) Search(ctx context.Context, o SearchOptions) ([]SearchRow, error) {
	keep, err := searchFilter(o.Filters)
	if err != nil {
		return nil, err
	}
	if o.Limit == 0 {
		o.Limit = 25
	}
	if after, ok := strings.CutPrefix(o.Term, reference.SSH); ok {
		host, term, _ := strings.Cut(after, "/")
		return e.searchCatalog(ctx, reference.SSH+host, term, o.Limit, keep)
	}
	host, term, ok := strings.Cut(o.Term, "/")
	isHost := host == "localhost" || strings.ContainsAny(host, ".:")
	if !ok && !strings.Contains(host, ":") { // a word with a dot is looked for
		isHost, term = false, o.Term
	}
	if host, err = registryHost(host); err != nil && isHost {
		return nil, err
	}
	if !isHost || host == reference.DefaultHost {
		if !isHost {
			term = o.Term
		}
		return e.searchHub(ctx, term, o.Limit, keep)
	}
	return e.searchCatalog(ctx, host, term, o.Limit, keep)
}

// searchCatalog looks through the list that a registry has.
func (e *Engine) searchCatalog(ctx context.Context, host, term string, limit int, keep func(SearchRow) bool) ([]SearchRow, error) {
	if limit < 0 {
		return nil, errdefs.Invalid("limit %d: want a number that is not negative", limit)
	}
	var rows []SearchRow
	names, err := e.registries().Repository(reference.Reference{Host: host}).Catalog(ctx, 0)
	for _, name := range names {
		if row := (SearchRow{Name: host + "/" + name}); len(rows) < limit && reference.ValidRepository(name) && strings.Contains(name, term) && keep(row) {
			rows = append(rows, row)
		}
	}
	if errdefs.IsNotFound(err) || errdefs.IsUnsupported(err) {
		return nil, errdefs.Unsupported("%w; it does not list its repositories, so they cannot be searched", err)
	}
	return rows, err
}

func (e *Engine) searchHub(ctx context.Context, term string, limit int, keep func(SearchRow) bool) ([]SearchRow, error) {
	if limit < 1 || limit > maxSearch {
		return nil, errdefs.Invalid("limit %d is outside the range of [1, %d]", limit, maxSearch)
	}
	found, err := e.registries().Search(ctx, term, limit)
	var rows []SearchRow
	for _, f := range found {
		if row := (SearchRow{f.Name, f.Description, f.Stars, f.Official, f.Automated}); keep(row) {
			rows = append(rows, row)
		}
	}
	return rows, err
}
