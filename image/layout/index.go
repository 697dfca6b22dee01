package layout

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"path/filepath"
	"strings"

	"github.com/camada/camada/image"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layoutFile is the text of oci-layout (OCI image-spec, image-layout.md).
const layoutFile = `{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}` + "\n"

// Name is the annotation org.opencontainers.image.ref.name that index.json has
// for a ref: what stands after "oci:ROOT:" for other tools. It is the name as users
// write it. The grammar of that annotation (OCI image-spec, annotations.md) knows
// fewer separators than references do; a run of others becomes its
// bytes in hex between plus signs, which no reference has: a__b:1 is a+5f5f+b:1.
func Name(tag image.Tag) string {
	components := strings.Split(tag.Reference.Familiar(), "/")
	for i, c := range components {
		components[i] = component(c)
	}
	return strings.Join(components, "/")
}

// component makes s fit "alphanum (separator alphanum)*", where a separator is "--" or
// one of "-._:@+".
func component(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		j := i
		for j < len(s) && isAlphanum(s[j]) == isAlphanum(s[i]) {
			j++
		}
		run := s[i:j]
		switch {
		case isAlphanum(run[0]), i > 0 && j < len(s) && (run == "--" || len(run) == 1 && strings.Contains("-._:@", run)):
			b.WriteString(run)
		default:
			if i > 0 {
				b.WriteByte('+')
			}
			b.WriteString(hex.EncodeToString([]byte(run)))
			if j < len(s) {
				b.WriteByte('+')
			}
		}
		i = j
	}
	return b.String()
}

func isAlphanum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z'
}

// writeIndex makes index.json from the refs. The exclusive lock is held.
func (r *Refs) writeIndex() error {
	tags, err := r.listWhole()
	if err != nil {
		return err
	}
	data, err := indexOf(tags)
	if err != nil {
		return err
	}
	tmp := r.temporary("index")
	if err := writeSync(tmp, data); err != nil {
		return err
	}
	return r.rename(tmp, filepath.Join(r.root, ocispec.ImageIndexFile))
}

// indexOf returns the text of index.json.
func indexOf(tags []image.Tag) ([]byte, error) {
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: make([]ocispec.Descriptor, 0, len(tags)),
	}
	for _, tag := range tags {
		desc := tag.Descriptor
		desc.Annotations = maps.Clone(desc.Annotations)
		if desc.Annotations == nil {
			desc.Annotations = make(map[string]string, 1)
		}
		desc.Annotations[ocispec.AnnotationRefName] = Name(tag)
		index.Manifests = append(index.Manifests, desc)
	}
	data, err := json.Marshal(index)
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}
