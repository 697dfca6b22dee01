package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/camada/camada/engine"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) generateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "generate", Short: "Write units of systemd", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.generateSystemdCommand())
	return cmd
}

func (a *app) generateSystemdCommand() *cobra.Command {
	var o engine.UnitOptions
	var files bool
	cmd := &cobra.Command{
		Use:   "systemd [OPTIONS] CONTAINER",
		Short: "Write a unit that runs a container under systemd",
		Long: `Write a unit that starts a container and stops it; with --new it makes the container when it starts and removes it
when it stops, with the flags that the container was made with.`,
		Example: `  camada generate systemd --name web > /etc/systemd/system/web.service
  camada generate systemd --new --files --name --restart-policy always web`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if o.Program, err = os.Executable(); err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				name, text, err := e.SystemdUnit(cmd.Context(), args[0], o)
				if err != nil {
					return err
				}
				if !files {
					_, err = fmt.Fprint(a.stdout, text)
					return err
				}
				path, err := filepath.Abs(name)
				if err == nil {
					err = os.WriteFile(path, []byte(text), 0o644)
				}
				if err != nil {
					return fmt.Errorf("write the unit: %w", err)
				}
				fmt.Fprintln(a.stdout, path)
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.New, "new", false, "make the container at the start of the unit, and remove it at its end")
	f.BoolVarP(&o.Name, "name", "n", false, "call the unit and the container by the container's name, not its ID")
	f.BoolVarP(&files, "files", "f", false, "write a file into this directory, and print its path")
	f.StringVar(&o.RestartPolicy, "restart-policy", "", "systemd's `policy`: no, on-success, on-failure, on-abnormal, on-watchdog, on-abort or always (default: on-failure)")
	f.IntVarP(&o.StopTimeout, "stop-timeout", "t", -1, "`seconds` that the container has to end (default: the container's)")
	return cmd
}

// flagsOf are the flags that a container was made with, each as one word; those that belong to one start alone are left out.
func flagsOf(f *pflag.FlagSet) []string {
	var words []string
	f.Visit(func(flag *pflag.Flag) {
		switch flag.Name {
		case "name", "detach", "rm", "cidfile", "restart", "attach", "detach-keys", "sig-proxy", "timings", "root", "storage-driver":
			return
		}
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			for _, v := range list.GetSlice() {
				words = append(words, "--"+flag.Name+"="+v)
			}
			return
		}
		words = append(words, "--"+flag.Name+"="+flag.Value.String())
	})
	return words
}

func (a *app) systemStartCommand() *cobra.Command {
	return &cobra.Command{
		Use: "start", Short: "Start the containers that should run, after a start of the machine",
		Long: `Start the containers that do not run and whose restart policy wants them to: always; unless-stopped, when the user did
not stop them; on-failure, when they failed. Nothing else starts them when the machine was started again.`,
		Example: "  camada system start", Args: args(0, 0), Annotations: map[string]string{inNamespace: shared},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				all, err := e.StartAll(cmd.Context())
				if err != nil {
					return err
				}
				failed := false
				for _, r := range all {
					if r.Err != nil {
						fmt.Fprintf(a.stderr, "camada: %v\n", r.Err)
						failed = true
						continue
					}
					fmt.Fprintln(a.stdout, r.Name)
				}
				if failed {
					return &exitError{code: codeFailed}
				}
				return nil
			})
		},
	}
}
