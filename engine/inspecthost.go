package engine

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/camada/camada/container/cgroup"
	"github.com/camada/camada/container/mounts"
	"github.com/camada/camada/container/spec"
	"github.com/docker/go-units"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// HostConfig is what was asked for of the host; the names are docker's.
type HostConfig struct {
	// Binds are -v with a source, as they were given.
	Binds           []string
	ContainerIDFile string
	LogConfig       LogConfig
	NetworkMode     string
	// PortBindings are by PORT/PROTOCOL.
	PortBindings    map[string][]PortBinding
	RestartPolicy   RestartPolicy
	AutoRemove      bool
	VolumeDriver    string
	VolumesFrom     []string
	CapAdd, CapDrop []string
	CgroupnsMode    string
	// DNS and its kin replace the host's.
	DNS        []string `json:"Dns"`
	DNSOptions []string `json:"DnsOptions"`
	DNSSearch  []string `json:"DnsSearch"`
	ExtraHosts []string
	GroupAdd   []string
	IpcMode    string
	// Links are none: they are refused.
	Links           []string
	OomScoreAdj     int
	PidMode         string
	Privileged      bool
	PublishAllPorts bool
	ReadonlyRootfs  bool
	SecurityOpt     []string
	UTSMode         string
	UsernsMode      string
	// IDMappings are Podman's words for the ids of a user namespace of the container's own.
	IDMappings *IDMappings `json:",omitempty"`
	ShmSize    int64
	Sysctls    map[string]string `json:",omitempty"`
	// Tmpfs are those of --tmpfs, the options by the target; Mounts those of --mount.
	Tmpfs       map[string]string `json:",omitempty"`
	Mounts      []MountSpec       `json:",omitempty"`
	Annotations map[string]string `json:",omitempty"`
	Init        *bool             `json:",omitempty"`
	// Runtime is "camada", or what --runtime says.
	Runtime string
	HostResources
	// MaskedPaths and ReadonlyPaths are those of /proc and /sys.
	MaskedPaths, ReadonlyPaths []string
}

// HostResources are limits; the names are docker's, and 0 is none.
type HostResources struct {
	CPUShares         int64 `json:"CpuShares"`
	Memory            int64
	NanoCPUs          int64 `json:"NanoCpus"`
	CgroupParent      string
	BlkioWeight       uint16
	BlkioWeightDevice []WeightDevice
	// Rates are bytes or operations a second.
	BlkioDeviceReadBps, BlkioDeviceWriteBps, BlkioDeviceReadIOps, BlkioDeviceWriteIOps []ThrottleDevice
	CPUPeriod                                                                          int64  `json:"CpuPeriod"`
	CPUQuota                                                                           int64  `json:"CpuQuota"`
	CpusetCPUs                                                                         string `json:"CpusetCpus"`
	CpusetMems                                                                         string
	Devices                                                                            []DeviceMapping
	DeviceCgroupRules                                                                  []string
	// DeviceRequests are those of --gpus and of CDI.
	DeviceRequests    []DeviceRequest
	MemoryReservation int64
	// MemorySwap is memory and swap together, -1 is no limit.
	MemorySwap       int64
	MemorySwappiness *int64
	OomKillDisable   *bool
	// PidsLimit is nil when there is none.
	PidsLimit *int64
	Ulimits   []*units.Ulimit
}

// RestartPolicy is when a container is started again.
type RestartPolicy struct {
	Name              string
	MaximumRetryCount int
}

// LogConfig is where the output of a container goes.
type LogConfig struct {
	Type   string
	Config map[string]string
}

// IDMappings are rows INSIDE:OUTSIDE:COUNT.
type IDMappings struct{ UidMap, GidMap []string } //nolint:revive // the names are Podman's

func mappings(i ids) *IDMappings {
	if i.none() {
		return nil
	}
	rows := func(maps []specs.LinuxIDMapping) (out []string) {
		for _, m := range maps {
			out = append(out, fmt.Sprintf("%d:%d:%d", m.ContainerID, m.HostID, m.Size))
		}
		return out
	}
	return &IDMappings{rows(i.Users), rows(i.Groups)}
}

// WeightDevice is a weight of one block device.
type WeightDevice struct {
	Path   string
	Weight uint16
}

// ThrottleDevice is a limit of one block device.
type ThrottleDevice struct {
	Path string
	Rate uint64
}

// MountSpec is a --mount.
type MountSpec struct {
	Type     string
	Source   string `json:",omitempty"`
	Target   string
	ReadOnly bool `json:",omitempty"`
	// Options are of the one type that they are of.
	BindOptions   *BindOptions   `json:",omitempty"`
	VolumeOptions *VolumeMount   `json:",omitempty"`
	TmpfsOptions  map[string]any `json:",omitempty"`
}

// BindOptions are those of a bind.
type BindOptions struct {
	Propagation  string `json:",omitempty"`
	NonRecursive bool   `json:",omitempty"`
}

// VolumeMount are the options of a volume's mount.
type VolumeMount struct {
	NoCopy  bool              `json:",omitempty"`
	Labels  map[string]string `json:",omitempty"`
	Subpath string            `json:",omitempty"`
}

func mountSpec(m mounts.Mount) MountSpec {
	s := MountSpec{Type: string(m.Type), Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly}
	switch {
	case m.Type == mounts.Bind && (m.Propagation != "" || m.Single):
		s.BindOptions = &BindOptions{m.Propagation, m.Single}
	case m.Type == mounts.Volume && (m.NoCopy || len(m.Labels) > 0 || m.Subpath != ""):
		s.VolumeOptions = &VolumeMount{m.NoCopy, m.Labels, m.Subpath}
	case m.Type == mounts.Tmpfs:
		for _, o := range m.Options {
			name, value, _ := strings.Cut(o, "=")
			base, key := 10, "SizeBytes"
			if name == "mode" {
				base, key = 8, "Mode"
			}
			if n, err := strconv.ParseInt(value, base, 64); err == nil {
				if s.TmpfsOptions == nil {
					s.TmpfsOptions = map[string]any{}
				}
				s.TmpfsOptions[key] = n
			}
		}
	}
	return s
}

// DeviceMapping is a device of the host and its place in the container.
type DeviceMapping struct{ PathOnHost, PathInContainer, CgroupPermissions string }

// DeviceRequest are devices by the names that their driver gives them.
type DeviceRequest struct {
	Driver    string
	DeviceIDs []string
}

// hostConfig tells what a container was made with.
func (l *launch) hostConfig() HostConfig {
	o, cfg := l.opts, l.c.Config
	h := HostConfig{
		ContainerIDFile: o.CidFile, LogConfig: LogConfig{Type: orElse(cfg.LogDriver, logJSONFile), Config: map[string]string{}}, NetworkMode: cfg.Network,
		PortBindings: portBindings(l.Ports), AutoRemove: cfg.Remove, VolumesFrom: o.VolumesFrom, CapAdd: cfg.CapAdd, CapDrop: cfg.CapDrop,
		CgroupnsMode: orElse(o.Cgroupns, "private"), DNS: listed(o.Net.DNS), DNSOptions: listed(o.Net.DNSOptions), DNSSearch: listed(o.Net.DNSSearch),
		ExtraHosts: o.Net.AddHosts, GroupAdd: o.GroupAdd, IpcMode: orElse(o.Ipc, "private"), OomScoreAdj: o.OomScoreAdj, PidMode: o.Pid, Privileged: cfg.Privileged,
		PublishAllPorts: o.Net.PublishAll, ReadonlyRootfs: o.ReadOnly, SecurityOpt: o.SecurityOpts, UTSMode: o.Uts, UsernsMode: o.Userns, IDMappings: mappings(idsOf(cfg)),
		ShmSize: o.ShmSize, Sysctls: o.Sysctls, Tmpfs: tmpfsOf(o.Tmpfs), Annotations: o.Annotations, Runtime: orElse(o.Runtime, "camada"), HostResources: l.hostResources(),
	}
	if o.LogOpts != nil {
		h.LogConfig.Config = o.LogOpts
	}
	if p, err := parsePolicy(cfg.Restart); err == nil {
		h.RestartPolicy = RestartPolicy{Name: p.name, MaximumRetryCount: p.tries}
	}
	if h.ShmSize == 0 {
		h.ShmSize = 64 << 20
	}
	if o.Init {
		h.Init = &o.Init
	}
	for _, text := range cfg.Volumes {
		if strings.Contains(text, ":") {
			h.Binds = append(h.Binds, text)
		}
	}
	for _, text := range o.Mounts {
		if m, err := mounts.ParseMount(text); err == nil {
			h.Mounts = append(h.Mounts, mountSpec(m))
		}
	}
	h.MaskedPaths, h.ReadonlyPaths = spec.ProtectedPaths(o.Confinement, cfg.Privileged)
	return h
}

// hostResources tells the limits. The memory and swap that nobody asked for are those that are set.
func (l *launch) hostResources() HostResources {
	o, cfg := l.opts, l.c.Config
	r := HostResources{
		CPUShares: o.CPUShares, Memory: cfg.Memory, NanoCPUs: cfg.NanoCPUs, CgroupParent: o.CgroupParent, BlkioWeight: o.BlkioWeight, BlkioWeightDevice: []WeightDevice{},
		BlkioDeviceReadBps: throttles(o.ReadBps), BlkioDeviceWriteBps: throttles(o.WriteBps), BlkioDeviceReadIOps: throttles(o.ReadIOps), BlkioDeviceWriteIOps: throttles(o.WriteIOps),
		CPUPeriod: o.CPUPeriod, CPUQuota: o.CPUQuota, CpusetCPUs: o.CPUSetCPUs, CpusetMems: o.CPUSetMems, Devices: []DeviceMapping{}, DeviceCgroupRules: o.DeviceRules,
		MemoryReservation: o.MemoryReservation, MemorySwap: o.MemorySwap, MemorySwappiness: o.MemorySwappiness, OomKillDisable: &o.OomKillDisable, Ulimits: []*units.Ulimit{},
	}
	if cfg.Memory > 0 && o.MemorySwap == 0 && cgroup.LimitsSwap() {
		r.MemorySwap = 2 * cfg.Memory
	}
	if cfg.PidsLimit != 0 {
		r.PidsLimit = &cfg.PidsLimit
	}
	for _, text := range o.BlkioWeightDevices {
		name, value, _ := strings.Cut(text, ":")
		n, _ := strconv.ParseUint(value, 10, 16)
		r.BlkioWeightDevice = append(r.BlkioWeightDevice, WeightDevice{name, uint16(n)})
	}
	for _, text := range o.Ulimits {
		if u, err := units.ParseUlimit(text); err == nil {
			r.Ulimits = append(r.Ulimits, u)
		}
	}
	var names []string
	for _, text := range o.Devices {
		if d, err := parseDevice(text); err == nil && !isCDI(text) {
			r.Devices = append(r.Devices, DeviceMapping{d.host, d.inside, d.access})
		} else {
			names = append(names, text)
		}
	}
	if len(names) > 0 {
		r.DeviceRequests = append(r.DeviceRequests, DeviceRequest{"cdi", names})
	}
	if names, err := gpuNames(o.Gpus); err == nil && len(names) > 0 {
		r.DeviceRequests = append(r.DeviceRequests, DeviceRequest{"cdi", names})
	}
	return r
}

// throttles reads DEVICE:RATE.
func throttles(texts []string) []ThrottleDevice {
	list := []ThrottleDevice{}
	for _, text := range texts {
		name, value, _ := strings.Cut(text, ":")
		n, _ := parseRate(value)
		list = append(list, ThrottleDevice{name, n})
	}
	return list
}

// listed is a list that JSON shows as one when there is nothing in it.
func listed(s []string) []string { return append([]string{}, s...) }

// tmpfsOf are the options of --tmpfs by the target.
func tmpfsOf(texts []string) map[string]string {
	all := map[string]string{}
	for _, text := range texts {
		target, options, _ := strings.Cut(text, ":")
		all[path.Clean(target)] = options
	}
	return all
}

// volumeModes are the options of -v by the target.
func volumeModes(texts []string) map[string]string {
	modes := map[string]string{}
	for _, text := range texts {
		if parts := strings.Split(text, ":"); len(parts) == 3 {
			modes[path.Clean(parts[1])] = parts[2]
		}
	}
	return modes
}

func joinPaths(list []string) string { return strings.Join(list, ":") }
