package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/container/record"
	"github.com/docker/go-units"
)

// ContainerFilter chooses containers.
type ContainerFilter struct {
	// All includes those that do not run; Last, when it is not 0, is how many of the newest there are at most, whether they run or not.
	All  bool
	Last int
	// Filters are NAME=VALUE, as docker ps has them: see containerMatcher.
	Filters []string
	// Size asks for Size, NoTrunc for whole IDs and commands.
	Size, NoTrunc bool
}

// ContainerRow is one line of ps; the names, and the texts, are docker's.
type ContainerRow struct {
	ID, Image, Command, CreatedAt, RunningFor, Ports, State, Status, Size, Names, Labels, Mounts, Networks, LocalVolumes string

	labels map[string]string
}

// Label is the value of a label, "" when there is none.
func (r ContainerRow) Label(name string) string { return r.labels[name] }

// Containers lists containers, the newest first.
func (e *Engine) Containers(ctx context.Context, filter ContainerFilter) ([]ContainerRow, error) {
	list, err := e.records.List(ctx)
	if err != nil {
		return nil, err
	}
	match, all, err := e.containerMatcher(list, filter)
	if err != nil {
		return nil, err
	}
	rows := []ContainerRow{}
	var st statuses
	for _, c := range list {
		if !all && !c.Active() || !match(c) {
			continue
		}
		rows = append(rows, e.row(ctx, &st, c, filter))
		if filter.Last > 0 && len(rows) == filter.Last {
			break
		}
	}
	return rows, nil
}

// networksOf are the names of the networks that a container is on when it runs.
func (e *Engine) networksOf(c *record.Container) []string {
	rs, err := e.requestsOf(c)
	if err != nil {
		return []string{c.Config.Network}
	}
	names := make([]string, 0, len(rs))
	for _, r := range rs {
		names = append(names, r.Network)
	}
	slices.Sort(names)
	return names
}

// onNetwork tells whether a container is on the network with an ID.
func (e *Engine) onNetwork(c *record.Container, id string) bool {
	n, err := e.definitions().Get(id)
	return err == nil && slices.Contains(e.networksOf(c), n.Name)
}

func (e *Engine) row(ctx context.Context, st *statuses, c *record.Container, f ContainerFilter) ContainerRow {
	r := ContainerRow{
		ID: c.Config.ID, Image: c.Config.ImageName, Command: commandText(c.Config.Command), CreatedAt: c.Config.Created.Local().Format("2006-01-02 15:04:05 -0700 MST"),
		RunningFor: HumanDuration(time.Since(c.Config.Created)) + " ago", Ports: portsText(c), State: st.of(c), Status: statusText(st, c), Size: "0B",
		Names: c.Config.Name, Labels: labelsText(c.Config.Labels), Networks: strings.Join(e.networksOf(c), ","), LocalVolumes: "0", labels: c.Config.Labels,
	}
	if !f.NoTrunc {
		r.ID = r.ID[:12]
		if text := []rune(r.Command); len(text) > 20 {
			r.Command = string(text[:19]) + "…"
		}
	}
	r.Command = `"` + r.Command + `"`
	var names []string
	volumes := 0
	for _, m := range c.Config.Mounts {
		name := m.Source
		switch {
		case m.Type == "volume":
			name, volumes = m.Name, volumes+1
		case name == "":
			continue
		}
		if text := []rune(name); !f.NoTrunc && len(text) > 15 {
			name = string(text[:14]) + "…"
		}
		names = append(names, name)
	}
	r.Mounts, r.LocalVolumes = strings.Join(names, ","), fmt.Sprint(volumes)
	if f.Size {
		own, all := e.sizesOf(ctx, c)
		r.Size = units.HumanSizeWithPrecision(float64(own), 3)
		if all > 0 {
			r.Size += " (virtual " + units.HumanSizeWithPrecision(float64(all), 3) + ")"
		}
	}
	return r
}

func labelsText(labels map[string]string) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		all = append(all, k+"="+labels[k])
	}
	return strings.Join(all, ",")
}

// sizesOf is what the files of a container's own take, and those of its image with them.
func (e *Engine) sizesOf(ctx context.Context, c *record.Container) (own, all int64) {
	snaps, err := e.snapshots(ctx)
	if err != nil {
		return 0, 0
	}
	for id := c.Config.Snapshot; id != ""; {
		u, err := snaps.Usage(ctx, id)
		if err != nil {
			return own, all
		}
		if all += u.Bytes; id == c.Config.Snapshot {
			own = u.Bytes
		}
		info, err := snaps.Stat(ctx, id)
		if err != nil {
			return own, all
		}
		id = info.Parent
	}
	return own, all
}

func statusText(now *statuses, c *record.Container) string {
	st := c.State
	switch st.Status {
	case record.Running:
		text := "Up " + HumanDuration(time.Since(st.Started)) + healthText(c.Health())
		if now.paused(c) {
			text += " (Paused)"
		}
		return text
	case record.Restarting:
		return fmt.Sprintf("Restarting (%d) %s ago", st.ExitCode, HumanDuration(time.Since(st.Finished)))
	case record.Exited:
		s := fmt.Sprintf("Exited (%d)", st.ExitCode)
		if !st.Finished.IsZero() {
			s += " " + HumanDuration(time.Since(st.Finished)) + " ago"
		}
		return s
	case record.Dead:
		return "Dead"
	}
	return "Created"
}

// healthText is what ps adds to the status.
func healthText(h *record.Health) string {
	switch {
	case h == nil:
		return ""
	case h.Status == record.HealthStarting:
		return " (health: starting)"
	}
	return " (" + h.Status + ")"
}

// commandText is a command in one line, as docker shows it: arguments with spaces are quoted.
func commandText(command []string) string {
	words := slices.Clone(command)
	for i := 1; i < len(words); i++ {
		if strings.Contains(words[i], " ") {
			words[i] = "'" + words[i] + "'"
		}
	}
	return strings.Join(words, " ")
}
