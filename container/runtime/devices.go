package runtime

import specs "github.com/opencontainers/runtime-spec/specs-go"

// withDeviceRules is the spec with the device rules that go without saying: first that nothing is allowed, at the end that
// what every container has is (config-linux.md, default devices and allowed device list), and that nodes can be made.
func withDeviceRules(s specs.Spec) *specs.Spec {
	linux, res := *s.Linux, specs.LinuxResources{}
	if linux.Resources != nil {
		res = *linux.Resources
	}
	rule := func(kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
		return specs.LinuxDeviceCgroup{Allow: true, Type: kind, Major: &major, Minor: &minor, Access: access}
	}
	const any = -1
	rules := append([]specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}, res.Devices...)
	res.Devices = append(rules,
		rule("c", any, any, "m"), rule("b", any, any, "m"),
		rule("c", 1, 3, "rwm"), rule("c", 1, 5, "rwm"), rule("c", 1, 7, "rwm"), rule("c", 1, 8, "rwm"), rule("c", 1, 9, "rwm"), // null zero full random urandom
		rule("c", 5, 0, "rwm"), rule("c", 5, 1, "rwm"), rule("c", 5, 2, "rwm"), rule("c", 136, any, "rwm"), // tty console ptmx pts
	)
	linux.Resources = &res
	s.Linux = &linux
	return &s
}
