package graph

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/errdefs"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
)

func (st *stage) expose(c *instructions.ExposeCommand) error {
	var ports []string
	for _, p := range c.Ports {
		words, err := st.b.f.ExpandWords(p, st.scope)
		if err != nil {
			return errdefs.Invalid("EXPOSE %s: %w", p, err)
		}
		for _, w := range words {
			st.checkPort(c, w)
			ps, err := parsePorts(w)
			if err != nil {
				return errdefs.Invalid("EXPOSE %s: %w", w, err)
			}
			ports = append(ports, ps...)
		}
	}
	cfg := &st.img.Config
	if cfg.ExposedPorts == nil {
		cfg.ExposedPorts = make(map[string]struct{})
	}
	for _, p := range ports {
		cfg.ExposedPorts[p] = struct{}{}
	}
	st.describe(c, dockerfile.DocPort, ports...)
	st.history(fmt.Sprintf("EXPOSE %v", ports), true)
	return nil
}

// checkPort remarks on what EXPOSE takes but should not be given.
func (st *stage) checkPort(c instructions.Command, word string) {
	i := strings.LastIndexByte(word, ':')
	if _, proto, _ := strings.Cut(word[i+1:], "/"); proto != strings.ToLower(proto) {
		st.warn(c, &linter.RuleExposeProtoCasing, linter.RuleExposeProtoCasing.Format(word))
	}
	if i > 0 {
		st.warn(c, &linter.RuleExposeInvalidFormat, linter.RuleExposeInvalidFormat.Format(word))
	}
}

// parsePorts reads [[ip:]host:]port[-port][/protocol] and returns each port of the container as "port/protocol".
// EXPOSE has no use for the rest, but it must be right.
func parsePorts(word string) ([]string, error) {
	spec, proto, _ := strings.Cut(word[strings.LastIndexByte(word, ':')+1:], "/")
	switch proto = strings.ToLower(proto); proto {
	case "":
		proto = "tcp"
	case "tcp", "udp", "sctp":
	default:
		return nil, errdefs.Invalid("the protocol is none of tcp, udp, sctp")
	}
	first, last, err := portRange(spec)
	if err != nil {
		return nil, err
	}
	if err := checkHost(word, last-first); err != nil {
		return nil, err
	}
	var out []string
	for p := first; p <= last; p++ {
		out = append(out, strconv.FormatInt(p, 10)+"/"+proto)
	}
	return out, nil
}

// checkHost looks at what stands before the container's port: an address and ports of the host, as many as
// the container's or, for a single one of those, a range to choose from.
func checkHost(word string, more int64) error {
	i := strings.LastIndexByte(word, ':')
	if i < 0 {
		return nil
	}
	host := word[:i]
	if i = strings.LastIndexByte(host, ':'); i >= 0 {
		ip := host[:i]
		if inner, ok := strings.CutPrefix(ip, "["); ok {
			ip, ok = strings.CutSuffix(inner, "]")
			if !ok {
				return errdefs.Invalid("%s is not an address", host[:i])
			}
		}
		if _, err := netip.ParseAddr(ip); ip != "" && err != nil {
			return errdefs.Invalid("%s is not an address", ip)
		}
		host = host[i+1:]
	}
	if host == "" {
		return nil
	}
	first, last, err := portRange(host)
	if err != nil {
		return err
	}
	if more != 0 && last-first != more {
		return errdefs.Invalid("the range of the host has not as many ports as that of the container")
	}
	return nil
}

func portRange(s string) (first, last int64, err error) {
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		to = from
	}
	first, err1 := strconv.ParseInt(from, 10, 32)
	last, err2 := strconv.ParseInt(to, 10, 32)
	if err1 != nil || err2 != nil || first < 0 || last > 65535 {
		return 0, 0, errdefs.Invalid("not a port or a range of ports")
	}
	if last < first {
		return 0, 0, errdefs.Invalid("the range ends before it begins")
	}
	return first, last, nil
}
