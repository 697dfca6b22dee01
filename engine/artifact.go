package engine

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/transfer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// unknownArtifact and fileType are what oras calls what has no type.
	unknownArtifact = "application/vnd.unknown.artifact.v1"
	fileType        = "application/vnd.oci.image.layer.v1.tar"
	// maxArtifactFiles bounds the files of an artifact.
	maxArtifactFiles = 10_000
	// maxTitle bounds the name of a file, in bytes.
	maxTitle = 4096
)

// ArtifactFile is a file of an artifact.
type ArtifactFile struct {
	// Path is where it is; it is the file's name in the artifact too, unless Title is.
	Path  string
	Title string
	// MediaType may be "".
	MediaType string
}

// ArtifactOptions say what is pushed.
type ArtifactOptions struct {
	// Name is where it goes. With Subject, only the repository of it matters.
	Name string
	// Type is the artifact's type; "" is unknown.
	Type  string
	Files []ArtifactFile
	// Annotations are those of the manifest.
	Annotations map[string]string
	// Attach makes Name the subject: what the artifact is about.
	Attach bool
	// Platform chooses a manifest of a subject that is an index; "" is the index.
	Platform string
	// By signs what is pushed under a name, before it gets its tag: who sees the tag sees the signature. nil signs nothing.
	By *SigningKey
}

// Artifact is one that was pushed, or pulled.
type Artifact struct {
	// Reference is its name by its digest.
	Reference    string            `json:"reference"`
	MediaType    string            `json:"mediaType"`
	Digest       digest.Digest     `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	// Subject is what it is about, by its digest; "" is nothing.
	Subject string `json:"subject,omitempty"`
	// Files are those that were written.
	Files []ArtifactOutput `json:"files,omitempty"`
	// Unnamed is how many parts have no file name, and were left out.
	Unnamed int `json:"unnamed,omitempty"`
}

// ArtifactOutput is a file that was written.
type ArtifactOutput struct {
	Path        string            `json:"path"`
	MediaType   string            `json:"mediaType"`
	Digest      digest.Digest     `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// PushArtifact sends files to a registry, as an artifact of its own or attached to a manifest there. They are read from where they are, twice.
func (e *Engine) PushArtifact(ctx context.Context, o ArtifactOptions, sink progress.Sink) (Artifact, error) {
	defer e.waits.show(sink)()
	ref, err := reference.ParseRemote(o.Name)
	if err != nil {
		return Artifact{}, err
	}
	if !o.Attach && ref.Digest != "" {
		return Artifact{}, errdefs.Invalid("push %s: want a tag, and no digest", o.Name)
	}
	a := image.Artifact{Type: o.Type, Annotations: o.Annotations}
	if a.Type == "" {
		a.Type = unknownArtifact
	}
	if err := checkType(a.Type); err != nil {
		return Artifact{}, err
	}
	src := &fileSource{store: e.content, paths: map[digest.Digest]string{}}
	if a.Layers, err = src.add(ctx, o.Files); err != nil {
		return Artifact{}, err
	}
	if len(a.Layers) == 0 {
		if len(a.Annotations) == 0 {
			return Artifact{}, errdefs.Invalid("an artifact needs a file, or an annotation")
		}
		a.Layers = []ocispec.Descriptor{ocispec.DescriptorEmptyJSON}
	}
	repo := e.registries().Repository(ref)
	tag := ref.Tag
	res := Artifact{ArtifactType: a.Type, Annotations: a.Annotations}
	if o.Attach {
		subject, err := remoteSubject(ctx, repo, ref, o.Platform)
		if err != nil {
			return Artifact{}, err
		}
		a.Subject, tag, res.Subject = &subject, "", ref.Name()+"@"+subject.Digest.String()
	}
	desc, err := image.WriteArtifact(ctx, e.content, a)
	if err != nil {
		return Artifact{}, err
	}
	res.Reference, res.MediaType, res.Digest, res.Size = ref.Name()+"@"+desc.Digest.String(), desc.MediaType, desc.Digest, desc.Size
	opts := transfer.Options{Concurrency: transfers, Progress: renamed{progress.Or(sink), "push-", "push"}}
	if o.By != nil {
		if err := transfer.Push(ctx, src, repo.Target("", desc), desc, opts); err != nil {
			return Artifact{}, fmt.Errorf("push %s: %w", ref.Familiar(), err)
		}
		if _, err := e.Sign(ctx, SignOptions{Image: registryWord(res.Reference), By: *o.By}, sink); err != nil {
			return Artifact{}, err
		}
	}
	if err := transfer.Push(ctx, src, repo.Target(tag, desc), desc, opts); err != nil {
		return Artifact{}, fmt.Errorf("push %s: %w", ref.Familiar(), err)
	}
	return res, nil
}

// remoteSubject finds the manifest of a registry that something is attached to.
func remoteSubject(ctx context.Context, repo *remote.Repository, ref reference.Reference, forPlatform string) (ocispec.Descriptor, error) {
	at := ref.Tag
	if ref.Digest != "" {
		at = ref.Digest.String()
	}
	desc, err := repo.Resolve(ctx, at)
	if err != nil {
		return desc, pullError(ref, err)
	}
	if forPlatform == "" || !image.IsIndex(desc.MediaType) {
		return desc, nil
	}
	p, err := onePlatform(forPlatform)
	if err != nil {
		return desc, err
	}
	img, err := image.Open(ctx, repo, desc, p)
	if err != nil {
		return desc, err
	}
	return img.Descriptor, nil
}

// checkType checks a media type (RFC 6838, 4.2), as the image-spec asks of types of artifacts.
func checkType(t string) error {
	kind, name, ok := strings.Cut(t, "/")
	if !ok || kind == "" || name == "" || len(t) > 255 || strings.ContainsFunc(t, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == ';' || r == ',' }) {
		return errdefs.Invalid("%q is no media type: want TYPE/NAME, as application/vnd.example.sbom", t)
	}
	return nil
}

// checkTitle checks the name of a file in an artifact: it must be one below the directory that it is written to, on any system.
func checkTitle(name string) error {
	if !filepath.IsLocal(name) || filepath.Clean(name) != name || name == "." || len(name) > maxTitle || strings.Contains(name, "\\") ||
		strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }) {
		return errdefs.Invalid("%.200q cannot be the name of a file in an artifact: want a relative path without .. and \\", name)
	}
	return nil
}

// fileSource provides files by their digests, and all else from the store.
type fileSource struct {
	store content.Provider
	paths map[digest.Digest]string
}

// add reads files, and returns their descriptors with their names.
func (s *fileSource) add(ctx context.Context, files []ArtifactFile) ([]ocispec.Descriptor, error) {
	if len(files) > maxArtifactFiles {
		return nil, errdefs.Limit("more than %d files", maxArtifactFiles)
	}
	var all []ocispec.Descriptor
	seen := map[string]bool{}
	for _, f := range files {
		title := orElse(f.Title, filepath.ToSlash(filepath.Clean(f.Path)))
		if err := checkTitle(title); err != nil {
			return nil, err
		}
		if seen[title] {
			return nil, errdefs.Invalid("the file %s is named twice", title)
		}
		seen[title] = true
		if f.MediaType == "" {
			f.MediaType = fileType
		}
		if err := checkType(f.MediaType); err != nil {
			return nil, err
		}
		desc, err := digestOf(ctx, f.Path)
		if err != nil {
			return nil, err
		}
		s.paths[desc.Digest] = f.Path
		desc.MediaType, desc.Annotations = f.MediaType, map[string]string{ocispec.AnnotationTitle: title}
		all = append(all, desc)
	}
	return all, nil
}

func digestOf(ctx context.Context, path string) (ocispec.Descriptor, error) {
	f, err := openRegular(path)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer f.Close()
	d := digest.Canonical.Digester()
	n, err := io.Copy(d.Hash(), alive{ctx, f})
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("read %s: %w", path, err)
	}
	return ocispec.Descriptor{Digest: d.Digest(), Size: n}, nil
}

func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, errdefs.Unsupported("%s is no regular file: pack a directory into an archive first", path)
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read a file of the artifact: %w", err)
	}
	return f, nil
}

// alive ends reading with a context.
type alive struct {
	ctx context.Context
	r   io.Reader
}

func (a alive) Read(p []byte) (int, error) {
	if err := a.ctx.Err(); err != nil {
		return 0, err
	}
	return a.r.Read(p)
}

// Open implements content.Provider.
func (s *fileSource) Open(ctx context.Context, desc ocispec.Descriptor) (content.Reader, error) {
	path, ok := s.paths[desc.Digest]
	if !ok {
		return s.store.Open(ctx, desc)
	}
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != desc.Size {
		err = errdefs.Conflict("%s changed while it was read", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return sizedFile{f, desc.Size}, nil
}

// sizedFile is a file as a content.Reader.
type sizedFile struct {
	*os.File
	size int64
}

// Size implements content.Reader.
func (f sizedFile) Size() int64 { return f.size }
