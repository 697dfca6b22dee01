package cli

import (
	"fmt"
	"strings"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
)

func (a *app) topCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "top CONTAINER [ps OPTIONS]", Short: "Show the processes of a container",
		Long: `Show the processes of a running container, with the numbers that they have on this machine. Options are those of this machine's
ps; they must show the column PID.`,
		Example: `  camada top web
  camada top web -o pid,user,comm
  camada top web aux`,
		Args: args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				t, err := e.Top(cmd.Context(), args[0], args[1:])
				if err != nil {
					return err
				}
				var columns []format.Column[[]string]
				for i, title := range t.Titles {
					columns = append(columns, format.Column[[]string]{Header: title, Value: func(cells []string) string {
						if i < len(cells) {
							return cells[i]
						}
						return ""
					}})
				}
				return format.Table[[]string]{Columns: columns}.Write(a.stdout, "", t.Processes)
			})
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func (a *app) portCommand() *cobra.Command {
	return &cobra.Command{
		Use: "port CONTAINER [PORT[/PROTOCOL]]", Short: "Show where the ports of a container are published",
		Example: `  camada port web
  camada port web 80`,
		Args: args(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			port := strings.Join(args[1:], "")
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				list, err := e.Ports(cmd.Context(), args[0], port)
				if err != nil {
					return err
				}
				for _, p := range list {
					if port != "" {
						fmt.Fprintln(a.stdout, p.Host)
					} else {
						fmt.Fprintf(a.stdout, "%s -> %s\n", p.Container, p.Host)
					}
				}
				return nil
			})
		},
	}
}
