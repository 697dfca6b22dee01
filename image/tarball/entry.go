package tarball

import (
	"archive/tar"
	"path"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxName is how long the name of an entry may be, in bytes: PATH_MAX.
	maxName = 4096
	// maxLinks is how many links may lead to a file, one through the other.
	maxLinks = 8
	// entryCost is what an entry takes in memory besides its text, about, in bytes.
	entryCost = 256
)

// entry is what is known of a file or link of an archive: one of the fields is set.
type entry struct {
	// data of a small file, not stored yet.
	data []byte
	// desc of a stored file; without media type.
	desc ocispec.Descriptor
	// link is the name of the entry that this one leads to.
	link string
}

// put remembers an entry. No two may have the same name: which of them is
// meant would be up to each reader.
func (l *loader) put(name string, e entry) error {
	if _, ok := l.entries[name]; ok {
		return errdefs.Corrupt("it is there twice")
	}
	l.kept += entryCost + int64(len(name)+len(e.data)+len(e.link))
	if l.kept > maxKept {
		return errdefs.Limit("names and documents have more than %d bytes together", maxKept)
	}
	l.entries[name] = e
	return nil
}

// get finds a file, through links.
func (l *loader) get(name string) (string, entry, error) {
	clean, err := cleanName(name)
	if err != nil {
		return "", entry{}, err
	}
	at := clean
	for range maxLinks + 1 {
		e, ok := l.entries[at]
		if !ok {
			if at != clean {
				return "", entry{}, errdefs.Corrupt("%.300q leads to %.300q, which is not in the archive", name, at)
			}
			return "", entry{}, errdefs.Corrupt("%.300q is not in the archive", name)
		}
		if e.link == "" {
			return at, e, nil
		}
		at = e.link
	}
	return "", entry{}, errdefs.Corrupt("%.300q: more than %d links lead from one to the other", name, maxLinks)
}

// cleanName returns the name without "./" and the like. Names never become
// paths of a file system; one that points out of the archive is a lie all the same.
func cleanName(name string) (string, error) {
	switch {
	case len(name) > maxName:
		return "", errdefs.Limit("a name of %d bytes, more than %d", len(name), maxName)
	case name == "":
		return "", errdefs.Corrupt("an empty name")
	case strings.HasPrefix(name, "/"):
		return "", errdefs.Corrupt("the name %.300q is absolute", name)
	case strings.IndexByte(name, 0) >= 0:
		return "", errdefs.Corrupt("the name %.300q has a NUL", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", errdefs.Corrupt("the name %.300q has '..'", name)
		}
	}
	return path.Clean(name), nil
}

// linkTarget is the clean name of the entry that a link leads to: a hard link's
// is relative to the archive, a symbolic link's to its directory.
func linkTarget(name string, h *tar.Header) (string, error) {
	if h.Typeflag == tar.TypeLink {
		target, err := cleanName(h.Linkname)
		if err != nil {
			return "", errdefs.Corrupt("link: %w", err)
		}
		return target, nil
	}
	if len(h.Linkname) > maxName || h.Linkname == "" || strings.HasPrefix(h.Linkname, "/") {
		return "", errdefs.Corrupt("it is a link to %.300q, out of the archive", h.Linkname)
	}
	target := path.Join(path.Dir(name), h.Linkname)
	if target == ".." || strings.HasPrefix(target, "../") {
		return "", errdefs.Corrupt("it is a link to %.300q, out of the archive", h.Linkname)
	}
	return target, nil
}

// blobDigest tells whether a name is that of a blob of a layout.
func blobDigest(name string) (digest.Digest, bool) {
	rest, ok := strings.CutPrefix(name, ocispec.ImageBlobsDir+"/")
	if !ok {
		return "", false
	}
	alg, hex, ok := strings.Cut(rest, "/")
	d := digest.Digest(alg + ":" + hex)
	return d, ok && content.CheckDigest(d) == nil
}

func isDocument(name string) bool {
	switch name {
	case ocispec.ImageLayoutFile, ocispec.ImageIndexFile, manifestFile, repositoriesFile:
		return true
	}
	return false
}
