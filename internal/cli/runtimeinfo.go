package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/bundle"
	"github.com/camada/camada/container/runtime"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"github.com/spf13/cobra"
)

// specVersion is the newest version of the runtime-spec that is known.
const specVersion = "1.3.0"

func (rt *runtimeApp) specCommand() *cobra.Command {
	var dir string
	var rootless bool
	cmd := &cobra.Command{
		Use: "spec [OPTIONS]", Short: "Write a config.json to begin with", Args: rt.exactly(0),
		Example: "  mkdir rootfs && camada runtime spec --rootless",
		RunE: rt.verb(1, func(context.Context, *runtime.Runtime, []string) error {
			s := bundle.Example()
			s.Version = specVersion
			if rootless {
				bundle.Rootless(s, os.Geteuid(), os.Getegid())
			}
			b, err := json.MarshalIndent(s, "", "\t")
			if err != nil {
				return err
			}
			name := filepath.Join(dir, bundle.ConfigFile)
			f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
			if os.IsExist(err) {
				return errdefs.AlreadyExists("%s is there already; remove it first", name)
			}
			if err != nil {
				return err
			}
			if _, err = f.Write(append(b, '\n')); err != nil {
				f.Close()
				return err
			}
			return f.Close()
		}),
	}
	cmd.Flags().StringVarP(&dir, "bundle", "b", ".", "`directory` of the bundle")
	cmd.Flags().BoolVar(&rootless, "rootless", false, "for an ordinary user")
	return cmd
}

func (rt *runtimeApp) featuresCommand() *cobra.Command {
	return &cobra.Command{
		Use: "features", Short: "Show what of the runtime-spec is supported", Args: rt.exactly(0), Example: "  camada runtime features",
		RunE: rt.verb(1, func(context.Context, *runtime.Runtime, []string) error { return rt.json(runtimeFeatures()) }),
	}
}

// runtimeFeatures is what features.md of the runtime-spec describes.
func runtimeFeatures() features.Features {
	yes, no := true, false
	return features.Features{
		OCIVersionMin: "1.0.0",
		OCIVersionMax: specVersion,
		Hooks:         []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"},
		MountOptions:  container.MountOptions(),
		Linux: &features.Linux{
			Namespaces: []string{
				string(specs.CgroupNamespace), string(specs.IPCNamespace), string(specs.MountNamespace), string(specs.NetworkNamespace),
				string(specs.PIDNamespace), string(specs.TimeNamespace), string(specs.UserNamespace), string(specs.UTSNamespace),
			},
			Capabilities: container.Capabilities(),
			Cgroup:       &features.Cgroup{V1: &yes, V2: &yes, Systemd: &yes, SystemdUser: &yes, Rdma: &yes},
			Seccomp: &features.Seccomp{
				Enabled:    &yes,
				Actions:    []string{"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"},
				Operators:  []string{"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"},
				Archs:      []string{"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"},
				KnownFlags: []string{"SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"},
			},
			Apparmor:        &features.Apparmor{Enabled: &no},
			Selinux:         &features.Selinux{Enabled: &no},
			IntelRdt:        &features.IntelRdt{Enabled: &no},
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: &yes}},
		},
	}
}
