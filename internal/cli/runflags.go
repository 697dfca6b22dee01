package cli

import (
	"fmt"

	"github.com/camada/camada/engine"
	"github.com/spf13/pflag"
)

// runOptions are what a container is made with, and the texts of flags that have to be understood first.
type runOptions struct {
	engine.RunOptions
	env        []string
	envFiles   []string
	labels     []string
	entrypoint string
	memory     string
	cpus       string
	life       lifeFlags
	attach     []string
}

// register adds the flags that run and create have in common.
func (o *runOptions) register(f *pflag.FlagSet) {
	f.BoolVar(&o.Remove, "rm", false, "remove the container when it ends")
	f.BoolVarP(&o.Interactive, "interactive", "i", false, "keep standard input open")
	f.BoolVarP(&o.TTY, "tty", "t", false, "give the container a terminal")
	f.StringVar(&o.Name, "name", "", "`name` of the container")
	f.StringArrayVarP(&o.env, "env", "e", nil, "environment variable, `NAME=VALUE`; NAME alone passes it on")
	f.StringArrayVar(&o.envFiles, "env-file", nil, "`file` of environment variables")
	f.StringArrayVarP(&o.Volumes, "volume", "v", nil, "bind a directory or a volume: `SOURCE:TARGET[:ro]`")
	f.StringVarP(&o.Workdir, "workdir", "w", "", "working `directory`")
	f.StringVarP(&o.User, "user", "u", "", "`user[:group]`, by name or id")
	f.StringVar(&o.entrypoint, "entrypoint", "", "`program` in place of the image's entry point")
	registerNetwork(f, &o.Net)
	f.StringArrayVarP(&o.Publish, "publish", "p", nil, "publish a port: `[ADDRESS:][HOST:]CONTAINER[/udp]`, also ranges")
	f.StringVarP(&o.memory, "memory", "m", "", "memory `limit`, e.g. 64m")
	f.StringVar(&o.cpus, "cpus", "", "`number` of processors, e.g. 1.5")
	f.Int64Var(&o.PidsLimit, "pids-limit", 0, "`number` of processes at the most")
	f.BoolVar(&o.ReadOnly, "read-only", false, "make the root file system read-only")
	f.StringSliceVar(&o.CapAdd, "cap-add", nil, "add a `capability`")
	f.StringSliceVar(&o.CapDrop, "cap-drop", nil, "drop a `capability`")
	f.BoolVar(&o.Privileged, "privileged", false, "give the container all that root has")
	f.StringVarP(&o.Hostname, "hostname", "h", "", "host `name` inside")
	f.BoolVar(&o.Init, "init", false, "run a small init as the first process")
	f.StringArrayVarP(&o.labels, "label", "l", nil, "label of the container, `NAME=VALUE`")
	f.StringVar(&o.Platform, "platform", "", "`platform` of the image")
	f.StringVar(&o.StopSignal, "stop-signal", "", "`signal` that asks the container to stop")
	f.StringVar(&o.CidFile, "cidfile", "", "write the container's ID to a `file`")
	o.life.register(f)
}

// complete reads the flags whose texts have a meaning of their own.
func (o *runOptions) complete(f *pflag.FlagSet) (err error) {
	if f.Changed("entrypoint") {
		o.Entrypoint = &o.entrypoint
	}
	if o.Memory, err = parseBytes(o.memory); err != nil {
		return fmt.Errorf("--memory: %w", err)
	}
	if o.NanoCPUs, err = parseCPUs(o.cpus); err != nil {
		return err
	}
	if o.Env, err = environment(o.envFiles, o.env); err != nil {
		return err
	}
	if o.Labels, err = keyValues("--label", o.labels, func(string) (string, bool) { return "", true }); err != nil {
		return err
	}
	if err = o.life.complete(f, &o.LifeOptions); err != nil {
		return err
	}
	return checkAttach(o.attach, o.Detach)
}
