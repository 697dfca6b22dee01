package delta

import (
	"compress/gzip"
	"io"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/errdefs"
)

// Compress returns a writer that compresses into w by a recipe. An unknown one is ErrUnsupported. What a recipe makes may change with
// a release of camada or Go: then the digest differs, and the blob comes from the registry as a whole.
func Compress(w io.Writer, recipe string) (io.WriteCloser, error) {
	switch recipe {
	case "camada-gzip":
		return compression.NewWriter(w, compression.Gzip)
	case "camada-zstd":
		return compression.NewWriter(w, compression.Zstd)
	case "go-gzip": // what docker makes
		return gzip.NewWriter(w), nil
	case "none":
		return compression.NewWriter(w, compression.None)
	}
	return nil, errdefs.Unsupported("a layer compressed with %.40q cannot be made again", recipe)
}

// Candidates are the recipes by which a blob with these first bytes may have been made.
func Candidates(head []byte) []string {
	switch compression.Detect(head) {
	case compression.Gzip:
		return []string{"camada-gzip", "go-gzip"}
	case compression.Zstd:
		return []string{"camada-zstd"}
	case compression.None:
		return []string{"none"}
	}
	return nil
}
