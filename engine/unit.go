package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

// UnitOptions say how SystemdUnit writes a unit.
type UnitOptions struct {
	// Program is the path of this program.
	Program string
	// New makes the container when the unit starts, and removes it when that stops; else the container that is there is started.
	New bool
	// Name names the unit by the container's name and not by its ID.
	Name bool
	// RestartPolicy is systemd's; "" is on-failure.
	RestartPolicy string
	// StopTimeout in seconds; negative is the container's own.
	StopTimeout int
}

// SystemdUnit returns the name and the text of a unit that runs a container, in the foreground, so that systemd sees it end.
func (e *Engine) SystemdUnit(ctx context.Context, container string, opts UnitOptions) (name, text string, err error) {
	policies := []string{"no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always"}
	if !slices.Contains(policies, orElse(opts.RestartPolicy, "on-failure")) {
		return "", "", errdefs.Invalid("--restart-policy %s: want one of %s", opts.RestartPolicy, strings.Join(policies, ", "))
	}
	c, err := e.records.Get(ctx, container)
	if err != nil {
		return "", "", err
	}
	l, err := launchOf(c)
	if err != nil {
		return "", "", err
	}
	if l.Options.TTY && l.Options.Interactive && opts.New {
		return "", "", errdefs.Invalid("container %s wants a terminal (-it): a unit has none", container)
	}
	id := c.Config.ID
	if opts.Name || opts.New {
		id = c.Config.Name
	}
	name = "container-" + id + ".service"
	stop := l.Options.stopTimeout(l.Image)
	if opts.StopTimeout >= 0 {
		stop = time.Duration(opts.StopTimeout) * time.Second
	}
	program := []string{opts.Program, "--root", e.root}
	if e.driver != "" {
		program = append(program, "--storage-driver", e.driver)
	}
	line := func(args ...string) string { return unitWords(append(slices.Clone(program), args...)) }
	start, before, after := line("start", "--attach", id), "", ""
	if opts.New {
		args := append([]string{"run", "--rm", "--name", id}, l.Options.Flags...)
		args = append(append(args, l.Options.Image), l.Options.Args...)
		start = line(args...)
		before = "ExecStartPre=-" + line("rm", "--force", id) + "\n"
		after = "ExecStopPost=-" + line("rm", "--force", id) + "\n"
	}
	const spare = 60 * time.Second // for what is to be done after the container's end
	limit := "infinity"
	if stop >= 0 {
		limit = fmt.Sprint(int((stop + spare) / time.Second))
	}
	text = fmt.Sprintf(`# %[1]s

[Unit]
Description=camada container %[2]s
Wants=network-online.target
After=network-online.target
RequiresMountsFor=%[3]s

[Service]
Type=simple
KillMode=mixed
Restart=%[4]s
TimeoutStopSec=%[5]s
SuccessExitStatus=143
%[6]sExecStart=%[7]s
ExecStop=-%[8]s
%[9]s
[Install]
WantedBy=default.target
`, name, c.Config.Name, unitWord(e.root), orElse(opts.RestartPolicy, "on-failure"), limit, before, start,
		line("stop", "--time", fmt.Sprint(int(stop/time.Second)), id), after)
	return name, text, nil
}

// unitWords makes a command line of systemd.
func unitWords(args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = strings.ReplaceAll(unitWord(a), "$", "$$")
	}
	return strings.Join(words, " ")
}

// unitWord quotes a word (systemd.syntax(7)).
func unitWord(s string) string {
	q := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`, "%", "%%").Replace(s)
	if q != s && strings.ReplaceAll(q, "%%", "%") != s || s == "" || strings.ContainsAny(s, " ';") {
		return `"` + q + `"`
	}
	return q
}
