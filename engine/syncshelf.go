package engine

import (
	"context"
	"path"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/layoutdir"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/remote"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// shelfPlace is a place of many tags: a repository of a registry, or a layout.
type shelfPlace struct {
	// host and repository, or dir.
	host, repository string
	dir              string
}

func (p shelfPlace) String() string {
	if p.dir != "" {
		return "oci:" + p.dir
	}
	if p.repository == "" {
		return registryWord(p.host)
	}
	return registryWord(p.host + "/" + p.repository)
}

// below is the place for a repository of many.
func (p shelfPlace) below(name string) shelfPlace {
	if p.dir != "" {
		p.dir = path.Join(p.dir, name)
	} else {
		p.repository = path.Join(p.repository, name)
	}
	return p
}

// tagged is one image of the place.
func (p shelfPlace) tagged(tag string) transport {
	if p.dir != "" {
		if isDigest(tag) {
			return transport{kind: transportLayout, rest: p.dir}
		}
		return transport{kind: transportLayout, rest: p.dir + ":" + tag}
	}
	ref := reference.Reference{Host: p.host, Repository: p.repository, Tag: tag}
	if isDigest(tag) {
		ref.Tag, ref.Digest = "", digest.Digest(tag)
	}
	return transport{kind: transportRegistry, rest: ref.String(), ref: ref}
}

func isDigest(s string) bool {
	return strings.Contains(s, ":") && content.CheckDigest(digest.Digest(s)) == nil
}

// parseShelf reads docker://HOST[/PATH][:TAG], ssh://HOST[/PATH][:TAG] or oci:DIR; tag is "" when none is given.
func parseShelf(text string) (p shelfPlace, tag string, err error) {
	if dir, ok := strings.CutPrefix(text, "oci:"); ok && dir != "" {
		return shelfPlace{dir: dir}, "", nil
	}
	name, ok := strings.CutPrefix(text, "docker://")
	overSSH := strings.HasPrefix(text, reference.SSH)
	if !ok && !overSSH {
		return p, "", errdefs.Invalid("%q: want docker://HOST[/PATH], ssh://HOST[/PATH] or oci:DIR", text)
	}
	name = strings.TrimSuffix(name, "/")
	if overSSH && !strings.Contains(strings.TrimPrefix(name, reference.SSH), "/") {
		return shelfPlace{host: name}, "", reference.CheckSSH(name)
	}
	if !overSSH && !strings.Contains(name, "/") && (name == "localhost" || strings.ContainsAny(name, ".:")) {
		if _, err := reference.Parse(name + "/x"); err != nil {
			return p, "", err
		}
		return shelfPlace{host: name}, "", nil
	}
	ref, err := reference.ParseRemote(name)
	if err != nil {
		return p, "", err
	}
	p = shelfPlace{host: ref.Host, repository: ref.Repository}
	switch last := name[strings.LastIndexByte(name, '/')+1:]; {
	case ref.Digest != "":
		tag = ref.Digest.String()
	case strings.Contains(last, ":"):
		tag = ref.Tag
	}
	return p, tag, nil
}

// shelfOfTags is such a place, opened. The zero value is empty.
type shelfOfTags struct {
	from  *copySource
	repo  *remote.Repository
	dir   *layoutdir.Dir
	close func() error
}

// openShelf opens a place; client nil is the engine's.
func (e *Engine) openShelf(client *remote.Client, p shelfPlace) (*shelfOfTags, error) {
	if p.dir != "" {
		dir, err := layoutdir.Open(p.dir)
		if err != nil {
			return nil, err
		}
		return &shelfOfTags{from: &copySource{Provider: dir, entries: dir.Entries()}, dir: dir, close: dir.Close}, nil
	}
	if client == nil {
		client = e.registries()
	}
	repo := client.Repository(reference.Reference{Host: p.host, Repository: p.repository})
	return &shelfOfTags{from: &copySource{Provider: repo, repo: repo}, repo: repo, close: nothingToClose}, nil
}

// tags lists the tags, but those under which referrers are listed.
func (s *shelfOfTags) tags(ctx context.Context) ([]string, error) {
	var out []string
	if s.dir != nil {
		for _, d := range s.dir.Entries() {
			if word := entryTag(d); word != "" {
				out = append(out, word)
			}
		}
		return out, nil
	}
	if s.repo == nil {
		return nil, nil
	}
	all, err := s.repo.Tags(ctx, 0)
	for _, tag := range all {
		algorithm, hex, ok := strings.Cut(tag, "-")
		if !ok || content.CheckDigest(digest.NewDigestFromEncoded(digest.Algorithm(algorithm), hex)) != nil {
			out = append(out, tag)
		}
	}
	return out, err
}

// entryTag is the tag of an entry of a layout.
func entryTag(d ocispec.Descriptor) string {
	ref, word, err := image.EntryName(d.Annotations)
	if err != nil || !image.IsIndex(d.MediaType) && !image.IsManifest(d.MediaType) {
		return ""
	}
	if word == "" && ref != nil {
		return ref.Tag
	}
	return word
}

// resolve finds what a tag stands for; ErrNotFound when there is none.
func (s *shelfOfTags) resolve(ctx context.Context, tag string) (ocispec.Descriptor, error) {
	if s.repo != nil {
		return s.repo.Resolve(ctx, tag)
	}
	if s.dir != nil {
		for _, d := range s.dir.Entries() {
			if entryTag(d) == tag || d.Digest.String() == tag {
				return plainDescriptor(d), nil
			}
		}
	}
	return ocispec.Descriptor{}, errdefs.NotFound("there is no tag %s", tag)
}

// remove removes a tag. A registry that removes manifests only is given the digest, when nothing that is kept has it.
func (s *shelfOfTags) remove(ctx context.Context, tag string, g *guard) error {
	if s.dir != nil {
		return s.dir.Remove(ctx, tag)
	}
	err := s.repo.Delete(ctx, tag)
	if !errdefs.IsUnsupported(err) && !errdefs.IsInvalid(err) {
		return err
	}
	desc, resolveErr := s.repo.Resolve(ctx, tag)
	if resolveErr != nil {
		return resolveErr
	}
	needed, guardErr := g.needs(ctx, desc.Digest)
	if guardErr != nil {
		return guardErr
	}
	if needed {
		return errdefs.Conflict("the registry removes manifests only, no tags, and that of %s is needed under another name", tag)
	}
	return s.repo.Delete(ctx, desc.Digest.String())
}

// walkManifests calls fn for an image's manifests and indexes.
func walkManifests(ctx context.Context, p content.Provider, root ocispec.Descriptor, fn func(ocispec.Descriptor)) error {
	missing := image.WalkOptions{Missing: func(ocispec.Descriptor) error { return nil }}
	return image.Walk(ctx, p, root, missing, func(d ocispec.Descriptor) error {
		if image.IsIndex(d.MediaType) || image.IsManifest(d.MediaType) {
			fn(d)
		}
		return nil
	})
}
