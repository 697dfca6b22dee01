package cli

import (
	"fmt"
	"io"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
)

// readContext says where the build reads from: what standard input is for, and the named contexts.
func (a *app) readContext(opts *engine.BuildOptions, contexts []string) error {
	var err error
	none := func(string) (string, bool) { return "", true }
	if opts.Contexts, err = keyValues("--build-context", contexts, none); err != nil {
		return err
	}
	if opts.ContextDir == "-" {
		if opts.File == "-" {
			return errdefs.Invalid("standard input cannot be both the context and the Dockerfile")
		}
		opts.Stdin = a.stdin
		return nil
	}
	if opts.File != "-" {
		return nil
	}
	const limit = 8 << 20
	b, err := io.ReadAll(io.LimitReader(a.stdin, limit+1))
	if err != nil {
		return fmt.Errorf("read the Dockerfile from standard input: %w", err)
	}
	if len(b) > limit {
		return errdefs.Limit("the Dockerfile on standard input is larger than %d bytes", limit)
	}
	if b == nil {
		b = []byte{}
	}
	opts.Dockerfile, opts.File = b, ""
	return nil
}
