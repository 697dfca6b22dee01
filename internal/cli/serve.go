package cli

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/camada/camada/engine"
	"github.com/spf13/cobra"
)

func (a *app) serveCommand() *cobra.Command {
	var opts engine.ServeOptions
	var check, stdio bool
	cmd := &cobra.Command{
		Use: "serve [OPTIONS]", Short: "Serve a registry",
		Long: `Serve a registry, as the OCI distribution specification has it, until SIGTERM or SIGINT.

SIGHUP makes it read the file of the configuration again, and so does a change of the file. Nothing that is under way is cut off; what
counts only after a restart is named.

Without a configuration everybody who reaches the address may do everything. docs/registry.md has the keys of the file: TLS, users,
tokens, rules for repositories, immutable tags, limits.`,
		Example: `  camada serve
  camada serve --addr 0.0.0.0:443 --config /etc/camada/registry.yaml
  camada serve --config registry.yaml --check-config
  ssh host camada serve --stdio
  camada serve --admission --policy policy.yaml --tls-certificate tls.crt --tls-key tls.key`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var mu sync.Mutex
			opts.Fault = func(err error) {
				mu.Lock()
				defer mu.Unlock()
				fmt.Fprintf(a.stderr, "camada: %v\n", err)
			}
			if check {
				if err := engine.CheckServe(a.config(), opts); err != nil {
					return err
				}
				fmt.Fprintln(a.stdout, "the configuration is good")
				return nil
			}
			if stdio {
				opts.In, opts.Out = os.Stdin, os.Stdout
				return engine.Serve(cmd.Context(), a.config(), opts)
			}
			if opts.ConfigFile != "" {
				again := make(chan os.Signal, 1)
				signal.Reset(syscall.SIGHUP) // it ends all other verbs
				signal.Notify(again, syscall.SIGHUP)
				defer signal.Stop(again)
				opts.Again = again
			}
			opts.Reloaded = func(kept []string) {
				mu.Lock()
				defer mu.Unlock()
				fmt.Fprintln(a.stdout, "the configuration was read again")
				if len(kept) > 0 {
					fmt.Fprintf(a.stderr, "camada: warning: changed in the configuration, and used only after a restart: %s\n", strings.Join(kept, ", "))
				}
			}
			opts.Ready = func(s engine.Serving) {
				fmt.Fprintf(a.stdout, "serving %s at %s\n", s.Data, s.URL)
				if s.Open {
					fmt.Fprintln(a.stderr, "camada: warning: everybody who reaches this address may do everything; name users in a file and give it with --config")
				}
			}
			return engine.Serve(cmd.Context(), a.config(), opts)
		},
	}
	f := cmd.Flags()
	f.StringVar(&opts.Addr, "addr", "", "`HOST:PORT` to listen at (default \""+engine.DefaultServeAddr+"\")")
	f.StringVar(&opts.Data, "data", "", "`directory` of the data (default \"registry\" in the store)")
	f.StringVar(&opts.ConfigFile, "config", "", "`file` with the configuration, in YAML")
	f.BoolVar(&check, "check-config", false, "say what is wrong with the configuration, and end")
	f.BoolVar(&stdio, "stdio", false, "speak over standard input and output instead, for one client")
	cmd.MarkFlagsMutuallyExclusive("stdio", "addr")
	cmd.MarkFlagsMutuallyExclusive("stdio", "check-config")
	a.orAdmission(cmd, &opts.Addr)
	return cmd
}
