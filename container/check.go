package container

import (
	"fmt"
	"path"
	"strings"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// check refuses what cannot be done before anything is made. What a spec asks for is done or refused by name: nothing is
// left out in silence. Hooks are the caller's, see Network, Mounted and Created.
func (c *Config) check() error {
	switch {
	case c.Spec == nil || c.Spec.Process == nil:
		return errdefs.Invalid("container %s: a spec without a process", c.ID)
	case c.Spec.Linux == nil:
		return errdefs.Invalid("container %s: a spec without a linux section", c.ID)
	case c.ID == "" || strings.ContainsAny(c.ID, "/\x00") || c.ID == "." || c.ID == "..":
		return errdefs.Invalid("container id %q: is not a name", c.ID)
	}
	if err := checkSpec(c.Spec); err != nil {
		return fmt.Errorf("container %s: %w", c.ID, err)
	}
	if newUserNamespace(c.Spec) {
		return nil
	}
	if err := checkIDs("/proc/self", c.Spec.Process); err != nil {
		return fmt.Errorf("container %s: %w", c.ID, err)
	}
	return nil
}

func checkSpec(s *specs.Spec) error {
	linux := s.Linux
	switch {
	case s.VM != nil || s.Windows != nil || s.Solaris != nil || s.ZOS != nil || s.FreeBSD != nil:
		return errdefs.Unsupported("a spec for another kind of machine than Linux")
	case linux.IntelRdt != nil:
		return errdefs.Unsupported("intelRdt: cache and memory bandwidth cannot be allotted")
	case len(linux.NetDevices) > 0:
		return errdefs.Unsupported("netDevices: devices are not moved into the network namespace")
	}
	if err := checkMountLabel(linux.MountLabel); err != nil {
		return err
	}
	return checkProcess(s.Process)
}

// checkProcess is the part that Exec shares.
func checkProcess(p *specs.Process) error {
	switch {
	case p.CommandLine != "" || p.User.Username != "":
		return errdefs.Unsupported("commandLine and username: are for Windows")
	case p.Cwd != "" && !path.IsAbs(p.Cwd):
		return errdefs.Invalid("working directory %q: is not an absolute path", p.Cwd)
	}
	return nil
}
