package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/camada/camada/container/cgroup"
	"github.com/camada/camada/container/record"
	"github.com/camada/camada/container/spec"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// UpdateOptions say what Update changes.
type UpdateOptions struct {
	// Limits changes the limits that the container has; nil changes none. A limit that becomes 0 is taken away.
	Limits func(*RunLimits)
	// Restart is a restart policy; nil keeps the one that is there.
	Restart *string
	// Flags are the flags that say so, --NAME=VALUE, for a unit that makes the container anew.
	Flags []string
}

// Update changes the limits of a container, at once when it runs, and for its next starts. A limit that the kernel refuses changes nothing
// of what is kept.
func (e *Engine) Update(ctx context.Context, name string, o UpdateOptions) error {
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return err
	}
	if c.State.Status == record.Dead {
		return errdefs.Corrupt("container %s: %s", name, c.State.Error)
	}
	err = c.Change(ctx, func(cfg *record.Config) error { // under its lock: two updates at once are one after the other
		var d definition
		if len(cfg.Start) == 0 {
			return errdefs.Unsupported("it was made by a version that kept too little of it to change it")
		}
		if err := json.Unmarshal(cfg.Start, &d); err != nil {
			return errdefs.Corrupt("its definition: %w", err)
		}
		if err := o.apply(c, &d.Options); err != nil {
			return err
		}
		d.Options.Flags = reflag(d.Options.Flags, o.Flags)
		cfg.Memory, cfg.NanoCPUs, cfg.PidsLimit, cfg.Restart = d.Options.Memory, d.Options.NanoCPUs, d.Options.PidsLimit, d.Options.Restart
		text, err := json.Marshal(d)
		cfg.Start = text
		return err
	})
	if err != nil {
		return fmt.Errorf("update container %s: %w", name, err)
	}
	e.noteContainer(ctx, c, "update", nil)
	return nil
}

// reflag puts flags in the place of those of the same names. A limit that was taken away needs no flag.
func reflag(flags, changed []string) []string {
	flags = slices.Clone(flags)
	for _, text := range changed {
		name, value, _ := strings.Cut(text, "=")
		flags = slices.DeleteFunc(flags, func(old string) bool { return strings.HasPrefix(old, name+"=") })
		if value != "0" && value != "" {
			flags = append(flags, text)
		}
	}
	return flags
}

// apply changes what a container was made with, and the control group of one that runs.
func (o UpdateOptions) apply(c *record.Container, run *RunOptions) error {
	if o.Restart != nil {
		if p, err := parsePolicy(*o.Restart); err == nil && p.name != policyNo && run.Remove {
			return errdefs.Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
		}
		run.Restart = *o.Restart
		if err := run.LifeOptions.check(run.Remove); err != nil {
			return err
		}
	}
	if o.Limits == nil {
		return nil
	}
	old := run.RunLimits
	o.Limits(&run.RunLimits)
	if err := conflict(old, run.RunLimits); err != nil {
		return err
	}
	if err := run.RunLimits.check(); err != nil {
		return err
	}
	if err := c.Refresh(); err != nil || !c.Running() {
		return err
	}
	return relimit(c, old, run.RunLimits)
}

// relimit changes the limits of a container that runs.
func relimit(c *record.Container, old, limits RunLimits) error {
	layout, err := cgroup.Detect()
	if err != nil {
		return err
	}
	v1 := layout.V1["memory"] != ""
	res, err := changed(old, limits, v1)
	if err != nil {
		return err
	}
	g, err := groupIn(layout, c)
	if err != nil {
		return err
	}
	defer g.Close() //nolint:errcheck // only a descriptor
	if err = g.Update(res); err == nil {
		return nil
	}
	if back, berr := changed(limits, old, v1); berr == nil { // the kernel took a part of it, perhaps
		_ = g.Update(back)
	}
	return err
}

// conflict refuses what cannot be changed by itself. The errors are docker's.
func conflict(old, limits RunLimits) error {
	switch {
	case limits.NanoCPUs > 0 && old.CPUPeriod > 0 && limits.CPUPeriod > 0:
		return errdefs.Conflict("Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set")
	case limits.NanoCPUs > 0 && old.CPUQuota > 0 && limits.CPUQuota > 0:
		return errdefs.Conflict("Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set")
	case limits.CPUPeriod > 0 && old.NanoCPUs > 0 && limits.NanoCPUs > 0:
		return errdefs.Conflict("Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set")
	case limits.CPUQuota > 0 && old.NanoCPUs > 0 && limits.NanoCPUs > 0:
		return errdefs.Conflict("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set")
	case old.MemorySwap > 0 && limits.MemorySwap == old.MemorySwap && limits.Memory > old.MemorySwap:
		return errdefs.Conflict("Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time")
	}
	return nil
}

// changed are the resources in the terms of the runtime-spec that make the limits old become limits. Of the memory all is set that is limited: what is
// allowed depends on the rest.
func changed(old, limits RunLimits, v1 bool) (*specs.LinuxResources, error) {
	res := &specs.LinuxResources{Memory: &specs.LinuxMemory{}, CPU: &specs.LinuxCPU{}}
	set := limits
	set.OomKillDisable, set.MemorySwappiness = false, nil
	if err := set.resources(res); err != nil {
		return nil, err
	}
	none := int64(-1)
	if limits.Memory == 0 && old.Memory != 0 {
		res.Memory.Limit = &none
		if limits.MemorySwap == 0 && cgroup.LimitsSwap() {
			res.Memory.Swap = &none
		}
	}
	if limits.MemoryReservation == 0 && old.MemoryReservation != 0 {
		res.Memory.Reservation = new(int64)
		if v1 { // where it is a limit, and not a protection
			res.Memory.Reservation = &none
		}
	}
	if n := limits.NanoCPUs; n > 0 {
		period, quota := uint64(spec.CPUPeriod), n*spec.CPUPeriod/1e9
		res.CPU.Period, res.CPU.Quota = &period, &quota
	} else if limits.CPUQuota == 0 && (old.NanoCPUs > 0 || old.CPUQuota > 0) {
		res.CPU.Quota = &none
	}
	if limits.CPUShares == 0 && old.CPUShares != 0 {
		usual := uint64(1024)
		res.CPU.Shares = &usual
	}
	if limits.PidsLimit != old.PidsLimit {
		n := limits.PidsLimit
		res.Pids = &specs.LinuxPids{Limit: &n}
	}
	return res, nil
}
