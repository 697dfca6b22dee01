package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/camada/camada/policy"
)

const (
	// verdictFormat changes whenever verdicts, or what they are made of, do.
	verdictFormat = "1"
	// verdictLife is how long a verdict counts at most: time itself may change it, and so may signatures.
	verdictLife = 10 * time.Minute
	maxVerdict  = 1 << 20
)

// verdictStore remembers which images were allowed, so that a start asks files only. It can go at any time.
type verdictStore struct{ scanStore }

func (e *Engine) verdicts() *verdictStore {
	return &verdictStore{scanStore{filepath.Join(e.root, "cache", "verdicts")}}
}

// verdictKey is made of all that a verdict depends on: the policies with their keys, what is asked, the image, and which advisory database there is.
func (e *Engine) verdictKey(list []*policy.Policy, q policy.Request, at located) string {
	// A signature of the index counts for its images.
	parts := []string{verdictFormat, e.version, string(q.Action), q.Namespace, q.User, q.RunAs, at.image.Descriptor.Digest.String(), at.root.Digest.String()}
	if at.base != nil {
		parts = append(parts, "base", at.base.Name, at.base.Digest)
	}
	parts = append(parts, strconv.Itoa(len(q.Names)))
	for _, n := range q.Names {
		parts = append(parts, n.String())
	}
	return sumOf(append(parts, e.judgedBy(list)...))
}

// judgedBy is what a verdict depends on beside what is judged: the policies with their keys, and which advisory database there is.
func (e *Engine) judgedBy(list []*policy.Policy) []string {
	var out []string
	for _, p := range list {
		out = append(out, p.File, p.Digest)
		for _, name := range p.Files() {
			out = append(out, name, fmt.Sprint(markOf(name)))
		}
	}
	return append(out, fmt.Sprint(markOf(e.advisoriesPath())))
}

// sumOf is another text for each list of texts.
func sumOf(parts []string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s,", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// kept is a verdict as it is remembered.
type keptVerdict struct {
	Since    time.Time
	Decision *policy.Decision
}

// get is nil when nothing is remembered that still counts.
func (s *verdictStore) get(key string, now time.Time) *policy.Decision {
	f, err := os.Open(filepath.Join(s.dir, key+".json"))
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxVerdict))
	if err != nil {
		return nil
	}
	var v keptVerdict
	if json.Unmarshal(data, &v) != nil || v.Decision == nil || !v.Decision.Allowed {
		return nil
	}
	if age := now.Sub(v.Since); age < 0 || age > verdictLife {
		return nil
	}
	return v.Decision
}

// put remembers that something is allowed. Refusals are found anew each time: whoever repairs what is wrong shall see it at once.
func (s *verdictStore) put(key string, d *policy.Decision, now time.Time) {
	if !d.Allowed {
		return
	}
	data, err := json.Marshal(keptVerdict{now, d})
	if err != nil || len(data) > maxVerdict {
		return
	}
	// A verdict that cannot be kept is found again.
	_ = s.write(filepath.Join(s.dir, key+".json"), data)
}
