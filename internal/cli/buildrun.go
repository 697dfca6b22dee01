package cli

import (
	"encoding/csv"
	"fmt"
	"os"
	"strings"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/docker/go-units"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// buildRunOptions are the flags of build for its RUN steps.
type buildRunOptions struct {
	secrets                secretsValue
	agents                 []string
	allow                  []string
	network                string
	addHosts               []string
	shmSize                bytesValue
	ulimits                []string
	cgroupParent           string
	memory, memorySwap     bytesValue
	cpuShares, cpuPeriod   uint64
	cpuQuota               int64
	cpusetCPUs, cpusetMems string
}

// addFlags adds the flags of the RUN steps to build's.
func (o *buildRunOptions) addFlags(f *pflag.FlagSet) {
	f.Var(&o.secrets, "secret", "secret for RUN --mount=type=secret: `id=NAME[,src=FILE|env=VARIABLE]`; may be given again")
	listFlag(f, &o.agents, "ssh", "", "agent or keys for RUN --mount=type=ssh: `default|NAME[=SOCKET|KEY[,KEY]]`; may be given again")
	listFlag(f, &o.allow, "allow", "", "`entitlement` of RUN steps: network.host, security.insecure or device[=NAME]; may be given again")
	f.StringVar(&o.network, "network", "default", "`network` of RUN steps: default, none or host")
	listFlag(f, &o.addHosts, "add-host", "", "`NAME:ADDRESS` for the /etc/hosts of RUN steps; host-gateway is this machine; may be given again")
	f.Var(&o.shmSize, "shm-size", "size of /dev/shm in RUN steps, e.g. `128m`")
	listFlag(f, &o.ulimits, "ulimit", "", "limit of RUN steps, `NAME=SOFT[:HARD]`; may be given again")
	f.StringVar(&o.cgroupParent, "cgroup-parent", "", "control `group` in which those of RUN steps are made")
	f.VarP(&o.memory, "memory", "m", "memory limit of a RUN step, e.g. `512m`")
	f.Var(&o.memorySwap, "memory-swap", "limit of memory and swap of a RUN step; -1 is none")
	f.Uint64VarP(&o.cpuShares, "cpu-shares", "c", 0, "weight of RUN steps for the processors")
	f.Uint64Var(&o.cpuPeriod, "cpu-period", 0, "period of the processor limit, in `microseconds`")
	f.Int64Var(&o.cpuQuota, "cpu-quota", 0, "processor time of a RUN step in a period, in `microseconds`")
	f.StringVar(&o.cpusetCPUs, "cpuset-cpus", "", "`processors` that RUN steps use, e.g. 0-3,5")
	f.StringVar(&o.cpusetMems, "cpuset-mems", "", "memory `nodes` that RUN steps use")
	addIgnored(f)
}

// ignoredFlags are flags of docker build that mean nothing to BuildKit, either.
func ignoredFlags() []string {
	return []string{"compress", "force-rm", "isolation", "rm", "security-opt", "squash"}
}

// addIgnored accepts flags that scripts give docker build, and that change nothing.
func addIgnored(f *pflag.FlagSet) {
	for _, name := range ignoredFlags() {
		switch name {
		case "isolation":
			f.String(name, "", "ignored")
		case "security-opt":
			listFlag(f, new([]string), name, "", "ignored")
		default:
			f.Bool(name, name == "rm", "ignored")
		}
		_ = f.MarkHidden(name)
	}
}

// warnIgnored tells which of the given flags are ignored.
func (a *app) warnIgnored(cmd *cobra.Command) {
	for _, name := range ignoredFlags() {
		if cmd.Flags().Changed(name) {
			fmt.Fprintf(a.stderr, "WARNING: --%s is ignored\n", name)
		}
	}
}

// settings reads the flags.
func (o *buildRunOptions) settings() (engine.BuildRun, error) {
	r := engine.BuildRun{
		Network: o.network, AddHosts: o.addHosts, ShmSize: int64(o.shmSize), Ulimits: o.ulimits, CgroupParent: o.cgroupParent,
		Memory: int64(o.memory), MemorySwap: int64(o.memorySwap), CPUShares: o.cpuShares, CPUPeriod: o.cpuPeriod, CPUQuota: o.cpuQuota,
		CPUSetCPUs: o.cpusetCPUs, CPUSetMems: o.cpusetMems,
	}
	for _, s := range o.allow { // several in one flag, but for devices, which have commas of their own
		if strings.HasPrefix(s, "device") {
			r.Allow = append(r.Allow, s)
		} else {
			r.Allow = append(r.Allow, strings.Split(s, ",")...)
		}
	}
	for _, s := range o.secrets {
		secret, err := parseSecret(s)
		if err != nil {
			return r, err
		}
		r.Secrets = append(r.Secrets, secret)
	}
	// What is needed of the environment has been read, and what this process starts need not see it.
	for _, s := range o.secrets {
		if name := secretVariable(s); name != "" {
			os.Unsetenv(name)
		}
	}
	for _, s := range o.agents {
		r.Agents = append(r.Agents, parseAgent(s))
	}
	return r, nil
}

// secretFields are the parts of --secret.
type secretFields struct{ id, kind, src, env string }

// splitSecret reads --secret. Its errors have no value in them: who made a mistake may have given the secret itself.
func splitSecret(s string) (f secretFields, err error) {
	r := csv.NewReader(strings.NewReader(s))
	fields, err := r.Read()
	if err != nil {
		return f, errdefs.Invalid("--secret: want id=NAME[,src=FILE|env=VARIABLE]")
	}
	for _, field := range fields {
		k, v, ok := strings.Cut(field, "=")
		if !ok {
			return f, errdefs.Invalid("--secret: a part is not KEY=VALUE; want id=NAME[,src=FILE|env=VARIABLE]")
		}
		switch strings.ToLower(k) {
		case "id":
			f.id = v
		case "type":
			if v != "file" && v != "env" {
				return f, errdefs.Invalid("--secret: type %q is not known; want file or env", v)
			}
			f.kind = v
		case "src", "source":
			f.src = v
		case "env":
			f.env = v
		default:
			return f, errdefs.Invalid("--secret: %q is not known; want id, type, src or env", k)
		}
	}
	if f.id == "" {
		return f, errdefs.Invalid("--secret: id is missing")
	}
	if f.kind == "env" && f.env == "" {
		f.env, f.src = f.src, ""
	}
	if f.src == "" && f.env == "" { // the name alone is a variable, or else a file
		if _, ok := os.LookupEnv(f.id); ok && f.kind != "file" {
			f.env = f.id
		} else {
			f.src = f.id
		}
	}
	return f, nil
}

// secretVariable is the variable that a secret comes from, "" for none.
func secretVariable(s string) string {
	f, err := splitSecret(s)
	if err != nil {
		return ""
	}
	return f.env
}

// parseSecret reads a secret of --secret. The value of a variable is read now; a file when it is needed.
func parseSecret(s string) (engine.BuildSecret, error) {
	f, err := splitSecret(s)
	if err != nil {
		return engine.BuildSecret{}, err
	}
	if f.env != "" {
		return engine.BuildSecret{ID: f.id, Value: []byte(os.Getenv(f.env))}, nil
	}
	return engine.BuildSecret{ID: f.id, File: f.src}, nil
}

// parseAgent reads --ssh.
func parseAgent(s string) engine.BuildAgent {
	id, paths, given := strings.Cut(s, "=")
	if id == "" {
		id = "default"
	}
	b := engine.BuildAgent{ID: id}
	if given && paths != "" {
		b.Paths = strings.Split(paths, ",")
	} else if sock := os.Getenv("SSH_AUTH_SOCK"); sock != "" {
		b.Paths = []string{sock}
	}
	return b
}

// bytesValue is a flag for a number of bytes, as "64m"; -1 stays what it is.
type bytesValue int64

func (b *bytesValue) String() string {
	if *b == 0 {
		return ""
	}
	return fmt.Sprint(int64(*b))
}

func (b *bytesValue) Set(s string) error {
	if s == "-1" {
		*b = -1
		return nil
	}
	n, err := units.RAMInBytes(s)
	*b = bytesValue(n)
	return err
}

func (b *bytesValue) Type() string { return "bytes" }
