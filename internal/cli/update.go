package cli

import (
	"context"
	"fmt"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// updateOptions are the flags of update, and the texts of those that have to be understood first.
type updateOptions struct {
	limits                              engine.RunLimits
	memory, cpus, restart, kernelMemory string
	swap, reservation                   bytesValue
}

func (a *app) updateCommand() *cobra.Command {
	var o updateOptions
	cmd := &cobra.Command{
		Use: "update [OPTIONS] CONTAINER...", Short: "Change the limits of containers",
		Long: `Change the limits of containers: at once of those that run, and for all later starts. What is not named stays as it is;
0 takes a limit away.`,
		Example: `  camada update -m 256m --cpus 1.5 web
  camada update --restart unless-stopped web db`,
	}
	f := cmd.Flags()
	f.StringVarP(&o.memory, "memory", "m", "", "memory `limit`, e.g. 64m")
	f.Var(&o.swap, "memory-swap", "`limit` of memory and swap together; -1 is none")
	f.Var(&o.reservation, "memory-reservation", "`memory` that the container keeps when there is little of it")
	f.StringVar(&o.kernelMemory, "kernel-memory", "", "refused: no kernel has this limit any more")
	_ = f.MarkHidden("kernel-memory")
	f.StringVar(&o.cpus, "cpus", "", "`number` of processors, e.g. 1.5")
	f.Int64VarP(&o.limits.CPUShares, "cpu-shares", "c", 0, "`weight` for the processors")
	f.Int64Var(&o.limits.CPUPeriod, "cpu-period", 0, "period of the processor limit, in `microseconds`")
	f.Int64Var(&o.limits.CPUQuota, "cpu-quota", 0, "processor time in a period, in `microseconds`; -1 is no limit")
	f.StringVar(&o.limits.CPUSetCPUs, "cpuset-cpus", "", "`processors` that may be used, e.g. 0-3,5")
	f.StringVar(&o.limits.CPUSetMems, "cpuset-mems", "", "memory `nodes` that may be used")
	f.Int64Var(&o.limits.PidsLimit, "pids-limit", 0, "`number` of processes at the most; -1 is no limit")
	f.Uint16Var(&o.limits.BlkioWeight, "blkio-weight", 0, "`weight` for block devices, 10 to 1000")
	f.StringVar(&o.restart, "restart", "", "start it again when it ends: `no`, always, unless-stopped or on-failure[:N]")
	var u engine.UpdateOptions
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		u, err = o.complete(f)
		return err
	}
	return a.namesCommand(cmd, func(ctx context.Context, e *engine.Engine, name string) error { return e.Update(ctx, name, u) })
}

// complete reads the flags that were given.
func (o *updateOptions) complete(f *pflag.FlagSet) (u engine.UpdateOptions, err error) {
	if o.kernelMemory != "" {
		return u, errKernelMemory()
	}
	if o.limits.Memory, err = parseBytes(o.memory); err != nil {
		return u, fmt.Errorf("--memory: %w", err)
	}
	if o.cpus != "0" {
		if o.limits.NanoCPUs, err = parseCPUs(o.cpus); err != nil {
			return u, err
		}
	}
	o.limits.MemorySwap, o.limits.MemoryReservation = int64(o.swap), int64(o.reservation)
	u.Flags = flagsOf(f)
	if f.Changed("restart") {
		u.Restart = &o.restart
	}
	var given []func(*engine.RunLimits)
	for name, set := range o.setters() {
		if f.Changed(name) {
			given = append(given, set)
		}
	}
	if len(given) == 0 && u.Restart == nil {
		return u, errdefs.Invalid("You must provide one or more flags when using this command.")
	}
	if len(given) > 0 {
		u.Limits = func(r *engine.RunLimits) {
			for _, set := range given {
				set(r)
			}
		}
	}
	return u, nil
}

// setters are what each flag changes.
func (o *updateOptions) setters() map[string]func(*engine.RunLimits) {
	l := &o.limits
	return map[string]func(*engine.RunLimits){
		"memory":             func(r *engine.RunLimits) { r.Memory = l.Memory },
		"memory-swap":        func(r *engine.RunLimits) { r.MemorySwap = l.MemorySwap },
		"memory-reservation": func(r *engine.RunLimits) { r.MemoryReservation = l.MemoryReservation },
		"cpus":               func(r *engine.RunLimits) { r.NanoCPUs = l.NanoCPUs },
		"cpu-shares":         func(r *engine.RunLimits) { r.CPUShares = l.CPUShares },
		"cpu-period":         func(r *engine.RunLimits) { r.CPUPeriod = l.CPUPeriod },
		"cpu-quota":          func(r *engine.RunLimits) { r.CPUQuota = l.CPUQuota },
		"cpuset-cpus":        func(r *engine.RunLimits) { r.CPUSetCPUs = l.CPUSetCPUs },
		"cpuset-mems":        func(r *engine.RunLimits) { r.CPUSetMems = l.CPUSetMems },
		"pids-limit":         func(r *engine.RunLimits) { r.PidsLimit = l.PidsLimit },
		"blkio-weight":       func(r *engine.RunLimits) { r.BlkioWeight = l.BlkioWeight },
	}
}
