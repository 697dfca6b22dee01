package image

import (
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// EntryName is the name that the annotations of an entry of an index.json give to
// an image. When they give a bare word only, such as "latest", ref is nil and word is
// that word: by the spec it is a tag, and some tools take it for a repository.
// Both are zero when there is no name; a malformed one is ErrCorrupt.
func EntryName(annotations map[string]string) (ref *reference.Reference, word string, err error) {
	name := annotations[NameAnnotation]
	if name == "" {
		name = annotations[ocispec.AnnotationRefName]
		if !strings.ContainsAny(name, ":/@") {
			return nil, name, nil
		}
	}
	r, err := reference.Parse(name)
	if err != nil {
		return nil, "", errdefs.With(errdefs.ErrCorrupt, err)
	}
	return &r, "", nil
}
