package engine

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/container/procs"
	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
)

// TopTable is what top shows: the titles, and the cells of each process.
type TopTable struct {
	Titles    []string
	Processes [][]string
}

// maxPs is how much output of ps is read, in bytes.
const maxPs = 16 << 20

// Top lists the processes of a running container, with the pids of the host. Without options the columns are those of ps -ef; with
// options it is the host's ps that lists them, as with docker, and pid must be one of its columns.
func (e *Engine) Top(ctx context.Context, name string, options []string) (TopTable, error) {
	c, err := e.running(ctx, name)
	if err != nil {
		return TopTable{}, err
	}
	r, apart, err := e.apart(ctx, c)
	if err == nil && apart && len(options) > 0 {
		err = errdefs.Unsupported("they are not processes of this machine, whose ps the options are for")
	}
	var pids []int
	if err == nil && !apart {
		pids, err = pidsOf(c)
	}
	if err != nil {
		return TopTable{}, fmt.Errorf("processes of container %s: %w", name, err)
	}
	if apart {
		titles, rows, err := r.Table(ctx, c.Config.ID)
		return TopTable{Titles: titles, Processes: rows}, err
	}
	if len(options) == 0 {
		return ownTop(pids), nil
	}
	numbers := make([]string, len(pids))
	for i, pid := range pids {
		numbers[i] = strconv.Itoa(pid)
	}
	// Some options go with a list of processes, and show no others than the terminal's without; others do not.
	out, err := ps(ctx, append(slices.Clone(options), "-q"+strings.Join(numbers, ",")))
	if err != nil {
		out, err = ps(ctx, options)
	}
	if err != nil {
		return TopTable{}, err
	}
	return chooseLines(out, pids)
}

// pidsOf lists the processes of a container that runs, in order.
func pidsOf(c *record.Container) ([]int, error) {
	var pids []int
	g, err := groupOf(c)
	if err == nil {
		defer g.Close() //nolint:errcheck // only a descriptor
		pids, err = g.Pids()
	} else {
		pids, err = procs.InPIDNamespaceOf(c.State.Pid)
	}
	slices.Sort(pids)
	return pids, err
}

func ownTop(pids []int) TopTable {
	t := TopTable{Titles: []string{"UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"}}
	up, now := procs.Uptime(), time.Now()
	for _, p := range procs.List(pids) {
		share := 0
		if age := up - p.Started; age > 0 {
			share = int(100 * p.CPU / age)
		}
		began := now.Add(p.Started - up)
		text := began.Format("15:04")
		if now.Sub(began) > 24*time.Hour {
			text = began.Format("Jan02")
		}
		s := int(p.CPU.Seconds())
		t.Processes = append(t.Processes, []string{procs.UserName(p.UID), strconv.Itoa(p.PID), strconv.Itoa(p.PPID), strconv.Itoa(share), text,
			ttyName(p.TTY), fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60), p.Command})
	}
	return t
}

// ttyName is the terminal of a device number, as ps says it: major 136 to 143 are pseudo terminals.
func ttyName(dev uint64) string {
	major, minor := dev>>8&0xfff, dev&0xff|dev>>12&0xfff00
	switch {
	case dev == 0:
		return "?"
	case major >= 136 && major <= 143:
		return fmt.Sprintf("pts/%d", (major-136)<<8|minor)
	case major == 4:
		return fmt.Sprintf("tty%d", minor)
	}
	return fmt.Sprintf("%d:%d", major, minor)
}

func ps(ctx context.Context, options []string) ([]byte, error) {
	program, err := exec.LookPath("ps")
	if err != nil {
		return nil, errdefs.Unsupported("options of top need the program ps on this machine, as the package procps has it: %w", err)
	}
	cmd := exec.CommandContext(ctx, program, options...)
	var out, bad bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &bad
	if err := cmd.Run(); err != nil {
		return nil, errdefs.Invalid("ps %s: %s", strings.Join(options, " "), strings.TrimSpace(orElse(bad.String(), err.Error())))
	}
	if out.Len() > maxPs {
		return nil, errdefs.Limit("ps wrote more than %d bytes", maxPs)
	}
	return out.Bytes(), nil
}

// chooseLines keeps the lines of ps that are of the given processes.
func chooseLines(out []byte, pids []int) (TopTable, error) {
	head, rest, _ := strings.Cut(string(out), "\n")
	t := TopTable{Titles: strings.Fields(head)}
	at := slices.Index(t.Titles, "PID")
	if at < 0 {
		return t, errdefs.Invalid("ps showed no column PID, which tells whose process it is; add pid to -o")
	}
	for line := range strings.SplitSeq(rest, "\n") {
		cells := strings.Fields(line)
		if len(cells) <= at {
			continue
		}
		pid, err := strconv.Atoi(cells[at])
		if err != nil || !slices.Contains(pids, pid) {
			continue
		}
		if last := len(t.Titles) - 1; len(cells) > last { // the last column has spaces
			cells = append(cells[:last:last], strings.Join(cells[last:], " "))
		}
		t.Processes = append(t.Processes, cells)
	}
	return t, nil
}
