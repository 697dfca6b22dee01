package engine

import (
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
)

// LifeOptions say how a container is looked after while it lives; the names are those of docker run's flags.
type LifeOptions struct {
	// Restart is no, always, unless-stopped or on-failure[:N]; "" is no.
	Restart string `json:"restart,omitempty"`
	// Health changes the image's health check, field by field.
	Health HealthOptions `json:"health,omitzero"`
	// StopTimeout is how many seconds a container has to end after it was asked to; negative is without end, nil the image's, or 10.
	StopTimeout *int `json:"stopTimeout,omitempty"`
	// LogDriver is json-file, local, journald or none; "" is json-file.
	LogDriver string            `json:"logDriver,omitempty"`
	LogOpts   map[string]string `json:"logOpts,omitempty"`
	// Flags are the flags that it was made with, but for its name, for a unit that makes it anew.
	Flags []string `json:"flags,omitempty"`
	// DetachKeys are the keys that leave a container that goes on; "" is Docker's.
	DetachKeys string `json:"-"`
	// NoSigProxy passes no signals on.
	NoSigProxy bool `json:"-"`
}

// HealthOptions are a health check; what is zero is the image's.
type HealthOptions struct {
	// Cmd is for the image's shell.
	Cmd                                           string        `json:"cmd,omitempty"`
	Interval, Timeout, StartPeriod, StartInterval time.Duration `json:",omitempty"`
	Retries                                       int           `json:",omitempty"`
	// Disable runs none.
	Disable bool `json:",omitempty"`
	// OnFailure is what is done to a container that became unhealthy: one of the Health constants; "" is HealthNone.
	OnFailure string `json:",omitempty"`
}

// What is done to an unhealthy container.
const (
	HealthNone    = "none"
	HealthKill    = "kill"
	HealthRestart = "restart"
	HealthStop    = "stop"
)

// check refuses what makes no sense.
func (o LifeOptions) check(remove bool) error {
	p, err := parsePolicy(o.Restart)
	if err != nil {
		return err
	}
	if remove && p.name != policyNo {
		return errdefs.Invalid("--restart %s cannot be used with --rm", o.Restart)
	}
	h := o.Health
	if h.Disable && (h.Cmd != "" || h.Interval != 0 || h.Timeout != 0 || h.StartPeriod != 0 || h.StartInterval != 0 || h.Retries != 0) {
		return errdefs.Invalid("--no-healthcheck cannot be used with --health-* options")
	}
	for flag, d := range map[string]time.Duration{"interval": h.Interval, "timeout": h.Timeout, "start-period": h.StartPeriod, "start-interval": h.StartInterval} {
		if d < 0 || d > 0 && d < time.Millisecond {
			return errdefs.Invalid("--health-%s %s: want at least 1ms", flag, d)
		}
	}
	if h.Retries < 0 {
		return errdefs.Invalid("--health-retries %d: want a positive number", h.Retries)
	}
	switch h.OnFailure {
	case "", HealthNone, HealthKill, HealthStop:
	case HealthRestart:
		if remove {
			return errdefs.Invalid("--health-on-failure restart cannot be used with --rm")
		}
	default:
		return errdefs.Invalid("--health-on-failure %s: want none, kill, restart or stop", h.OnFailure)
	}
	_, err = parseLogOptions(o.LogDriver, o.LogOpts)
	return err
}

// stopTimeout is how long a container has to end; negative is without end.
func (o LifeOptions) stopTimeout(img image.ExecConfig) time.Duration {
	const usual = 10
	seconds := usual
	switch {
	case o.StopTimeout != nil:
		seconds = *o.StopTimeout
	case img.StopTimeout != nil:
		seconds = *img.StopTimeout
	}
	return time.Duration(seconds) * time.Second
}

// The names of restart policies.
const (
	policyNo            = "no"
	policyAlways        = "always"
	policyUnlessStopped = "unless-stopped"
	policyOnFailure     = "on-failure"
)

// restartPolicy says when a container is started again.
type restartPolicy struct {
	name string
	// tries of on-failure; 0 is no limit.
	tries int
}

func parsePolicy(text string) (restartPolicy, error) {
	name, count, counted := strings.Cut(text, ":")
	p := restartPolicy{name: name}
	switch name {
	case "":
		p.name = policyNo
	case policyNo, policyAlways, policyUnlessStopped:
	case policyOnFailure:
		if counted {
			n, err := strconv.Atoi(count)
			if err != nil || n < 0 {
				return p, errdefs.Invalid("--restart %s: %q is not a number of tries", text, count)
			}
			p.tries = n
		}
		return p, nil
	default:
		return p, errdefs.Invalid("--restart %s: want no, always, unless-stopped or on-failure[:N]", text)
	}
	if counted {
		return p, errdefs.Invalid("--restart %s: only on-failure takes a number of tries", text)
	}
	return p, nil
}

// Docker's times between starts.
const (
	firstDelay = 100 * time.Millisecond
	maxDelay   = time.Minute
	// settled is how long a container has to run before its next end counts as its first.
	settled = 10 * time.Second
)

// restarts counts what a policy did.
type restarts struct {
	count int
	delay time.Duration
}

// next reports whether a container that ran for so long and ended with a code is started again, and after which time.
func (r *restarts) next(p restartPolicy, code int, ran time.Duration) (time.Duration, bool) {
	switch p.name {
	case policyAlways, policyUnlessStopped:
	case policyOnFailure:
		if code == 0 || p.tries > 0 && r.count >= p.tries {
			return 0, false
		}
	default:
		return 0, false
	}
	return r.again(ran), true
}

// again counts a further start and returns the time before it.
func (r *restarts) again(ran time.Duration) time.Duration {
	if ran >= settled {
		r.delay = 0
	}
	r.delay = min(max(2*r.delay, firstDelay), maxDelay)
	r.count++
	return r.delay
}
