package engine

import (
	"slices"
	"sync"
)

// notices are the sentences that the user was told. The zero value keeps them only.
type notices struct {
	mu   sync.Mutex
	told []string
	to   func(string)
}

// notice tells the user something that is no error, once.
func (e *Engine) notice(text string) {
	n := &e.notices
	n.mu.Lock()
	defer n.mu.Unlock()
	if slices.Contains(n.told, text) {
		return
	}
	n.told = append(n.told, text)
	if n.to != nil {
		n.to(text)
	}
}

func (n *notices) list() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.told)
}
