package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/camada/camada/engine"
	"github.com/docker/go-units"
	"github.com/spf13/cobra"
)

// cpOptions are the flags of cp.
type cpOptions struct {
	engine.CopyOptions
	quiet bool
}

func (a *app) cpCommand() *cobra.Command {
	var o cpOptions
	cmd := &cobra.Command{
		Use:   "cp [OPTIONS] CONTAINER:SRC DEST|- | SRC|- CONTAINER:DEST",
		Short: "Copy files between a container and this machine",
		Long: `Copy files and directories between a container, which runs or not, and this machine. "-" is a tar on standard output or input.

The rules are docker's. A directory goes into a directory that is there, under its own name, and becomes one that is not there; "DIR/." is what is
in it. A file goes into a directory, replaces a file, or gets a new name in a directory that is there. Links are followed in the
container's own root only, also by those who try to change that meanwhile. Files that are copied out belong to who copies them; with -a their owners
are kept.`,
		Example: `  camada cp web:/etc/nginx/nginx.conf .
  camada cp site/. web:/var/www
  camada cp web:/var/log - | tar -t
  tar -C site -c . | camada cp - web:/var/www`,
		// A container that runs is looked into from the namespace that its looker-after is in.
		Args: args(2, 2), Annotations: map[string]string{inNamespace: shared},
		RunE: func(cmd *cobra.Command, args []string) error { return a.cp(cmd, o, args[0], args[1]) },
	}
	f := cmd.Flags()
	f.BoolVarP(&o.Archive, "archive", "a", false, "keep the owners of files")
	f.BoolVarP(&o.Follow, "follow-link", "L", false, "copy what a link at SRC leads to")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not say how much was copied")
	return cmd
}

// splitCopy cuts CONTAINER:PATH. What begins with "/" or "." is a path of this machine, whatever is in it.
func splitCopy(arg string) (container, path string) {
	container, path, ok := strings.Cut(arg, ":")
	if !ok || filepath.IsAbs(arg) || strings.HasPrefix(arg, ".") {
		return "", arg
	}
	if path == "" {
		path = "/"
	}
	return container, path
}

func (a *app) cp(cmd *cobra.Command, o cpOptions, from, to string) error {
	srcContainer, src := splitCopy(from)
	dstContainer, dst := splitCopy(to)
	copied := (*engine.Engine).CopyOut
	var stream bool
	switch {
	case srcContainer != "" && dstContainer != "":
		return usage(cmd, "copying between containers is not supported; copy out to - and in from -")
	case srcContainer == "" && dstContainer == "":
		return usage(cmd, "one of the two must be in a container, CONTAINER:PATH")
	case src == "" || dst == "":
		return usage(cmd, "source and destination cannot be empty")
	case srcContainer != "":
		o.Container, o.Path, o.Host = srcContainer, src, dst
		if stream = dst == "-"; stream {
			o.Output = a.stdout
		}
	default:
		copied = (*engine.Engine).CopyIn
		o.Container, o.Path, o.Host = dstContainer, dst, src
		if stream = src == "-"; stream {
			o.Input = io.Reader(a.stdin)
		}
	}
	var n int64
	err := a.with(cmd.Context(), func(e *engine.Engine) (err error) {
		n, err = copied(e, cmd.Context(), o.CopyOptions)
		return err
	})
	if err != nil || o.quiet || stream {
		return err
	}
	fmt.Fprintf(a.stderr, "Successfully copied %s to %s\n", units.HumanSize(float64(n)), to)
	return nil
}
