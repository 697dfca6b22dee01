package cli

import (
	"errors"
	"fmt"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/progress"
	"github.com/spf13/pflag"
)

// runOptions are what a container is made with, and the texts of flags that have to be understood first.
type runOptions struct {
	engine.RunOptions
	env        []string
	envFiles   []string
	labels     []string
	entrypoint string
	labelFiles []string
	secrets    runSecretsValue
	quiet      bool
	limits     limitOptions
	isolation  isolationOptions
	shmSize    bytesValue
	life       lifeFlags
	attach     []string
	timings    string
}

// register adds the flags that run and create have in common.
func (o *runOptions) register(f *pflag.FlagSet) {
	o.registerInside(f)
	f.BoolVar(&o.Remove, "rm", false, "remove the container when it ends")
	f.BoolVarP(&o.Interactive, "interactive", "i", false, "keep standard input open")
	f.BoolVarP(&o.TTY, "tty", "t", false, "give the container a terminal")
	f.StringVar(&o.Name, "name", "", "`name` of the container")
	listFlag(f, &o.labels, "label", "l", "label of the container, `NAME=VALUE`")
	f.StringVar(&o.Runtime, "runtime", "", "another OCI `runtime`, by name or path: crun, runc, runsc")
	f.StringArrayVar(&o.RuntimeFlags, "runtime-flag", nil, "`flag` for that runtime, without the dashes, before each of its verbs: platform=ptrace")
	f.StringVar(&o.Pull, "pull", engine.PullMissing, "pull the image: `always`, missing or never")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not show what is pulled")
	listFlag(f, &o.labelFiles, "label-file", "", "`file` of labels")
	f.StringVar(&o.Platform, "platform", "", "`platform` of the image")
	f.StringVar(&o.CidFile, "cidfile", "", "write the container's ID to a `file`")
	o.life.register(f)
}

// registerInside adds the flags that say what a program finds in its container, and what it may do.
func (o *runOptions) registerInside(f *pflag.FlagSet) {
	listFlag(f, &o.env, "env", "e", "environment variable, `NAME=VALUE`; NAME alone passes it on")
	listFlag(f, &o.envFiles, "env-file", "", "`file` of environment variables")
	o.registerMounts(f)
	f.StringVarP(&o.Workdir, "workdir", "w", "", "working `directory`")
	f.StringVarP(&o.User, "user", "u", "", "`user[:group]`, by name or id")
	f.StringVar(&o.entrypoint, "entrypoint", "", "`program` in place of the image's entry point")
	registerNetwork(f, &o.Net)
	listFlag(f, &o.Publish, "publish", "p", "publish a port: `[ADDRESS:][HOST:]CONTAINER[/udp]`, also ranges")
	o.registerLimits(f)
	o.registerIsolation(f)
	f.BoolVar(&o.ReadOnly, "read-only", false, "make the root file system read-only")
	f.StringSliceVar(&o.CapAdd, "cap-add", nil, "add a `capability`")
	f.StringSliceVar(&o.CapDrop, "cap-drop", nil, "drop a `capability`")
	f.BoolVar(&o.Privileged, "privileged", false, "give the container all that root has")
	f.StringVarP(&o.Hostname, "hostname", "h", "", "host `name` inside")
	f.BoolVar(&o.Init, "init", false, "run a small init as the first process")
	f.Var(&o.secrets, "secret", "secret as a file or a variable: `id=NAME[,src=FILE|env=VARIABLE][,type=env][,target=TARGET]`; it is in no record and no log")
	f.StringVar(&o.StopSignal, "stop-signal", "", "`signal` that asks the container to stop")
}

// complete reads the flags whose texts have a meaning of their own.
func (o *runOptions) complete(f *pflag.FlagSet) (err error) {
	if err := o.completeInside(f); err != nil {
		return err
	}
	fromFiles, err := labelLines(o.labelFiles)
	if err != nil {
		return err
	}
	if o.Labels, err = keyValues("--label", append(fromFiles, o.labels...), func(string) (string, bool) { return "", true }); err != nil {
		return err
	}
	if err = o.life.complete(f, &o.LifeOptions); err != nil {
		return err
	}
	return checkAttach(o.attach, o.Detach)
}

// completeInside is complete for the flags of registerInside.
func (o *runOptions) completeInside(f *pflag.FlagSet) (err error) {
	if f.Changed("entrypoint") {
		o.Entrypoint = &o.entrypoint
	}
	o.ShmSize = int64(o.shmSize)
	if err = o.completeLimits(f); err != nil {
		return err
	}
	if err = o.completeIsolation(); err != nil {
		return err
	}
	for _, text := range o.secrets {
		secret, err := parseRunSecret(text)
		if err != nil {
			return err
		}
		o.Secrets = append(o.Secrets, secret)
	}
	if o.Env, err = environment(o.envFiles, o.env); err != nil {
		return err
	}
	return nil
}

// onPull shows how an image is pulled, and ends that before the container begins.
func (a *app) onPull(o *runOptions) func(func(progress.Sink) error) error {
	return func(pull func(progress.Sink) error) error {
		mode := "auto"
		if o.quiet {
			mode = "quiet"
		} else if o.Pull != engine.PullAlways {
			fmt.Fprintf(a.stderr, "Unable to find image '%s' locally\n", o.Image)
		}
		d, err := a.display(mode)
		if err != nil {
			return err
		}
		return errors.Join(pull(d), d.Close())
	}
}
