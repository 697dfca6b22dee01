package engine

import (
	"context"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/yamltree"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/remote"
)

// syncJob is one repository to be synchronised.
type syncJob struct {
	from, to shelfPlace
	// client asks the source; nil is the engine's.
	client *remote.Client
	// tags are those that are named; nil is all.
	tags   []string
	filter SyncFilter
}

// syncJobs lists the repositories that a source stands for.
func (e *Engine) syncJobs(ctx context.Context, opts SyncOptions) ([]syncJob, error) {
	to, toTag, err := parseShelf(opts.Destination)
	if err != nil {
		return nil, err
	}
	if toTag != "" {
		return nil, errdefs.Invalid("%s: a destination of sync has no tag", opts.Destination)
	}
	if name, ok := strings.CutPrefix(opts.Source, "yaml:"); ok {
		return e.syncFile(name, to, opts)
	}
	from, tag, err := parseShelf(opts.Source)
	if err != nil {
		return nil, err
	}
	if from.dir == "" && from.repository == "" {
		names, err := e.registries().Repository(reference.Reference{Host: from.host}).Catalog(ctx, 0)
		if err != nil {
			return nil, err
		}
		var jobs []syncJob
		for _, n := range names {
			if _, err := reference.ParseRemote(from.host + "/" + n); err != nil {
				return nil, err
			}
			jobs = append(jobs, syncJob{from: from.below(n), to: to.below(scopedName(from.host, n, opts.Scoped)), filter: opts.SyncFilter})
		}
		if len(jobs) == 0 {
			return nil, errdefs.NotFound("%s lists no repository", from)
		}
		return jobs, nil
	}
	if to.dir == "" && to.repository == "" { // a registry: the repository keeps its name
		if from.repository == "" {
			return nil, errdefs.Invalid("%s: say which repository of %s", opts.Destination, to.host)
		}
		to = to.below(scopedName(from.host, from.repository, opts.Scoped))
	}
	j := syncJob{from: from, to: to, filter: opts.SyncFilter}
	if tag != "" {
		if opts.Delete {
			return nil, errdefs.Invalid("%s: deletions are those of a whole repository, not of one tag", opts.Source)
		}
		j.tags = []string{tag}
	}
	return []syncJob{j}, nil
}

// scopedName is where a repository lies below a destination.
func scopedName(host, name string, scoped bool) string {
	if scoped { // a port has no place in the name of a repository
		host = strings.TrimPrefix(host, reference.SSH)
		return path.Join(strings.ReplaceAll(host[strings.IndexByte(host, '@')+1:], ":", "-"), name)
	}
	return name
}

// syncFile reads a list as skopeo sync has it: registries with images, images-by-tag-regex and images-by-semver.
func (e *Engine) syncFile(name string, to shelfPlace, opts SyncOptions) ([]syncJob, error) {
	data, err := readSyncFile(name)
	if err != nil {
		return nil, err
	}
	docs, err := yamltree.Parse(data)
	if err != nil {
		return nil, errdefs.With(errdefs.ErrInvalid, err)
	}
	var jobs []syncJob
	for _, doc := range docs {
		registries, ok := doc.(map[string]any)
		if !ok {
			return nil, errdefs.Invalid("%s: want a map of registries", name)
		}
		for _, host := range slices.Sorted(maps.Keys(registries)) {
			one, err := e.syncRegistry(host, registries[host], to, opts)
			if err != nil {
				return nil, err
			}
			jobs = append(jobs, one...)
		}
	}
	if len(jobs) == 0 {
		return nil, errdefs.Invalid("%s names no image", name)
	}
	return jobs, nil
}

func readSyncFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, errdefs.With(errdefs.ErrNotFound, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, yamltree.MaxSize+1))
	if err != nil {
		return nil, errdefs.With(errdefs.ErrUnavailable, err)
	}
	return data, nil
}

// syncRegistry reads what a list says of one registry.
func (e *Engine) syncRegistry(host string, v any, to shelfPlace, opts SyncOptions) ([]syncJob, error) {
	conf, ok := v.(map[string]any)
	if !ok {
		return nil, errdefs.Invalid("registry %s: want a map", host)
	}
	var jobs []syncJob
	add := func(repository string, filter SyncFilter, tags []string) error {
		ref, err := reference.Parse(host + "/" + repository)
		if err != nil || ref.Host != host {
			return errdefs.Invalid("registry %s: %q is no repository: %w", host, repository, err)
		}
		if err := filter.check(); err != nil {
			return errdefs.Invalid("registry %s: %s: %w", host, repository, err)
		}
		from := shelfPlace{host: ref.Host, repository: ref.Repository}
		jobs = append(jobs, syncJob{from: from, to: to.below(scopedName(host, ref.Repository, opts.Scoped)), filter: filter, tags: tags})
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(conf)) {
		var err error
		switch key {
		case "images":
			err = eachEntry(host, key, conf[key], func(name string, v any) error {
				tags, err := texts(host, name, v)
				if err != nil {
					return err
				}
				return add(name, opts.SyncFilter, tags)
			})
		case "images-by-tag-regex", "images-by-semver":
			err = eachEntry(host, key, conf[key], func(name string, v any) error {
				text, ok := v.(string)
				if !ok || text == "" {
					return errdefs.Invalid("registry %s: %s: %s: want a text", host, key, name)
				}
				filter := opts.SyncFilter
				if key == "images-by-semver" {
					filter.Range = text
				} else {
					filter.Regexp = text
				}
				return add(name, filter, nil)
			})
		case "credentials", "tls-verify":
		default:
			err = errdefs.Unsupported("registry %s: the key %q is not known; there are images, images-by-tag-regex, images-by-semver, credentials and tls-verify", host, key)
		}
		if err != nil {
			return nil, err
		}
	}
	client, err := e.syncClient(host, conf)
	for i := range jobs {
		jobs[i].client = client
	}
	return jobs, err
}

func eachEntry(host, key string, v any, fn func(string, any) error) error {
	m, ok := v.(map[string]any)
	if !ok && v != nil {
		return errdefs.Invalid("registry %s: %s: want a map of repositories", host, key)
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if err := fn(name, m[name]); err != nil {
			return err
		}
	}
	return nil
}

// texts reads a list of tags; an empty one is all tags, nil.
func texts(host, name string, v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok && v != nil {
		return nil, errdefs.Invalid("registry %s: %s: want a list of tags", host, name)
	}
	var out []string
	for _, t := range list {
		s, ok := t.(string)
		if !ok || !reference.ValidTag(s) && !isDigest(s) {
			return nil, errdefs.Invalid("registry %s: %s: %v is no tag and no digest; put numbers into quotation marks", host, name, t)
		}
		out = append(out, s)
	}
	return out, nil
}

// givenCredentials are those of a list; others come from where they always do.
type givenCredentials struct {
	remote.Credentials
	host string
	cred remote.Credential
}

// Credential implements remote.Credentials.
func (g givenCredentials) Credential(ctx context.Context, host string) (remote.Credential, error) {
	if host == g.host {
		return g.cred, nil
	}
	return g.Credentials.Credential(ctx, host)
}

// syncClient makes the client of a registry that the list says more of; nil when it does not.
func (e *Engine) syncClient(host string, conf map[string]any) (*remote.Client, error) {
	cred, hasCred := conf["credentials"].(map[string]any)
	verify, hasVerify := conf["tls-verify"].(bool)
	if conf["credentials"] != nil && !hasCred || conf["tls-verify"] != nil && !hasVerify {
		return nil, errdefs.Invalid("registry %s: credentials are a map, tls-verify is true or false", host)
	}
	if !hasCred && (!hasVerify || verify) {
		return nil, nil
	}
	o := e.remoteOptions()
	if hasCred {
		user, _ := cred["username"].(string)
		password, _ := cred["password"].(string)
		o.Credentials = givenCredentials{o.Credentials, host, remote.Credential{Username: user, Password: password}}
	}
	if hasVerify && !verify {
		o.Insecure = append(o.Insecure, host)
	}
	return remote.New(o), nil
}
