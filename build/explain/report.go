package explain

import "github.com/opencontainers/go-digest"

// Outcome is what became of a step.
type Outcome string

// The outcomes.
const (
	// Base is a base image, which is neither cached nor executed.
	Base     Outcome = "base"
	Cached   Outcome = "cached"
	Executed Outcome = "executed"
	Failed   Outcome = "failed"
	// NotReached steps did not begin, or did not end, because the build ended before.
	NotReached Outcome = "not reached"
)

// Kind is a kind of reason.
type Kind string

// The kinds of reasons.
const (
	// First: this context and Dockerfile were never built before, or not this stage.
	First Kind = "first"
	// New: the instruction is new.
	New Kind = "new"
	// Instruction: it changed from Old to New.
	Instruction Kind = "instruction"
	// Argument: the value of the ARG Name changed.
	Argument Kind = "argument"
	// Env: the value of the ENV Name changed.
	Env Kind = "env"
	// Option: something else that decides the result changed, called Name.
	Option Kind = "option"
	// Files: files of the context changed.
	Files Kind = "files"
	// Remote: what an ADD fetches from another machine.
	Remote Kind = "remote"
	// Mount: what a RUN sees at the mount Name, of another step or image.
	Mount Kind = "mount"
	// BaseImage: the base image Name moved, or is another one.
	BaseImage Kind = "base"
	// Parent: the step below it has another result.
	Parent Kind = "parent"
	// Order: it comes after another step than before.
	Order Kind = "order"
	// Source: what it copies from has another result.
	Source Kind = "source"
	// Platform, Epoch: they are other ones.
	Platform Kind = "platform"
	Epoch    Kind = "epoch"
	// RecordGone, LayerGone: an earlier build made the same, but its cache record or its layer was removed.
	RecordGone Kind = "record-gone"
	LayerGone  Kind = "layer-gone"
	// NoCache: the cache was not asked.
	NoCache Kind = "no-cache"
	// FailedBefore: it is what failed, or was stopped, in the build before.
	FailedBefore Kind = "failed-before"
	// Unknown: nothing that is kept differs.
	Unknown Kind = "unknown"
)

// Reason is one reason why a step was not cached.
type Reason struct {
	Kind Kind
	// Text is the reason as a sentence for people.
	Text string
	// Name is what changed: an argument, a variable, an option, a step, an image.
	Name string `json:",omitempty"`
	// Old and New are its values.
	Old string `json:",omitempty"`
	New string `json:",omitempty"`
	// Diff are the lines of a longer text that changed, each with "-", "+" or " " before it.
	Diff []string `json:",omitempty"`
	// Changes are the files that changed.
	Changes []FileChange `json:",omitempty"`

	step int // of Parent and Source: the place of that step, -1 for none
}

// FileChange is one file of the context.
type FileChange struct {
	// Change is "added", "removed" or "changed".
	Change string
	Path   string
	// What changed of a changed file: some of "content", "mode", "link", "type".
	What []string `json:",omitempty"`
	// Digests are of the content, modes octal with the file's type, links targets.
	OldDigest string `json:",omitempty"`
	NewDigest string `json:",omitempty"`
	OldMode   string `json:",omitempty"`
	NewMode   string `json:",omitempty"`
	OldLink   string `json:",omitempty"`
	NewLink   string `json:",omitempty"`
}

// Verdict is what is to be said of one step.
type Verdict struct {
	// ID is the step's place in the plan.
	ID    int
	Name  string
	Stage string `json:",omitempty"`
	// Line and EndLine are where it stands in the Dockerfile; 0 is nowhere.
	Line    int `json:",omitempty"`
	EndLine int `json:",omitempty"`
	Outcome Outcome
	// Seconds is how long it took.
	Seconds float64
	// Size of the layer in bytes, compressed.
	Size int64 `json:",omitempty"`
	// Reasons why it was executed; of a base image, how it changed.
	Reasons []Reason `json:",omitempty"`
	// Note is more that is known of a cached step.
	Note  string `json:",omitempty"`
	Error string `json:",omitempty"`
	// Root is the name of the step at which the chain of rebuilt parents began, when that is another one.
	Root string `json:",omitempty"`
}

// Report explains one build.
type Report struct {
	// ID of the build, and Before the IDs of those that it was compared with, the youngest first.
	ID     string
	Before []string `json:",omitempty"`
	// What was built and what came of it.
	Context, Dockerfile, Target, Platform string
	Tags                                  []string      `json:",omitempty"`
	Status                                string        `json:",omitempty"`
	Error                                 string        `json:",omitempty"`
	Manifest                              digest.Digest `json:",omitempty"`
	Seconds                               float64
	Cached, Total                         int
	Steps                                 []Verdict
}
