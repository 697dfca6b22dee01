package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

// group is a management command, as docker has them: the same verbs under another name.
func (a *app) group(name, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: name, Short: short, Args: args(0, 0), Example: "  camada " + name + " " + first(verbs[0].Use) + " --help",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(verbs...)
	return cmd
}

// first is the first word of a usage line: the verb.
func first(use string) string {
	name, _, _ := strings.Cut(use, " ")
	return name
}

// as gives a verb another name, as it has in its group.
func as(name string, cmd *cobra.Command, aliases ...string) *cobra.Command {
	cmd.Use = name + strings.TrimPrefix(cmd.Use, first(cmd.Use))
	cmd.Aliases = aliases
	return cmd
}

func (a *app) containerGroup() *cobra.Command {
	return a.group("container", "Look after containers",
		a.commitCommand(), a.cpCommand(), a.createCommand(), a.diffCommand(), a.execCommand(), a.exportCommand(), a.inspectOf("container"), a.killCommand(), a.logsCommand(),
		as("ls", a.psCommand(), "ps", "list"), a.pauseCommand(), a.portCommand(), a.containerPruneCommand(), a.renameCommand(), a.restartCommand(), a.rmCommand(),
		a.runCommand(), a.startCommand(), a.statsCommand(), a.stopCommand(), a.topCommand(), a.unpauseCommand(), a.updateCommand(), a.waitCommand())
}

func (a *app) imageGroup() *cobra.Command {
	return a.group("image", "Look after images",
		a.buildCommand(), a.historyCommand(), a.importCommand(), a.inspectOf("image"), a.loadCommand(), as("ls", a.imagesCommand(), "list"), a.imagePruneCommand(),
		a.pullCommand(), a.pushCommand(), as("rm", a.rmiCommand(), "rmi", "remove"), a.saveCommand(), a.tagCommand())
}

// inspectOf is inspect for one kind of thing.
func (a *app) inspectOf(kind string) *cobra.Command {
	cmd := a.inspectCommand()
	_ = cmd.Flags().Set("type", kind)
	_ = cmd.Flags().MarkHidden("type")
	return cmd
}
