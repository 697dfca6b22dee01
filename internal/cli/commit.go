package cli

import (
	"fmt"

	"github.com/camada/camada/engine"
	"github.com/spf13/cobra"
)

func (a *app) commitCommand() *cobra.Command {
	o := engine.CommitOptions{Pause: true}
	var secrets secretsPolicy
	cmd := &cobra.Command{
		Use: "commit [OPTIONS] CONTAINER [NAME[:TAG]]", Short: "Make an image of what a container changed",
		Long: `Make an image of what a container changed, on top of its own image. The image runs as the container did, but for --change. What is in volumes is not
in it. With SOURCE_DATE_EPOCH the same files give the same image.`,
		Example: `  camada commit -m 'add a user' web web:2
  camada commit -c 'CMD ["serve"]' -c 'EXPOSE 80' web web:2`,
		Args: args(1, 2), Annotations: map[string]string{inNamespace: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Container = args[0]
			if len(args) == 2 {
				o.Name = args[1]
			}
			var err error
			if o.Secrets, err = secrets.policy(); err != nil {
				return err
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				id, err := e.Commit(cmd.Context(), o)
				if err == nil {
					fmt.Fprintln(a.stdout, id)
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.Author, "author", "a", "", "`author` of the image")
	f.StringVarP(&o.Message, "message", "m", "", "`comment` for the history")
	listFlag(f, &o.Changes, "change", "c", "Dockerfile `instruction` for the image's config")
	f.BoolVarP(&o.Pause, "pause", "p", true, "pause the container meanwhile")
	secrets.addFlags(f)
	return cmd
}
