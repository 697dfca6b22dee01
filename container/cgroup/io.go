package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The io controller (blkio on v1): weights, and limits of bytes and operations
// per second and device.

func ioWanted(r *specs.LinuxResources) bool {
	b := r.BlockIO
	return b != nil && (b.Weight != nil && *b.Weight != 0 || b.LeafWeight != nil && *b.LeafWeight != 0 || len(b.WeightDevice)+len(b.ThrottleReadBpsDevice)+len(b.ThrottleWriteBpsDevice)+len(b.ThrottleReadIOPSDevice)+len(b.ThrottleWriteIOPSDevice) > 0)
}

// throttle is one of the four kinds of limits, under its v1 and its v2 name.
type throttle struct {
	v1, v2  string
	devices []specs.LinuxThrottleDevice
}

func throttles(b *specs.LinuxBlockIO) []throttle {
	return []throttle{
		{"blkio.throttle.read_bps_device", "rbps", b.ThrottleReadBpsDevice},
		{"blkio.throttle.write_bps_device", "wbps", b.ThrottleWriteBpsDevice},
		{"blkio.throttle.read_iops_device", "riops", b.ThrottleReadIOPSDevice},
		{"blkio.throttle.write_iops_device", "wiops", b.ThrottleWriteIOPSDevice},
	}
}

// noLeafWeights refuses the weights of a scheduler (CFQ) that Linux 5.0 took out.
func noLeafWeights(b *specs.LinuxBlockIO) error {
	leaf := b.LeafWeight != nil && *b.LeafWeight != 0
	for _, d := range b.WeightDevice {
		leaf = leaf || d.LeafWeight != nil && *d.LeafWeight != 0
	}
	if leaf {
		return errdefs.Unsupported("leafWeight: the kernel has no such weight since Linux 5.0")
	}
	return nil
}

func ioV1(dir string, r *specs.LinuxResources) error {
	b := r.BlockIO
	if err := noLeafWeights(b); err != nil {
		return err
	}
	if b.Weight != nil && *b.Weight != 0 {
		if err := writeFirst(dir, fmt.Sprint(*b.Weight), "blkio.weight", "blkio.bfq.weight"); err != nil {
			return err
		}
	}
	for _, d := range b.WeightDevice {
		if d.Weight == nil {
			continue
		}
		if err := writeFirst(dir, fmt.Sprintf("%d:%d %d", d.Major, d.Minor, *d.Weight), "blkio.weight_device", "blkio.bfq.weight_device"); err != nil {
			return err
		}
	}
	for _, t := range throttles(b) {
		for _, d := range t.devices {
			if err := write(dir, t.v1, fmt.Sprintf("%d:%d %d", d.Major, d.Minor, d.Rate)); err != nil {
				return err
			}
		}
	}
	return nil
}

func ioV2(dir string, r *specs.LinuxResources) error {
	b := r.BlockIO
	if err := noLeafWeights(b); err != nil {
		return err
	}
	if b.Weight != nil && *b.Weight != 0 {
		if err := weightV2(dir, "", *b.Weight); err != nil {
			return err
		}
	}
	for _, d := range b.WeightDevice {
		if d.Weight == nil {
			continue
		}
		if err := weightV2(dir, fmt.Sprintf("%d:%d ", d.Major, d.Minor), *d.Weight); err != nil {
			return err
		}
	}
	for _, t := range throttles(b) {
		for _, d := range t.devices {
			rate := "max"
			if d.Rate != 0 {
				rate = fmt.Sprint(d.Rate)
			}
			if err := write(dir, "io.max", fmt.Sprintf("%d:%d %s=%s", d.Major, d.Minor, t.v2, rate)); err != nil {
				return err
			}
		}
	}
	return nil
}

// weightV2 writes a blkio weight (10 to 1000). BFQ has the same range, io.weight
// goes from 1 to 10000 and is the fallback.
func weightV2(dir, device string, weight uint16) error {
	if weight < 10 || weight > 1000 {
		return errdefs.Invalid("io weight %d: not within 10 and 1000", weight)
	}
	err := write(dir, "io.bfq.weight", device+fmt.Sprint(weight))
	if !gone(err) && !errors.Is(err, unix.EOPNOTSUPP) { // the last: the device has another scheduler
		return err
	}
	converted := 1 + (uint64(weight)-10)*9999/990
	if device == "" {
		device = "default "
	}
	return write(dir, "io.weight", device+fmt.Sprint(converted))
}

// WeighsDevices reports whether weights of devices are heeded whatever scheduler a device has: by the io.cost controller of v2.
func WeighsDevices() bool {
	l, err := Detect()
	if err != nil || l.V1["blkio"] != "" {
		return false
	}
	b, err := os.ReadFile(filepath.Join(l.Unified, "io.cost.qos"))
	return err == nil && strings.Contains(string(b), "enable=1")
}

// writeFirst writes to the first of the files that exists.
func writeFirst(dir, value string, files ...string) error {
	var err error
	for _, file := range files {
		if err = write(dir, file, value); !gone(err) {
			return err
		}
	}
	return errdefs.Unsupported("io weight: the kernel's io scheduler has none: %w", err)
}
