package cli

import (
	"fmt"
	"time"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/gc/fsck"
	"github.com/camada/camada/internal/cli/display"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
)

func (a *app) gcCommand() *cobra.Command {
	var o engine.GCOptions
	var how string
	keep := 30 * 24 * time.Hour
	cmd := &cobra.Command{
		Use: "gc [OPTIONS]", Short: "Remove what nothing points to any more",
		Long: `Remove blobs, snapshots and build cache that no tag, no entry of a tag's history within its keep time, no
container and no running camada needs. It runs beside everything else.`,
		Example: `  camada gc --dry-run
  camada gc --keep 24h --cache-keep 0s`,
		Args:        args(0, 0),
		Annotations: map[string]string{inNamespace: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.KeepLog = keep
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				res, err := e.GC(cmd.Context(), o)
				if err != nil {
					return err
				}
				if how != "" {
					return format.Show(a.stdout, how, res)
				}
				verb := "removed"
				if o.DryRun {
					verb = "would remove"
				}
				fmt.Fprintf(a.stdout, "%s %s, %s, %s, %s and %s: %s\n", verb, plural(res.Blobs, "blob"), plural(res.Snapshots, "snapshot"),
					plural(res.CacheRecords, "cache record"), plural(res.CacheMounts, "cache mount"), plural(res.Ingests, "unfinished write"), display.Bytes(res.Bytes))
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.DryRun, "dry-run", false, "only say what would be removed")
	f.DurationVar(&keep, "keep", keep, "keep what a tag pointed to within this `time`")
	f.IntVar(&o.KeepEntries, "keep-entries", 10, "keep at least this `number` of entries of each tag's history")
	f.DurationVar(&o.KeepCache, "cache-keep", 14*24*time.Hour, "keep build cache that was used within this `time`")
	f.StringVar(&how, "format", "", "json or a Go `template`")
	return cmd
}

func (a *app) fsckCommand() *cobra.Command {
	var repair bool
	var how string
	cmd := &cobra.Command{
		Use: "fsck [OPTIONS]", Short: "Check the store, and repair it",
		Long: `Check that every blob is what its digest says, that every tag points to a complete image, that the logs can be read and
that the index agrees. The exit code is 3 when something is wrong and was not repaired.`,
		Example: "  camada fsck --repair", Args: args(0, 0),
		Annotations: map[string]string{inNamespace: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				rep, err := e.Fsck(cmd.Context(), repair)
				if err != nil {
					return err
				}
				if how != "" {
					err = format.Show(a.stdout, how, rep)
				} else {
					a.printReport(rep)
				}
				if err == nil && !rep.Whole() {
					err = &exitError{code: codeCorrupt}
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&repair, "repair", false, "repair what can be repaired; broken blobs are moved aside")
	cmd.Flags().StringVar(&how, "format", "", "json or a Go `template`")
	return cmd
}

func (a *app) printReport(rep fsck.Report) {
	left := 0
	for _, p := range rep.Problems {
		state := "repaired"
		if !p.Repaired {
			left++
			state = p.Advice
		}
		fmt.Fprintf(a.stdout, "%s: %s: %s; %s\n", p.Path, p.Kind, p.Detail, state)
	}
	verdict := "no problems"
	switch {
	case left > 0:
		verdict = fmt.Sprintf("%s, %d not repaired", plural(len(rep.Problems), "problem"), left)
	case len(rep.Problems) > 0:
		verdict = plural(len(rep.Problems), "problem") + ", all repaired"
	}
	fmt.Fprintf(a.stdout, "checked %s (%s) and %s: %s\n", plural(rep.Blobs, "blob"), display.Bytes(rep.Bytes), plural(rep.Refs, "tag"), verdict)
}

func (a *app) dfCommand() *cobra.Command {
	var how string
	cmd := &cobra.Command{
		Use: "df", Short: "Show what the store takes on disk",
		Example: "  camada df --format json", Args: args(0, 0),
		Annotations: map[string]string{inNamespace: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				rows, err := e.DiskUsage(cmd.Context())
				if err != nil {
					return err
				}
				return format.Table[engine.UsageRow]{Columns: []format.Column[engine.UsageRow]{
					{Header: "TYPE", Value: func(r engine.UsageRow) string { return r.Type }},
					{Header: "TOTAL", Value: func(r engine.UsageRow) string { return fmt.Sprint(r.Total) }},
					{Header: "ACTIVE", Value: func(r engine.UsageRow) string { return fmt.Sprint(r.Active) }},
					{Header: "SIZE", Value: func(r engine.UsageRow) string { return display.Bytes(r.Bytes) }},
					{Header: "RECLAIMABLE", Value: func(r engine.UsageRow) string { return display.Bytes(r.Reclaimable) }},
				}}.Write(a.stdout, how, rows)
			})
		},
	}
	cmd.Flags().StringVar(&how, "format", "", "table, json or a Go `template`")
	return cmd
}

func (a *app) infoCommand() *cobra.Command {
	var how string
	cmd := &cobra.Command{
		Use: "info", Short: "Show what camada found on this machine and what it chose",
		Example: "  camada info --format '{{.Driver}}'", Args: args(0, 0),
		Annotations: map[string]string{inNamespace: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				info, err := e.Info(cmd.Context())
				if err != nil {
					return err
				}
				info.Version = a.version
				if how != "" {
					return format.Show(a.stdout, how, info)
				}
				for _, l := range info.Lines() {
					fmt.Fprintf(a.stdout, "%-16s %s\n", l.Name+":", l.Value)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVarP(&how, "format", "f", "", "json or a Go `template`")
	return cmd
}

func (a *app) versionCommand() *cobra.Command {
	var how string
	cmd := &cobra.Command{
		Use: "version", Short: "Show the version", Args: args(0, 0), Example: "  camada version --format json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := engine.VersionInfo(a.version)
			if how != "" {
				return format.Show(a.stdout, how, v)
			}
			fmt.Fprintf(a.stdout, "camada version %s, %s, %s\n", v.Version, v.GoVersion, v.Platform)
			return nil
		},
	}
	cmd.Flags().StringVarP(&how, "format", "f", "", "json or a Go `template`")
	return cmd
}

func (a *app) systemCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "system", Short: "Look after the store as a whole", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var force bool
	reset := &cobra.Command{
		Use: "reset --force", Short: "Remove all containers, images and everything else in the store",
		Example: "  camada --root /tmp/store system reset --force", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := a.with(cmd.Context(), func(e *engine.Engine) error {
				if !force {
					return errdefs.Invalid("this removes everything in %s; say --force to do it", e.Root())
				}
				// From outside of the user namespace: processes in that of another command can be signalled from here only.
				rows, err := e.Containers(cmd.Context(), engine.ContainerFilter{NoTrunc: true})
				if err != nil {
					return err
				}
				var ids []string
				for _, r := range rows {
					ids = append(ids, r.ID)
				}
				_, err = e.EndAll(cmd.Context(), ids)
				return err
			})
			if err != nil {
				return err
			}
			if err := a.enterNamespace(cmd, alone); err != nil {
				return err
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error { return e.Reset(cmd.Context()) })
		},
	}
	reset.Flags().BoolVarP(&force, "force", "f", false, "do it")
	cmd.AddCommand(reset, a.systemStartCommand(), a.systemPruneCommand(), a.dfCommand(), a.infoCommand())
	return cmd
}
