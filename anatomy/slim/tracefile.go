package slim

import (
	"encoding/json"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/camada/camada/container/trace"
	"github.com/camada/camada/errdefs"
)

// Trace is what was seen of runs, as it is kept in a file: JSON.
type Trace struct {
	// Version is TraceVersion.
	Version int `json:"version"`
	// Image is the ID of the image that ran; the traces of different images can be joined, as a rule of two builds of one.
	Image string `json:"image,omitempty"`
	// Runs are the commands that ran.
	Runs []string `json:"runs,omitempty"`
	// Paths are what they used, sorted.
	Paths []TracePath `json:"paths"`
}

// TracePath is a path in a Trace.
type TracePath struct {
	Path string `json:"path"`
	// Bytes are the path when it is not UTF-8, as all texts of JSON are: what the file has as Path then only resembles it.
	Bytes []byte `json:"bytes,omitempty"`
	// How are the words of trace.How.
	How []string `json:"how"`
	// Itself says that a link in the last place was meant, and not what it points to.
	Itself bool `json:"itself,omitempty"`
}

const (
	// TraceVersion is the version of the format.
	TraceVersion = 1
	// maxTrace is the size of a trace in bytes, maxRuns how many commands it may list.
	maxTrace = 256 << 20
	maxRuns  = 10_000
)

// ParseTrace reads a trace. ErrInvalid when it is none or of a version that is not known, ErrLimit when it is too large.
func ParseTrace(r io.Reader) (*Trace, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxTrace+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxTrace {
		return nil, errdefs.Limit("a trace of more than %d bytes", maxTrace)
	}
	var t Trace
	if err := json.Unmarshal(data, &t); err != nil {
		return nil, errdefs.Invalid("it is no trace: %w", err)
	}
	if t.Version != TraceVersion {
		return nil, errdefs.Invalid("it is a trace of version %d, known is %d", t.Version, TraceVersion)
	}
	if len(t.Paths) > maxUses || len(t.Runs) > maxRuns {
		return nil, errdefs.Limit("a trace of more than %d paths or %d commands", maxUses, maxRuns)
	}
	for i := range t.Paths {
		p := &t.Paths[i]
		if len(p.Bytes) > 0 {
			p.Path = string(p.Bytes)
		}
		if _, err := trace.ParseHow(p.How); err != nil {
			return nil, err
		}
		if !strings.HasPrefix(p.Path, "/") || len(p.Path) > maxPath || strings.ContainsRune(p.Path, 0) {
			return nil, errdefs.Invalid("the path %.80q in the trace is not absolute, or too long", p.Path)
		}
	}
	return &t, nil
}

// Used are the paths of the trace.
func (t *Trace) Used() []Used {
	out := make([]Used, 0, len(t.Paths))
	for _, p := range t.Paths {
		how, _ := trace.ParseHow(p.How) // looked at by ParseTrace
		out = append(out, Used{Path: p.Path, NoFollow: p.Itself, How: how})
	}
	return out
}

// SetUsed puts the collected paths into the trace.
func (t *Trace) SetUsed(list []Used) {
	t.Paths = make([]TracePath, 0, len(list))
	for _, u := range list {
		p := TracePath{Path: u.Path, How: u.How.Words(), Itself: u.NoFollow}
		if !utf8.ValidString(u.Path) {
			p.Bytes = []byte(u.Path)
		}
		t.Paths = append(t.Paths, p)
	}
}

// Write writes the trace as ParseTrace reads it.
func (t *Trace) Write(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	return enc.Encode(t)
}
