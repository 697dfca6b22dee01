package api

import (
	"sync"

	"github.com/opencontainers/go-digest"
)

// maxOrigins bounds what is remembered: about a megabyte.
const maxOrigins = 4096

// origins remembers in which repository a blob was pushed lately, so that it can be mounted by those who do not
// say from where ("Mounting a blob from another repository": "MAY cross-mount the blob if it can be found"). What it forgets, or another replica
// knows, is sent again by the client.
type origins struct {
	mu sync.Mutex
	// older is replaced by newer when that is full: what was used since stays.
	newer, older map[digest.Digest]string
}

func newOrigins() *origins { return &origins{newer: map[digest.Digest]string{}} }

// note says that a repository has a blob.
func (o *origins) note(dgst digest.Digest, repository string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.newer) >= maxOrigins/2 {
		o.newer, o.older = map[digest.Digest]string{}, o.newer
	}
	o.newer[dgst] = repository
}

// find tells of a repository that had the blob, "" when none is known.
func (o *origins) find(dgst digest.Digest) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r, ok := o.newer[dgst]; ok {
		return r
	}
	return o.older[dgst]
}
