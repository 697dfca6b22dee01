package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
)

func (a *app) eventsCommand() *cobra.Command {
	var o engine.EventOptions
	var how, since, until string
	cmd := &cobra.Command{
		Use:   "events [OPTIONS]",
		Short: "Show what happens to containers, images, networks and volumes",
		Long: `Show what happens, as it happens. The events of some time are kept: --since shows those too. --until ends the list: without it,
the command goes on until it is interrupted.`,
		Example: `  camada events --filter type=container --filter event=die
  camada events --since 1h --until 0s --format json
  camada events --format '{{.Action}} {{.Actor.Attributes.name}}'`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			now := time.Now()
			if o.Since, err = parseWhen(since, now); err != nil {
				return usage(cmd, "--since %s: %v", since, err)
			}
			if o.Until, err = parseWhen(until, now); err != nil {
				return usage(cmd, "--until %s: %v", until, err)
			}
			show, err := a.eventWriter(how)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(e *engine.Engine) error { return e.Events(cmd.Context(), o, show) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&since, "since", "", "show those since this `time` too (2026-01-02T15:04:05Z, seconds since 1970), or since so long ago (10m)")
	f.StringVar(&until, "until", "", "show those until this `time`, and end")
	listFlag(f, &o.Filters, "filter", "f", "`container=`, event=, image=, label=, network=, type= or volume=")
	f.StringVar(&how, "format", "", "json or a Go `template`")
	return cmd
}

// eventWriter prints events: as docker's text, as JSON, or by a template.
func (a *app) eventWriter(how string) (func(engine.EventMessage) error, error) {
	switch how {
	case "":
		return func(m engine.EventMessage) error {
			_, err := fmt.Fprintln(a.stdout, eventText(m))
			return err
		}, nil
	case "json", "{{json .}}":
		return func(m engine.EventMessage) error { return json.NewEncoder(a.stdout).Encode(m) }, nil
	}
	t, err := format.Parse(how)
	if err != nil {
		return nil, err
	}
	return func(m engine.EventMessage) error {
		err := t.Execute(a.stdout, m)
		if err == nil {
			_, err = fmt.Fprintln(a.stdout)
		}
		return err
	}, nil
}

func eventText(m engine.EventMessage) string {
	text := time.Unix(0, m.TimeNano).Format("2006-01-02T15:04:05.000000000Z07:00") + " " + m.Type + " " + m.Action + " " + m.Actor.ID
	if len(m.Actor.Attributes) == 0 {
		return text
	}
	attrs := make([]string, 0, len(m.Actor.Attributes))
	for k, v := range m.Actor.Attributes {
		attrs = append(attrs, k+"="+v)
	}
	slices.Sort(attrs)
	return text + " (" + strings.Join(attrs, ", ") + ")"
}
