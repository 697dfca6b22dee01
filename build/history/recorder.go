package history

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/camada/camada/build"
	"github.com/camada/camada/build/op"
	"github.com/camada/camada/internal/flock"
	"github.com/opencontainers/go-digest"
)

// Limits on what is kept of foreign texts, in bytes.
const (
	maxSource = 1 << 20
	maxError  = 4 << 10
	// maxPlan bounds a plan: a build with a larger one is kept without its definitions.
	maxPlan = 16 << 20
	// idLength is that of a build's ID.
	idLength = 10
)

// Recorder keeps one build. It implements build.Observer. What goes wrong is told by Finish; the build does not
// suffer from it.
type Recorder struct {
	h     *History
	start Start
	id    string
	began time.Time
	mask  *masker

	mu      sync.Mutex
	plan    string   // the name of the plan
	file    *os.File // nil until the first write
	pending []byte   // lines that are not written yet
	ended   bool
	err     error
}

var _ build.Observer = (*Recorder)(nil)

// line is one line of a build's file: one of its fields is set.
type line struct {
	Begin *beginLine `json:"begin,omitempty"`
	Step  *Step      `json:"step,omitempty"`
	End   *endLine   `json:"end,omitempty"`
}

type beginLine struct {
	Start
	Time time.Time `json:"time"`
	Plan string    `json:"plan"`
}

type endLine struct {
	Time     time.Time     `json:"time"`
	Status   Status        `json:"status"`
	Error    string        `json:"error,omitempty"`
	Manifest digest.Digest `json:"manifest,omitempty"`
	Config   digest.Digest `json:"config,omitempty"`
	// Provenance is as End has it.
	Provenance digest.Digest `json:"provenance,omitempty"`
	Tags       []string      `json:"tags,omitempty"`
	Warnings   []string      `json:"warnings,omitempty"`
}

// Record begins to keep a build. Nothing is written before the build is planned.
func (h *History) Record(s Start) *Recorder {
	r := &Recorder{h: h, id: strings.ToLower(rand.Text())[:idLength], began: time.Now()}
	var key []byte
	for k := range s.Args {
		if IsSecretName(k) {
			if key, r.err = h.key(); r.err != nil { // a mark without a key could be tried out
				key = []byte(rand.Text())
			}
			break
		}
	}
	r.mask = newMasker(key, s.Args)
	s.Args = r.mask.args(s.Args)
	s.Context, s.Dockerfile, s.Target = r.mask.text(s.Context), r.mask.text(s.Dockerfile), r.mask.text(s.Target)
	r.start = s
	return r
}

// ID is the build's.
func (r *Recorder) ID() string { return r.id }

// Planned implements build.Observer.
func (r *Recorder) Planned(p build.Plan) {
	plan, err := json.Marshal(r.planOf(p, true))
	if err == nil && len(plan) > maxPlan {
		plan, err = json.Marshal(r.planOf(p, false))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		err = r.locked(func() error {
			sum, err := r.h.putObject(plan)
			r.plan = hex.EncodeToString(sum[:])
			r.add(line{Begin: &beginLine{Start: r.start, Time: r.began.UTC(), Plan: r.plan}})
			if err == nil {
				err = r.create()
			}
			return err
		})
	}
	r.fail(err)
}

// planOf makes the plan that is kept, without secrets.
func (r *Recorder) planOf(p build.Plan, whole bool) Plan {
	out := Plan{Name: r.mask.text(p.File.Name), Digest: digest.FromBytes(p.Source), Epoch: p.Epoch.Unix(), Target: -1}
	if p.Graph.Target != nil {
		out.Target = p.Graph.Target.ID
	}
	if whole && len(p.Source) <= maxSource {
		out.Source = r.mask.text(string(p.Source))
	}
	for _, v := range p.Graph.Vertices {
		x := Vertex{Name: r.mask.text(v.Name), Stage: v.Stage, Parent: -1, Args: v.Args}
		if v.Parent != nil {
			x.Parent = v.Parent.ID
		}
		for _, src := range v.Sources {
			id := -1
			if src != nil {
				id = src.ID
			}
			x.Sources = append(x.Sources, id)
		}
		for _, l := range v.Location {
			if x.Line == 0 || l.Start.Line < x.Line {
				x.Line = l.Start.Line
			}
			x.EndLine = max(x.EndLine, l.Start.Line, l.End.Line)
		}
		if v.Base != nil {
			x.Base, x.Digest = r.mask.text(v.Base.Name), v.Base.Manifest.Digest
		} else if whole {
			x.Definition = r.mask.text(v.Op.Definition())
		}
		out.Vertices = append(out.Vertices, x)
	}
	return out
}

// Ended implements build.Observer.
func (r *Recorder) Ended(s build.Step) {
	out := &Step{
		ID: s.Vertex.ID, Started: s.Started.Sub(r.began).Microseconds(), Took: s.Ended.Sub(s.Started).Microseconds(),
		Cached: s.Cached, Miss: string(s.Miss), Parent: s.Parent, ChainID: s.ChainID, DiffID: s.Layer.DiffID,
		Layer: s.Layer.Descriptor.Digest, Size: s.Layer.Descriptor.Size, Uncompressed: s.Layer.Size,
	}
	for _, in := range s.Inputs {
		out.Inputs = append(out.Inputs, r.mask.text(in))
	}
	if s.Vertex.Op != nil && s.Definition != "" && s.Definition != s.Vertex.Op.Definition() {
		out.Definition = r.mask.text(s.Definition)
	}
	if s.Err != nil {
		out.Error = r.cut(s.Err.Error())
		var exit *op.ExitError
		if errors.As(s.Err, &exit) {
			out.Exit = exit.Code
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil || r.ended {
		return
	}
	if s.Context != nil || len(s.Mounted) > 0 {
		r.fail(r.locked(func() error {
			err := r.lists(s, out)
			r.add(line{Step: out})
			return errors.Join(err, r.flush())
		}))
		return
	}
	r.add(line{Step: out})
	if !s.Cached && s.Vertex.Base == nil {
		r.fail(r.flush())
	}
}

// lists keeps which files of the context a step took.
func (r *Recorder) lists(s build.Step, out *Step) error {
	if s.Context != nil {
		if err := r.h.putList(context.Background(), s.Context); err != nil {
			return err
		}
		out.Files = s.Context.Digest
	}
	for _, m := range s.Mounted {
		if err := r.h.putList(context.Background(), m); err != nil {
			return err
		}
		out.Mounted = append(out.Mounted, m.Digest)
	}
	return nil
}

// Finish ends the record. It returns what could not be kept.
func (r *Recorder) Finish(e End) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil || r.ended {
		return r.err
	}
	r.ended = true
	out := &endLine{Time: time.Now().UTC(), Status: Completed, Manifest: e.Manifest, Config: e.Config, Provenance: e.Provenance, Tags: e.Tags}
	for _, w := range e.Warnings {
		out.Warnings = append(out.Warnings, r.cut(w))
	}
	if e.Err != nil {
		out.Status, out.Error = Failed, r.cut(e.Err.Error())
		if e.Canceled {
			out.Status = Canceled
		}
	}
	r.add(line{End: out})
	r.fail(errors.Join(r.flush(), r.file.Close()))
	if r.id[0] == 'a' { // one of 32
		_, err := r.h.Prune(context.Background(), DefaultKeep(), false)
		r.fail(err)
	}
	return r.err
}

// cut bounds a text of an error, without secrets.
func (r *Recorder) cut(s string) string {
	if s = r.mask.text(s); len(s) > maxError {
		s = strings.ToValidUTF8(s[:maxError], "") + "..."
	}
	return s
}

func (r *Recorder) fail(err error) {
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("keep the build's history: %w", err)
	}
}

// locked calls fn while no object is removed.
func (r *Recorder) locked(fn func() error) error {
	l, err := r.h.lock(context.Background(), flock.Shared)
	if err != nil {
		return err
	}
	defer l.Close()
	return fn()
}

func (r *Recorder) add(l line) {
	b, err := json.Marshal(l)
	r.fail(err)
	r.pending = append(append(r.pending, b...), '\n')
}

// create makes the build's file, locked before it has its name.
func (r *Recorder) create() error {
	name := nameOf(r.began, r.start, r.id)
	tmp := r.h.buildPath(temporary + name)
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL | os.O_APPEND
	f, err := os.OpenFile(tmp, flags, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		if err = os.MkdirAll(r.h.buildPath(""), 0o711); err == nil {
			f, err = os.OpenFile(tmp, flags, 0o600)
		}
	}
	if err != nil {
		return err
	}
	r.file = f
	if _, err = flock.TryExclusive(f); err == nil {
		err = errors.Join(r.flush(), os.Rename(tmp, r.h.buildPath(name)))
	}
	if err != nil {
		os.Remove(tmp)
		f.Close()
		r.file = nil
	}
	return err
}

func (r *Recorder) flush() error {
	if len(r.pending) == 0 || r.file == nil {
		return nil
	}
	_, err := r.file.Write(r.pending)
	r.pending = r.pending[:0]
	return err
}

// nameOf is the name of a build's file: twelve hex digits of milliseconds, eight of
// what is built, and the ID.
func nameOf(t time.Time, s Start, id string) string {
	return fmt.Sprintf("%012x-%s-%s", t.UnixMilli(), projectOf(s), id)
}

// projectOf tells in eight hex digits what is built.
func projectOf(s Start) string {
	sum := sha256.Sum256([]byte(s.Context + "\x00" + s.Dockerfile + "\x00" + s.Project))
	return hex.EncodeToString(sum[:4])
}

// splitName is the inverse of nameOf.
func splitName(name string) (t time.Time, project, id string, ok bool) {
	parts := strings.Split(name, "-")
	if len(parts) != 3 || len(parts[0]) != 12 || len(parts[1]) != 8 || len(parts[2]) != idLength {
		return t, "", "", false
	}
	ms, err := strconv.ParseInt(parts[0], 16, 64)
	return time.UnixMilli(ms), parts[1], parts[2], err == nil
}

func timeOf(name string) time.Time {
	t, _, _, _ := splitName(name)
	return t
}
