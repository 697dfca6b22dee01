package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/container/attach"
	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/spf13/pflag"
)

// lifeFlags are the flags of run and create that say how a container is looked after.
type lifeFlags struct {
	options     engine.LifeOptions
	logOpts     []string
	stopTimeout int
}

func (l *lifeFlags) register(f *pflag.FlagSet) {
	o, h := &l.options, &l.options.Health
	f.StringVar(&o.Restart, "restart", "", "start it again when it ends: `no`, always, unless-stopped or on-failure[:N]")
	f.StringVar(&h.Cmd, "health-cmd", "", "`command` that checks the health of the container, for the image's shell")
	f.DurationVar(&h.Interval, "health-interval", 0, "`time` between two checks (default: 30s)")
	f.DurationVar(&h.Timeout, "health-timeout", 0, "`time` that one check may take (default: 30s)")
	f.IntVar(&h.Retries, "health-retries", 0, "`number` of failures that make it unhealthy (default: 3)")
	f.DurationVar(&h.StartPeriod, "health-start-period", 0, "`time` in which failures do not count yet (default: 0s)")
	f.DurationVar(&h.StartInterval, "health-start-interval", 0, "`time` between two checks in the start period (default: 5s)")
	f.StringVar(&h.OnFailure, "health-on-failure", "", "what is done when it becomes unhealthy: `none`, kill, restart or stop")
	f.BoolVar(&h.Disable, "no-healthcheck", false, "run no health check, whatever the image says")
	f.StringVar(&o.LogDriver, "log-driver", "", "where its output goes: `json-file`, local, journald or none")
	listFlag(f, &l.logOpts, "log-opt", "", "`NAME=VALUE` of the log driver: max-size, max-file, compress, labels, env, tag")
	f.IntVar(&l.stopTimeout, "stop-timeout", 10, "`seconds` that stop waits before SIGKILL; -1 waits without end")
}

func (l *lifeFlags) complete(f *pflag.FlagSet, into *engine.LifeOptions) (err error) {
	l.options.DetachKeys, l.options.NoSigProxy = into.DetachKeys, into.NoSigProxy
	if l.options.LogOpts, err = keyValues("--log-opt", l.logOpts, func(string) (string, bool) { return "", true }); err != nil {
		return err
	}
	if f.Changed("stop-timeout") {
		l.options.StopTimeout = &l.stopTimeout
	}
	for name, d := range map[string]time.Duration{"interval": l.options.Health.Interval, "timeout": l.options.Health.Timeout} {
		if d < 0 {
			return errdefs.Invalid("--health-%s cannot be negative", name)
		}
	}
	l.options.Flags = flagsOf(f)
	*into = l.options
	return nil
}

// registerAttach adds the flags of all verbs that attach.
func registerAttach(f *pflag.FlagSet, keys *string, noProxy *bool) {
	f.StringVar(keys, "detach-keys", "", "`keys` that leave the container, which goes on (default: "+attach.DefaultKeys+")")
	*noProxy = false
	p := f.VarPF(&inverted{noProxy}, "sig-proxy", "", "pass signals on to the container (default: true)")
	p.NoOptDefVal = "true"
}

// inverted is a flag that is true when its variable is false.
type inverted struct{ v *bool }

func (i *inverted) String() string {
	if i.v == nil {
		return "true"
	}
	return fmt.Sprint(!*i.v)
}

func (i *inverted) Set(text string) error {
	var b bool
	if _, err := fmt.Sscanf(text, "%t", &b); err != nil {
		return fmt.Errorf("want true or false")
	}
	*i.v = !b
	return nil
}

func (i *inverted) Type() string { return "bool" }

// checkAttach checks run's --attach.
func checkAttach(names []string, detach bool) error {
	for _, n := range names {
		if !slices.Contains([]string{"stdin", "stdout", "stderr", "STDIN", "STDOUT", "STDERR"}, n) {
			return errdefs.Invalid("--attach %s: want stdin, stdout or stderr", n)
		}
	}
	if len(names) > 0 && detach {
		return errdefs.Invalid("--attach cannot be used with --detach")
	}
	return nil
}

// streams gives the container those of the caller's streams that it is to have.
func (o *runOptions) streams() {
	has := func(name string) bool {
		return len(o.attach) == 0 || slices.ContainsFunc(o.attach, func(n string) bool { return strings.EqualFold(n, name) })
	}
	if has("stdin") {
		o.Stdin = os.Stdin
	}
	if has("stdout") {
		o.Stdout = os.Stdout
	}
	if has("stderr") {
		o.Stderr = os.Stderr
	}
}
