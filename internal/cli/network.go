package cli

import (
	"fmt"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/format"
	"github.com/camada/camada/network"
	"github.com/spf13/cobra"
)

func (a *app) networkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "network", Short: "Make networks and connect containers to them", Args: args(0, 0),
		Long: `Make networks and connect containers to them. Containers on a network find each other by name;
containers of different networks do not reach each other.`,
		Example: `  camada network create back
  camada run -d --network back --name db postgres
  camada run --rm --network back app ping db`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.networkCreate(), a.networkLs(), a.networkInspect(), a.networkConnect(), a.networkDisconnect(), a.networkRm(), a.networkPrune())
	return cmd
}

func (a *app) networkCreate() *cobra.Command {
	var o engine.NetworkOptions
	var options, labels []string
	cmd := &cobra.Command{
		Use: "create [OPTIONS] NETWORK", Short: "Make a network",
		Example: `  camada network create back
  camada network create --subnet 10.20.0.0/24 --ip-range 10.20.0.128/25 --ipv6 front
  camada network create --internal --label env=test secret
  camada network create -d macvlan -o parent=eth0 --subnet 192.168.1.0/24 --gateway 192.168.1.1 lan`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Name = args[0]
			var err error
			empty := func(string) (string, bool) { return "", true }
			if o.Options, err = keyValues("--opt", options, empty); err != nil {
				return err
			}
			if o.Labels, err = keyValues("--label", labels, empty); err != nil {
				return err
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				id, err := e.CreateNetwork(cmd.Context(), o)
				if err != nil {
					return err
				}
				fmt.Fprintln(a.stdout, id)
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.Driver, "driver", "d", "bridge", "`driver`: bridge, macvlan, ipvlan or none")
	f.StringSliceVar(&o.Subnets, "subnet", nil, "`subnet`, ADDRESS/BITS; one of each family")
	f.StringSliceVar(&o.Gateways, "gateway", nil, "`address` of the gateway in a subnet")
	f.StringSliceVar(&o.IPRanges, "ip-range", nil, "part of a `subnet` from which addresses are chosen")
	f.StringSliceVar(&o.AuxAddresses, "aux-address", nil, "address that others have: `NAME=ADDRESS`")
	f.BoolVar(&o.IPv6, "ipv6", false, "give containers IPv6 addresses too")
	f.BoolVar(&o.Internal, "internal", false, "no way out of the network")
	f.BoolVar(&o.Attachable, "attachable", false, "accepted for docker's sake: containers can always be connected by hand")
	listFlag(f, &options, "opt", "o", "option of the driver, `NAME=VALUE`: parent, macvlan_mode, ipvlan_mode, com.docker.network.bridge.name, ...")
	listFlag(f, &labels, "label", "", "label, `NAME=VALUE`")
	return cmd
}

func networkColumns(noTrunc bool) []format.Column[engine.NetworkRow] {
	return []format.Column[engine.NetworkRow]{
		{Header: "NETWORK ID", Value: func(r engine.NetworkRow) string { return shorten(r.ID, 12, noTrunc) }},
		{Header: "NAME", Value: func(r engine.NetworkRow) string { return r.Name }},
		{Header: "DRIVER", Value: func(r engine.NetworkRow) string { return r.Driver }},
		{Header: "SCOPE", Value: func(r engine.NetworkRow) string { return r.Scope }},
	}
}

func (a *app) networkLs() *cobra.Command {
	var how string
	var filters []string
	var quiet, noTrunc bool
	cmd := &cobra.Command{
		Use: "ls [OPTIONS]", Aliases: []string{"list"}, Short: "List networks",
		Example: `  camada network ls
  camada network ls -q --filter type=custom
  camada network ls --format '{{.Name}} {{.Driver}}'`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				rows, err := e.Networks(cmd.Context(), filters)
				if err != nil {
					return err
				}
				if quiet {
					for _, r := range rows {
						fmt.Fprintln(a.stdout, shorten(r.ID, 12, noTrunc))
					}
					return nil
				}
				for i := range rows {
					rows[i].ID = shorten(rows[i].ID, 12, noTrunc)
				}
				return format.Table[engine.NetworkRow]{Columns: networkColumns(noTrunc)}.Write(a.stdout, how, rows)
			})
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&quiet, "quiet", "q", false, "print IDs only")
	f.BoolVar(&noTrunc, "no-trunc", false, "do not shorten")
	f.StringVar(&how, "format", "", "table, json or a Go `template`")
	listFlag(f, &filters, "filter", "f", "`name=`, id=, driver=, label=, scope=, type=custom|builtin or dangling=true|false")
	return cmd
}

func (a *app) networkInspect() *cobra.Command {
	var how string
	cmd := &cobra.Command{
		Use: "inspect [OPTIONS] NETWORK...", Short: "Show all that is known of networks",
		Example: `  camada network inspect back
  camada network inspect -f '{{(index .IPAM.Config 0).Subnet}}' back`,
		Args: args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				return a.inspect(args, how, func(name string) (any, error) { return e.InspectNetwork(cmd.Context(), name) })
			})
		},
	}
	cmd.Flags().StringVarP(&how, "format", "f", "", "json or a Go `template`")
	return cmd
}

func (a *app) networkConnect() *cobra.Command {
	var ip, ip6, mac string
	var aliases []string
	cmd := &cobra.Command{
		Use: "connect [OPTIONS] NETWORK CONTAINER", Short: "Connect a container to a network",
		Example: `  camada network connect back web
  camada network connect --alias www --ip 10.20.0.9 front web`,
		Args: args(2, 2), Annotations: map[string]string{inNamespace: shared},
		RunE: func(cmd *cobra.Command, args []string) error {
			var r network.Request
			for _, a := range aliases {
				if err := r.AddAlias(a); err != nil {
					return err
				}
			}
			for _, wish := range []struct {
				text string
				set  func(string) error
			}{
				{ip, func(s string) error { return r.SetAddress(s, false) }},
				{ip6, func(s string) error { return r.SetAddress(s, true) }},
				{mac, r.SetMAC},
			} {
				if wish.text == "" {
					continue
				}
				if err := wish.set(wish.text); err != nil {
					return err
				}
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error { return e.ConnectNetwork(cmd.Context(), args[0], args[1], r) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&ip, "ip", "", "IPv4 `address` on the network")
	f.StringVar(&ip6, "ip6", "", "IPv6 `address` on the network")
	f.StringVar(&mac, "mac-address", "", "hardware `address` on the network")
	listFlag(f, &aliases, "alias", "", "one more `name` under which others on the network find it")
	return cmd
}

func (a *app) networkDisconnect() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "disconnect [OPTIONS] NETWORK CONTAINER", Short: "Take a container off a network",
		Example: "  camada network disconnect back web", Args: args(2, 2), Annotations: map[string]string{inNamespace: shared},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error { return e.DisconnectNetwork(cmd.Context(), args[0], args[1], force) })
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "it is no error that the container or the network is not there")
	return cmd
}

func (a *app) networkRm() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "rm [OPTIONS] NETWORK...", Aliases: []string{"remove"}, Short: "Remove networks",
		Example: "  camada network rm back front", Args: args(1, -1), Annotations: map[string]string{inNamespace: shared},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				return a.each(args, func(name string) error {
					if err := e.RemoveNetwork(cmd.Context(), name, force); err != nil {
						return err
					}
					fmt.Fprintln(a.stdout, name)
					return nil
				})
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "it is no error that a network is not there")
	return cmd
}

func (a *app) networkPrune() *cobra.Command {
	var force bool
	var filters []string
	cmd := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove the networks that no container names",
		Example: "  camada network prune --force --filter until=24h", Args: args(0, 0), Annotations: map[string]string{inNamespace: shared},
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := engine.ParsePruneFilter(filters)
			if err != nil {
				return err
			}
			if !force && !a.confirm("This will remove all networks that no container names.") {
				return nil
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				names, err := e.PruneNetworks(cmd.Context(), filter)
				if len(names) > 0 {
					fmt.Fprintln(a.stdout, "Deleted Networks:")
				}
				for _, n := range names {
					fmt.Fprintln(a.stdout, n)
				}
				if len(names) > 0 {
					fmt.Fprintln(a.stdout)
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	listFlag(cmd.Flags(), &filters, "filter", "", "`until=`TIME or age, label=NAME[=VALUE], label!=NAME[=VALUE]")
	return cmd
}

// confirm asks on the terminal whether to go on.
func (a *app) confirm(what string) bool {
	fmt.Fprintf(a.stderr, "WARNING! %s\nAre you sure you want to continue? [y/N] ", what)
	var answer string
	_, _ = fmt.Fscanln(a.stdin, &answer)
	return answer == "y" || answer == "Y" || answer == "yes"
}
