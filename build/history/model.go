package history

import (
	"time"

	"github.com/opencontainers/go-digest"
)

// Status is how a build ended.
type Status string

// The states of builds, with the words that "docker buildx history ls" uses where it has them.
const (
	Running   Status = "Running"
	Completed Status = "Completed"
	Failed    Status = "Error"
	Canceled  Status = "Canceled"
	// Killed builds ended without a word.
	Killed Status = "Killed"
)

// Start is what is known when a build begins.
type Start struct {
	// Context and Dockerfile say what is built, as names that stay the same from build to
	// build: absolute paths or URLs. What came from standard input has none; Project tells such builds apart.
	Context    string `json:"context,omitempty"`
	Dockerfile string `json:"dockerfile,omitempty"`
	Project    string `json:"project,omitempty"`
	// Target is the stage that was asked for; "" is the last.
	Target string `json:"target,omitempty"`
	// Platform is what was built for.
	Platform string `json:"platform,omitempty"`
	// Args are the values given for ARG, those of secrets Masked; see HiddenArgs.
	Args map[string]string `json:"args,omitempty"`
	// Tags that were asked for.
	Tags []string `json:"tags,omitempty"`
	// NoCache tells that the cache was not to be asked.
	NoCache bool `json:"noCache,omitempty"`
	// EpochGiven tells that SOURCE_DATE_EPOCH was set by the user.
	EpochGiven bool `json:"epochGiven,omitempty"`
}

// End is what is known when a build ends.
type End struct {
	Manifest digest.Digest
	Config   digest.Digest
	// Provenance is the manifest with the statement that the build made of itself; "" for none.
	Provenance digest.Digest
	// Tags that point to it now.
	Tags     []string
	Warnings []string
	// Err is why it failed; Canceled tells that it was stopped.
	Err      error
	Canceled bool
}

// Build is one build as it is kept.
type Build struct {
	// ID is unique in a store: ten of [a-z2-7].
	ID string
	Start
	Status  Status
	Started time.Time
	// Ended is zero when that is not known.
	Ended time.Time
	// Error is the text of what failed.
	Error    string        `json:",omitempty"`
	Manifest digest.Digest `json:",omitempty"`
	Config   digest.Digest `json:",omitempty"`
	// Provenance is as End has it.
	Provenance digest.Digest `json:",omitempty"`
	Warnings   []string      `json:",omitempty"`
	Plan       Plan
	// Steps are by their place in Plan.Vertices; a step that did not end is nil.
	Steps []*Step

	file string // its name in the store
	plan string // the name of the plan
}

// Plan is the part of a build that only the Dockerfile, the arguments and the base images decide.
type Plan struct {
	// Name is what messages call the Dockerfile, Digest is of its text, Source the text
	// itself, "" when it is larger than 1 MB.
	Name   string        `json:"name"`
	Digest digest.Digest `json:"digest"`
	Source string        `json:"source,omitempty"`
	// Epoch is the build's time, in seconds since 1970.
	Epoch int64 `json:"epoch"`
	// Target is the place of the vertex that is the result; -1 for an image without layers.
	Target   int      `json:"target"`
	Vertices []Vertex `json:"vertices"`
}

// Vertex is a step as it is planned.
type Vertex struct {
	// Name is what people call it, e.g. "[build 2/5] RUN make".
	Name string `json:"name"`
	// Stage that it belongs to, "" for an image that files are copied from.
	Stage string `json:"stage,omitempty"`
	// Parent and Sources are places in Plan.Vertices, -1 for an empty file system. Sources
	// are what it reads besides Parent.
	Parent  int   `json:"parent"`
	Sources []int `json:"sources,omitempty"`
	// Line and EndLine are where it stands in the Dockerfile, from 1; 0 is nowhere.
	Line    int `json:"line,omitempty"`
	EndLine int `json:"endLine,omitempty"`
	// Base is set for an image: its name and the digest of its manifest.
	Base   string        `json:"base,omitempty"`
	Digest digest.Digest `json:"digest,omitempty"`
	// Definition is the operation, see op.Op.
	Definition string `json:"definition,omitempty"`
	// Args are the names of the ARGs that it sees.
	Args []string `json:"args,omitempty"`
}

// Step is what became of a vertex.
type Step struct {
	ID int `json:"id"`
	// Started and Took are microseconds: since the start of the build, and long.
	Started int64 `json:"started"`
	Took    int64 `json:"took"`
	Cached  bool  `json:"cached,omitempty"`
	// Miss is one of build.Miss.
	Miss string `json:"miss,omitempty"`
	// Definition is set when it is not the planned one.
	Definition string `json:"definition,omitempty"`
	// Inputs and Parent are what the cache key was made of besides the definition.
	Inputs []string      `json:"inputs,omitempty"`
	Parent digest.Digest `json:"parent,omitempty"`
	// ChainID, DiffID, Layer, Size (of the blob) and Uncompressed (of the tar) are the result, empty for a
	// failed step. Of a base image they are those of its last layer.
	ChainID      digest.Digest `json:"chainID,omitempty"`
	DiffID       digest.Digest `json:"diffID,omitempty"`
	Layer        digest.Digest `json:"layer,omitempty"`
	Size         int64         `json:"size,omitempty"`
	Uncompressed int64         `json:"uncompressed,omitempty"`
	// Files names the list of files that the step copied from the context.
	Files digest.Digest `json:"files,omitempty"`
	// Mounted names the lists of files of the context that a RUN saw; they are named as its inputs say.
	Mounted []digest.Digest `json:"mounted,omitempty"`
	Error   string          `json:"error,omitempty"`
	// Exit is the exit code of a failed RUN.
	Exit int `json:"exit,omitempty"`
}

// Duration is how long the step took.
func (s *Step) Duration() time.Duration { return time.Duration(s.Took) * time.Microsecond }

// DefinitionOf is the definition that step i was executed with.
func (b *Build) DefinitionOf(i int) string {
	if s := b.Steps[i]; s != nil && s.Definition != "" {
		return s.Definition
	}
	return b.Plan.Vertices[i].Definition
}

// Cached is how many steps were found in the cache, of how many that the plan has; base images are not counted.
func (b *Build) Cached() (cached, total int) {
	for i, v := range b.Plan.Vertices {
		if v.Base != "" {
			continue
		}
		total++
		if s := b.Steps[i]; s != nil && s.Cached {
			cached++
		}
	}
	return cached, total
}

// Duration is how long the build took; 0 when that is not known.
func (b *Build) Duration() time.Duration {
	if b.Ended.IsZero() {
		return 0
	}
	return b.Ended.Sub(b.Started)
}
