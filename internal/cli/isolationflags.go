package cli

import (
	"bufio"
	"os"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/spf13/pflag"
)

// isolationOptions are the texts of flags for what a container has to itself.
type isolationOptions struct {
	sysctls     []string
	annotations []string
	isolation   string
	links       []string
}

// registerIsolation adds the flags for what a container has to itself and what is kept from it.
func (o *runOptions) registerIsolation(f *pflag.FlagSet) {
	i := &o.isolation
	f.StringVar(&o.Pid, "pid", "", "PID `namespace`: host or container:NAME")
	f.StringVar(&o.Ipc, "ipc", "", "IPC `namespace`: private, shareable, none, host or container:NAME")
	f.StringVar(&o.Uts, "uts", "", "UTS `namespace`: host or container:NAME")
	f.StringVar(&o.Userns, "userns", "", "user `namespace`: host, auto[:size=N], keep-id[:uid=N,gid=N], nomap or container:NAME")
	f.StringVar(&o.Cgroupns, "cgroupns", "", "cgroup `namespace`: private or host")
	listFlag(f, &o.SecurityOpts, "security-opt", "", "`option`: no-new-privileges, seccomp=FILE|unconfined, apparmor=PROFILE, systempaths=unconfined, mask=PATH, unmask=PATH")
	listFlag(f, &i.sysctls, "sysctl", "", "parameter of the container's namespaces, `NAME=VALUE`")
	f.StringSliceVar(&o.GroupAdd, "group-add", nil, "further `group` of the user, by name or id")
	listFlag(f, &o.Devices, "device", "", "device of the host, `HOST[:CONTAINER[:rwm]]`, a directory of them, or the name of a CDI device")
	listFlag(f, &o.DeviceRules, "device-cgroup-rule", "", "what devices may be used, `\"TYPE MAJOR:MINOR ACCESS\"`")
	f.StringVar(&o.Gpus, "gpus", "", "`GPUs` of the CDI kind nvidia.com/gpu: all, a number, or device=NAME,...")
	f.StringVar(&o.Domainname, "domainname", "", "NIS domain `name` inside")
	listFlag(f, &i.annotations, "annotation", "", "annotation for the runtime, `NAME=VALUE`")
	f.StringVar(&i.isolation, "isolation", "", "")
	listFlag(f, &i.links, "link", "", "")
	_ = f.MarkHidden("isolation")
	_ = f.MarkHidden("link")
}

// completeIsolation reads the flags whose texts have a meaning of their own.
func (o *runOptions) completeIsolation() (err error) {
	i := &o.isolation
	if i.isolation != "" && i.isolation != "default" {
		return errdefs.Unsupported("--isolation %s: is for Windows; there is default only", i.isolation)
	}
	if len(i.links) > 0 {
		return errdefs.Unsupported("--link is a legacy of Docker's: put both containers on a network of their own with --network, where each finds the other by its name")
	}
	noValue := func(string) (string, bool) { return "", true }
	if o.Annotations, err = keyValues("--annotation", i.annotations, noValue); err != nil {
		return err
	}
	for _, s := range i.sysctls {
		if k, _, ok := strings.Cut(s, "="); !ok || k == "" {
			return errdefs.Invalid("sysctl '%s' is not allowed: want NAME=VALUE", s)
		}
	}
	o.Sysctls, err = keyValues("--sysctl", i.sysctls, noValue)
	return err
}

// labelLines reads --label-file: a label a line, comments and blank lines skipped.
func labelLines(files []string) (labels []string, err error) {
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, errdefs.NotFound("--label-file: %w", err)
		}
		sc := bufio.NewScanner(f)
		for sc.Scan() {
			if line := strings.TrimLeft(sc.Text(), " \t"); line != "" && line[0] != '#' {
				labels = append(labels, line)
			}
		}
		f.Close()
		if err := sc.Err(); err != nil {
			return nil, errdefs.Invalid("--label-file %s: %w", name, err)
		}
	}
	return labels, nil
}
