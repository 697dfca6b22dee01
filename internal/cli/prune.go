package cli

import (
	"fmt"
	"strings"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/display"
	"github.com/spf13/cobra"
)

// pruneFlags are the flags that all prunes have.
type pruneFlags struct {
	force   bool
	filters []string
}

func (p *pruneFlags) register(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&p.force, "force", "f", false, "do not ask")
	listFlag(cmd.Flags(), &p.filters, "filter", "", "`until=`TIME or age, label=NAME[=VALUE], label!=NAME[=VALUE]")
}

// prune asks, unless told not to, and removes.
func (a *app) prune(cmd *cobra.Command, p pruneFlags, warning string, f func(*engine.Engine, engine.PruneFilter) error) error {
	filter, err := engine.ParsePruneFilter(p.filters)
	if err != nil {
		return err
	}
	if !p.force && !a.confirm(warning) {
		return nil
	}
	return a.with(cmd.Context(), func(e *engine.Engine) error { return f(e, filter) })
}

func (a *app) containerPruneCommand() *cobra.Command {
	var p pruneFlags
	cmd := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove all containers that do not run",
		Example: "  camada container prune --filter until=24h", Args: args(0, 0), Annotations: map[string]string{inNamespace: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.prune(cmd, p, "This will remove all stopped containers.", func(e *engine.Engine, filter engine.PruneFilter) error {
				ids, bytes, err := e.PruneContainers(cmd.Context(), filter)
				a.pruned("Deleted Containers", ids)
				if err == nil {
					a.reclaimed(bytes)
				}
				return err
			})
		},
	}
	p.register(cmd)
	return cmd
}

func (a *app) imagePruneCommand() *cobra.Command {
	var p pruneFlags
	var all bool
	cmd := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove images that no tag points to",
		Long: `Remove images that no tag points to any more: those of the tags' history, which cannot be rolled back to then. What a container
was made of stays. With --filter until=24h the history of the last 24 hours is kept; "camada gc" keeps that of 30 days. With --all, tags that no container uses are
removed before.`,
		Example: `  camada image prune
  camada image prune -a --filter until=240h`,
		Args: args(0, 0), Annotations: map[string]string{inNamespace: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			warning := "This will remove all images without a tag, and the tags' history."
			if all {
				warning = "This will remove all images without at least one container associated to them."
			}
			return a.prune(cmd, p, warning, func(e *engine.Engine, filter engine.PruneFilter) error {
				tags, bytes, err := e.PruneImages(cmd.Context(), all, filter)
				a.pruned("Deleted Images", tags)
				if err == nil {
					a.reclaimed(bytes)
				}
				return err
			})
		},
	}
	p.register(cmd)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "remove tags that no container uses too")
	return cmd
}

func (a *app) systemPruneCommand() *cobra.Command {
	var p pruneFlags
	var all, volumes bool
	cmd := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove what is not used: containers, images, build cache, volumes",
		Example: `  camada system prune
  camada system prune -a --volumes --force`,
		Args: args(0, 0), Annotations: map[string]string{inNamespace: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			warning := "This will remove:\n  - all stopped containers\n"
			if volumes {
				warning += "  - all anonymous volumes not used by at least one container\n"
			}
			if all {
				warning += "  - all images without at least one container associated to them\n  - all build cache\n"
			} else {
				warning += "  - all images without a tag, and the tags' history\n  - unused build cache\n"
			}
			return a.prune(cmd, p, warning, func(e *engine.Engine, filter engine.PruneFilter) error {
				res, err := e.PruneSystem(cmd.Context(), engine.PruneOptions{All: all, Volumes: volumes, Filter: filter})
				a.pruned("Deleted Containers", res.Containers)
				a.pruned("Deleted Volumes", res.Volumes)
				a.pruned("Deleted Images", res.Tags)
				if err == nil {
					a.reclaimed(res.Bytes)
				}
				return err
			})
		},
	}
	p.register(cmd)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "remove all images that no container uses, and all build cache")
	cmd.Flags().BoolVar(&volumes, "volumes", false, "remove the volumes that nobody named and no container uses, too")
	return cmd
}

// pruned prints what was removed under a title, when there is something.
func (a *app) pruned(title string, names []string) {
	if len(names) > 0 {
		fmt.Fprintf(a.stdout, "%s:\n%s\n\n", title, strings.Join(names, "\n"))
	}
}

func (a *app) reclaimed(bytes int64) {
	fmt.Fprintf(a.stdout, "Total reclaimed space: %s\n", display.Bytes(bytes))
}
