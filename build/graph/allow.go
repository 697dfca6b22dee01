package graph

import (
	"github.com/camada/camada/build/op"
	"github.com/camada/camada/errdefs"
)

// Entitlements are rights on the machine that RUN steps have only when the user grants them.
type Entitlements struct {
	// HostNetwork is for --network=host.
	HostNetwork bool
	// Insecure is for --security=insecure.
	Insecure bool
}

// check refuses a step that asks for more.
func (e Entitlements) check(r *op.Run) error {
	refused := func(flag, name string) error {
		return errdefs.Permission("%s: %s is not allowed; a build may have it with --allow %s", flag, name, name)
	}
	if r.Network == op.NetworkHost && !e.HostNetwork {
		return refused("RUN --network=host", "network.host")
	}
	if r.Insecure && !e.Insecure {
		return refused("RUN --security=insecure", "security.insecure")
	}
	return nil
}
