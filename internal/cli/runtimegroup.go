package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/container/bundle"
	"github.com/camada/camada/container/cgroup"
	"github.com/camada/camada/container/runtime"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (rt *runtimeApp) psCommand() *cobra.Command {
	var how string
	cmd := &cobra.Command{
		Use: "ps [OPTIONS] ID [PS-OPTION...]", Short: "List the processes of a container", Args: rt.between(1, -1),
		Example: `  camada runtime ps web
  camada runtime ps -f json web`,
		RunE: rt.verb(1, func(ctx context.Context, r *runtime.Runtime, args []string) error {
			pids, err := r.Pids(args[0])
			if err != nil {
				return err
			}
			switch how {
			case "json":
				if pids == nil {
					pids = []int{}
				}
				b, err := json.Marshal(pids)
				if err == nil {
					fmt.Fprintf(rt.stdout, "%s\n", b)
				}
				return err
			case "table":
				return rt.psTable(ctx, pids, args[1:])
			}
			return errdefs.Invalid("--format %q: want table or json", how)
		}),
	}
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().StringVarP(&how, "format", "f", "table", "`format`: table or json")
	return cmd
}

// psTable prints those rows of the host's ps that are of the given processes.
func (rt *runtimeApp) psTable(ctx context.Context, pids []int, options []string) error {
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	out, err := exec.CommandContext(ctx, "ps", options...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ps %s: %w: %s", strings.Join(options, " "), err, bytes.TrimSpace(out))
	}
	header, rows, _ := strings.Cut(string(out), "\n")
	column := slices.Index(strings.Fields(header), "PID")
	if column < 0 {
		return errdefs.Invalid("ps %s: prints no column PID", strings.Join(options, " "))
	}
	fmt.Fprintln(rt.stdout, header)
	for row := range strings.Lines(rows) {
		if f := strings.Fields(row); len(f) > column {
			if pid, err := strconv.Atoi(f[column]); err == nil && slices.Contains(pids, pid) {
				fmt.Fprint(rt.stdout, row)
			}
		}
	}
	return nil
}

func (rt *runtimeApp) pauseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "pause ID", Short: "Freeze all processes of a container", Args: rt.exactly(1), Example: "  camada runtime pause web",
		RunE: rt.verb(1, func(ctx context.Context, r *runtime.Runtime, args []string) error { return r.Pause(ctx, args[0]) }),
	}
}

func (rt *runtimeApp) resumeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "resume ID", Short: "Let the processes of a paused container go on", Args: rt.exactly(1), Example: "  camada runtime resume web",
		RunE: rt.verb(1, func(ctx context.Context, r *runtime.Runtime, args []string) error { return r.Resume(ctx, args[0]) }),
	}
}

// runtimeUpdate are the flags of update.
type runtimeUpdate struct {
	file                                  string
	weight                                uint16
	period, shares, rtPeriod, burst       uint64
	quota, rtRuntime, pids, idle          int64
	cpus, mems, memory, reservation, swap string
	l3, bandwidth                         string
}

func (rt *runtimeApp) updateCommand() *cobra.Command {
	var o runtimeUpdate
	cmd := &cobra.Command{
		Use: "update [OPTIONS] ID", Short: "Change the limits of a container", Args: rt.exactly(1),
		Example: `  camada runtime update --memory 64m --pids-limit 100 web
  echo '{"cpu":{"shares":512}}' | camada runtime update -r - web`,
	}
	cmd.RunE = rt.verb(1, func(ctx context.Context, r *runtime.Runtime, args []string) error {
		res, err := o.resources(rt, cmd.Flags())
		if err != nil {
			return err
		}
		return r.Update(ctx, args[0], res)
	})
	f := cmd.Flags()
	f.StringVarP(&o.file, "resources", "r", "", "`file` with the limits as in linux.resources of a config.json, - for standard input; replaces the other flags")
	f.Uint16Var(&o.weight, "blkio-weight", 0, "`weight` of block devices, 10 to 1000")
	f.Uint64Var(&o.period, "cpu-period", 0, "period of the processor quota, in `microseconds`")
	f.Int64Var(&o.quota, "cpu-quota", 0, "processor time in each period, in `microseconds`; -1 is no limit")
	f.Uint64Var(&o.burst, "cpu-burst", 0, "unused time of the quota that may be kept, in `microseconds`")
	f.Uint64Var(&o.shares, "cpu-share", 0, "`weight` of the processors")
	f.Uint64Var(&o.rtPeriod, "cpu-rt-period", 0, "period of real-time scheduling, in `microseconds`")
	f.Int64Var(&o.rtRuntime, "cpu-rt-runtime", 0, "real-time processor time in each period, in `microseconds`")
	f.Int64Var(&o.idle, "cpu-idle", 0, "1 lets others go first always")
	f.StringVar(&o.cpus, "cpuset-cpus", "", "`list` of processors")
	f.StringVar(&o.mems, "cpuset-mems", "", "`list` of memory nodes")
	f.StringVar(&o.memory, "memory", "", "memory limit, in `bytes` (or with k, m, g)")
	f.StringVar(&o.reservation, "memory-reservation", "", "memory that is left to it under pressure, in `bytes`")
	f.StringVar(&o.swap, "memory-swap", "", "limit of memory and swap together, in `bytes`; -1 is none")
	f.String("kernel-memory", "", "ignored: the kernel has no such limit any more")
	f.String("kernel-memory-tcp", "", "ignored: the kernel has no such limit any more")
	f.Int64Var(&o.pids, "pids-limit", 0, "`number` of processes and threads; -1 is no limit")
	f.StringVar(&o.l3, "l3-cache-schema", "", "refused: there is no support for Intel RDT")
	f.StringVar(&o.bandwidth, "mem-bw-schema", "", "refused: there is no support for Intel RDT")
	return cmd
}

func (o *runtimeUpdate) resources(rt *runtimeApp, f *pflag.FlagSet) (*specs.LinuxResources, error) {
	switch {
	case o.l3 != "" || o.bandwidth != "":
		return nil, errdefs.Unsupported("--l3-cache-schema, --mem-bw-schema: there is no support for Intel RDT")
	case o.file == "-":
		return bundle.LoadResources(rt.stdin)
	case o.file != "":
		file, err := os.Open(o.file)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		return bundle.LoadResources(file)
	}
	res := &specs.LinuxResources{}
	o.cpu(res, f)
	if f.Changed("blkio-weight") {
		res.BlockIO = &specs.LinuxBlockIO{Weight: &o.weight}
	}
	if f.Changed("pids-limit") {
		res.Pids = &specs.LinuxPids{Limit: &o.pids}
	}
	for _, m := range []struct {
		name, text string
		to         func(*specs.LinuxMemory, *int64)
	}{
		{"memory", o.memory, func(m *specs.LinuxMemory, n *int64) { m.Limit = n }},
		{"memory-reservation", o.reservation, func(m *specs.LinuxMemory, n *int64) { m.Reservation = n }},
		{"memory-swap", o.swap, func(m *specs.LinuxMemory, n *int64) { m.Swap = n }},
	} {
		if m.text == "" {
			continue
		}
		n := int64(-1)
		if m.text != "-1" {
			var err error
			if n, err = parseBytes(m.text); err != nil {
				return nil, fmt.Errorf("--%s: %w", m.name, err)
			}
		}
		if res.Memory == nil {
			res.Memory = &specs.LinuxMemory{}
		}
		m.to(res.Memory, &n)
	}
	return res, nil
}

func (o *runtimeUpdate) cpu(res *specs.LinuxResources, f *pflag.FlagSet) {
	c := &specs.LinuxCPU{Cpus: o.cpus, Mems: o.mems}
	set := o.cpus != "" || o.mems != ""
	for name, assign := range map[string]func(){
		"cpu-period": func() { c.Period = &o.period }, "cpu-quota": func() { c.Quota = &o.quota }, "cpu-burst": func() { c.Burst = &o.burst },
		"cpu-share": func() { c.Shares = &o.shares }, "cpu-rt-period": func() { c.RealtimePeriod = &o.rtPeriod },
		"cpu-rt-runtime": func() { c.RealtimeRuntime = &o.rtRuntime }, "cpu-idle": func() { c.Idle = &o.idle },
	} {
		if f.Changed(name) {
			assign()
			set = true
		}
	}
	if set {
		res.CPU = c
	}
}

func (rt *runtimeApp) eventsCommand() *cobra.Command {
	var stats bool
	var interval time.Duration
	cmd := &cobra.Command{
		Use: "events [OPTIONS] ID", Short: "Tell what a container uses, and when its memory limit kills", Args: rt.exactly(1),
		Example: "  camada runtime events --stats web",
		RunE: rt.verb(1, func(ctx context.Context, r *runtime.Runtime, args []string) error {
			if interval <= 0 {
				return errdefs.Invalid("--interval %s: want more than nothing", interval)
			}
			return rt.events(ctx, r, args[0], stats, interval)
		}),
	}
	cmd.Flags().BoolVar(&stats, "stats", false, "tell once, and end")
	cmd.Flags().DurationVar(&interval, "interval", 5*time.Second, "`time` between two lines")
	return cmd
}

func (rt *runtimeApp) events(ctx context.Context, r *runtime.Runtime, id string, once bool, interval time.Duration) error {
	enc := json.NewEncoder(rt.stdout)
	kills := uint64(0)
	for first := true; ; first = false {
		s, err := r.Stats(id)
		if !first && (errdefs.IsConflict(err) || errdefs.IsNotFound(err)) {
			return nil // it has ended
		}
		if err != nil {
			return err
		}
		if !first && s.OOMKills > kills {
			if err := enc.Encode(event{Type: "oom", ID: id}); err != nil {
				return err
			}
		}
		kills = s.OOMKills
		if err := enc.Encode(event{Type: "stats", ID: id, Data: eventStats(s.Stats)}); err != nil || once {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(interval):
		}
	}
}

// event is a line of events, with runc's names.
type event struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Data any    `json:"data,omitempty"`
}

type eventData struct {
	CPU struct {
		Usage struct {
			Total  int64 `json:"total"`
			Kernel int64 `json:"kernel"`
			User   int64 `json:"user"`
		} `json:"usage"`
		Throttling struct {
			Periods   uint64 `json:"periods"`
			Throttled uint64 `json:"throttledPeriods"`
			Time      int64  `json:"throttledTime"`
		} `json:"throttling"`
	} `json:"cpu"`
	Memory struct {
		Cache uint64 `json:"cache"`
		Usage struct {
			Limit uint64 `json:"limit"`
			Usage uint64 `json:"usage"`
			Max   uint64 `json:"max"`
		} `json:"usage"`
		Swap struct {
			Usage uint64 `json:"usage"`
		} `json:"swap"`
	} `json:"memory"`
	PIDs struct {
		Current uint64 `json:"current"`
		Limit   uint64 `json:"limit"`
	} `json:"pids"`
}

func eventStats(s cgroup.Stats) eventData {
	var d eventData
	d.CPU.Usage.Total, d.CPU.Usage.Kernel, d.CPU.Usage.User = s.CPU.Usage.Nanoseconds(), s.CPU.System.Nanoseconds(), s.CPU.User.Nanoseconds()
	d.CPU.Throttling.Periods, d.CPU.Throttling.Throttled, d.CPU.Throttling.Time = s.CPU.Periods, s.CPU.Throttled, s.CPU.ThrottledTime.Nanoseconds()
	d.Memory.Cache = s.Memory.Inactive
	d.Memory.Usage.Limit, d.Memory.Usage.Usage, d.Memory.Usage.Max = s.Memory.Limit, s.Memory.Usage, s.Memory.Peak
	d.Memory.Swap.Usage = s.Memory.Swap
	d.PIDs.Current, d.PIDs.Limit = s.PIDs.Current, s.PIDs.Limit
	return d
}
