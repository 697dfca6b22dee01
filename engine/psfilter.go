package engine

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/network"
)

// test tells whether a container is one that a filter chooses.
type test func(*record.Container) bool

// containerMatcher makes one test of docker's filters. Several of one name choose what any of them chooses, but labels all have to be
// there; those of different names all have to choose. all tells that the filters speak of containers that do not run.
func (e *Engine) containerMatcher(list []*record.Container, f ContainerFilter) (match test, all bool, err error) {
	all = f.All || f.Last > 0
	any := map[string][]test{}
	var every []test
	for _, text := range f.Filters {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, false, errdefs.Invalid("--filter %q: want NAME=VALUE", text)
		}
		t, err := e.containerTest(list, name, value)
		if err != nil {
			return nil, false, err
		}
		if name == "status" || name == "exited" {
			all = true
		}
		if name == "label" {
			every = append(every, t)
			continue
		}
		any[name] = append(any[name], t)
	}
	for _, tests := range any {
		every = append(every, func(c *record.Container) bool {
			return slices.ContainsFunc(tests, func(t test) bool { return t(c) })
		})
	}
	return func(c *record.Container) bool {
		return !slices.ContainsFunc(every, func(t test) bool { return !t(c) })
	}, all, nil
}

func (e *Engine) containerTest(list []*record.Container, name, v string) (test, error) {
	switch name {
	case "name":
		re, err := regexp.Compile(v)
		if err != nil {
			return nil, errdefs.Invalid("--filter name=%s: %w", v, err)
		}
		return func(c *record.Container) bool {
			return re.MatchString(c.Config.Name) || re.MatchString("/"+c.Config.Name)
		}, nil
	case "id":
		return func(c *record.Container) bool { return strings.HasPrefix(c.Config.ID, v) }, nil
	case "label":
		return func(c *record.Container) bool { return hasLabel(c.Config.Labels, v) }, nil
	case "status":
		return statusTest(v)
	case "exited":
		code, err := strconv.Atoi(v)
		if err != nil {
			return nil, errdefs.Invalid("--filter exited=%s: want an exit code", v)
		}
		return func(c *record.Container) bool { return c.State.Status == record.Exited && c.State.ExitCode == code }, nil
	case "ancestor":
		return func(c *record.Container) bool { return ofImage(c, v) }, nil
	case "before", "since":
		return timeTest(list, name, v)
	case "network":
		return func(c *record.Container) bool { return slices.Contains(e.networksOf(c), v) || e.onNetwork(c, v) }, nil
	case "volume":
		return func(c *record.Container) bool {
			return slices.ContainsFunc(c.Config.Mounts, func(m record.Mount) bool { return m.Name == v || m.Source == v || m.Destination == v })
		}, nil
	case "health":
		return healthTest(v)
	case "publish", "expose":
		return publishTest(name, v)
	}
	return nil, errdefs.Invalid("--filter %q: want id, name, label, exited, status, ancestor, before, since, volume, network, health, publish or expose", name+"="+v)
}

func statusTest(v string) (test, error) {
	if !slices.Contains([]string{"created", "restarting", "running", "removing", "paused", "exited", "dead"}, v) {
		return nil, errdefs.Invalid("--filter status=%s: want created, restarting, running, removing, paused, exited or dead", v)
	}
	var st statuses
	return func(c *record.Container) bool { return st.of(c) == v }, nil
}

// healthTest chooses by what health checks found; none is for containers without one.
func healthTest(v string) (test, error) {
	if !slices.Contains([]string{"starting", "healthy", "unhealthy", "none"}, v) {
		return nil, errdefs.Invalid("--filter health=%s: want starting, healthy, unhealthy or none", v)
	}
	return func(c *record.Container) bool {
		found := "none"
		if h := c.Health(); h != nil && h.Status != "" {
			found = h.Status
		}
		return found == v
	}, nil
}

// ofImage reports whether a container was made of the image of this name, ID or digest.
func ofImage(c *record.Container, v string) bool {
	tagged := func(s string) string { return strings.TrimSuffix(s, ":latest") }
	return tagged(c.Config.ImageName) == tagged(v) || strings.HasPrefix(c.Config.ImageID, "sha256:"+v) || c.Config.ImageID == v || c.Config.Image.Digest.String() == v
}

// timeTest chooses what was made before, or after, the container that v names.
func timeTest(list []*record.Container, name, v string) (test, error) {
	var at time.Time
	for _, c := range list {
		if c.Config.Name == v || v != "" && strings.HasPrefix(c.Config.ID, v) {
			at = c.Config.Created
		}
	}
	if at.IsZero() {
		return nil, errdefs.NotFound("--filter %s=%s: no such container", name, v)
	}
	if name == "before" {
		return func(c *record.Container) bool { return c.Config.Created.Before(at) }, nil
	}
	return func(c *record.Container) bool { return c.Config.Created.After(at) }, nil
}

// publishTest chooses by a published port, of the container or of the host, or by one that is exposed: PORT[-PORT][/PROTOCOL].
func publishTest(name, v string) (test, error) {
	ports, protocol, _ := strings.Cut(v, "/")
	low, high, isRange := strings.Cut(ports, "-")
	if !isRange {
		high = low
	}
	a, err1 := strconv.ParseUint(low, 10, 16)
	b, err2 := strconv.ParseUint(high, 10, 16)
	if err1 != nil || err2 != nil || a > b {
		return nil, errdefs.Invalid("--filter %s=%s: want PORT[-PORT][/PROTOCOL]", name, v)
	}
	within := func(p network.PortMapping) bool {
		has := func(n uint16) bool { return uint64(n) >= a && uint64(n) <= b }
		return p.Protocol == orElse(protocol, "tcp") && (has(p.ContainerPort) || name == "publish" && has(p.HostPort))
	}
	return func(c *record.Container) bool {
		var all []network.PortMapping
		for _, text := range c.Config.Ports {
			list, _ := network.ParsePort(text)
			all = append(all, list...)
		}
		return slices.ContainsFunc(all, within) || name == "expose" && slices.ContainsFunc(onlyExposed(c, nil), within)
	}, nil
}
