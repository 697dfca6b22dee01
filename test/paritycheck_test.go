package test

import (
	"testing"

	"github.com/camada/camada/internal/peers"
)

// compareChecks compares the warnings of both.
func (y *parity) compareChecks(t *testing.T, p *peers.Peers, c *ours, pc *parityCase) {}
