// Package base has the words that the makers of root file systems share.
//
// A maker (base/debian, say) turns packages of a distribution into one layer
// stream, and tells which commands must then run inside the tree that the layer
// became. It starts nothing itself: whoever holds the tree runs the commands.
//
//	plan, err := debian.Resolve(ctx, opts)
//	tree, err := plan.Fetch(ctx)
//	defer tree.Close()
//	err = tree.WriteTar(ctx, w)            // the layer
//	err = base.Run(ctx, runner, tree.Steps()) // inside a container over it
package base

import (
	"context"
	"fmt"
)

// Package is one package of a distribution, as it stands in an image.
type Package struct {
	Name         string `json:"name"`
	Version      string `json:"version"`
	Architecture string `json:"architecture"`
	// Source is the source package that it was built from.
	Source string `json:"source,omitempty"`
	// SHA256 is the hex digest of the package file.
	SHA256 string `json:"sha256"`
	// Size of the package file in bytes.
	Size int64 `json:"size"`
	// Auto is set when it came as another package's need, not by name.
	Auto bool `json:"auto,omitempty"`
}

// Step is a command that runs inside the root file system as user 0. It needs
// /proc and /dev (null, zero, full, random, urandom, tty), and no network. Let the
// host name be "localhost" always: scripts write it into files.
type Step struct {
	// Name is what a person calls it: "configure packages".
	Name string
	// Args is the program, looked up in the PATH of Env, and its arguments.
	Args []string
	// Env is the whole environment, NAME=value each.
	Env []string
}

// Runner runs steps in one tree, which it knows. Run waits for the command's end
// and fails when it does not exit with 0. Its umask is 022, its working
// directory "/", its standard input empty.
type Runner interface {
	Run(ctx context.Context, step Step) error
}

// Run runs the steps one after the other, until the first that fails.
func Run(ctx context.Context, r Runner, steps []Step) error {
	for _, s := range steps {
		if err := r.Run(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return nil
}
