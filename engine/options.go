package engine

import (
	"io"
	"os"
	"time"

	"github.com/camada/camada/container/trace"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/dockerfile/lint"
	"github.com/camada/camada/image"
	"github.com/camada/camada/progress"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// BuildOptions say what Build builds.
type BuildOptions struct {
	// ContextDir is what COPY and ADD read: a directory, the URL of an archive or of a Dockerfile, a git repository with
	// #ref:directory, "-" for what Stdin has; "" is none.
	ContextDir string
	// Stdin is an archive or a Dockerfile, for ContextDir "-".
	Stdin io.Reader
	// Contexts are named contexts: directories, URLs and repositories as ContextDir has them, docker-image://NAME, or
	// oci-layout://DIRECTORY[:tag][@digest].
	Contexts map[string]string
	// ContextImages are named contexts that are images of the store.
	ContextImages map[string]ocispec.Descriptor
	// File is the Dockerfile; "" is Dockerfile in ContextDir. It can be a URL. In a context that is not a directory of this
	// machine it is a path there, unless it is absolute.
	File string
	// Dockerfile is the text of the Dockerfile when it comes from neither.
	Dockerfile []byte
	// Tags are names for the result.
	Tags []string
	// Target is the stage; "" is the last.
	Target    string
	BuildArgs map[string]string
	NoCache   bool
	Pull      bool
	// NoCacheFilter are names of stages that are built without cache.
	NoCacheFilter []string
	// Platforms are os/arch[/variant]; none is the host's. Several make an image index.
	Platforms []string
	// Labels are added to the config of each image.
	Labels map[string]string
	// Annotations are TYPE:KEY=VALUE as buildx has them: see parseAnnotations.
	Annotations []string
	// Run is what RUN steps get.
	Run BuildRun
	// Lint says what the linter looks for besides the build checks, and from which severity a build tells it; nil is nothing.
	Lint *lint.Config
	// Secrets says what becomes of secrets in what the steps make.
	Secrets SecretsPolicy
	// Outputs are what is made of the result; none stores and tags it.
	Outputs []BuildOutput
	// SBOM attaches a list of the image's packages, Provenance how it was built: ProvenanceNone, Min or Max.
	SBOM       bool
	Provenance string
	// CacheFrom and CacheTo are places of build cache, as buildx writes them: type=registry|local|inline,..., or a name.
	CacheFrom, CacheTo []string
	stdin              *stdinContext // what came from Stdin
	// SourceDateEpoch is seconds since 1970 as text; "" leaves the choice to build.
	SourceDateEpoch string

	// ci is what PrepareCI made of the state of git; nil without it.
	ci *ciBuild
	// watch is told what the builds do; nil is nobody.
	watch *watches
	// cacheDir is used in place of the store's; unrecorded keeps the build out of the history.
	cacheDir   string
	unrecorded bool
}

// BuildOutput is one thing that is made of the result of a build, as --output says it.
type BuildOutput struct {
	// Type is one of the Output constants.
	Type string
	// Names of an image, besides BuildOptions.Tags.
	Names []string
	// Dest is a directory of OutputLocal, or of OutputOCI when Writer is nil. It is made when it is not there.
	Dest string
	// Writer takes the archive of OutputTar, OutputOCI and OutputDocker.
	Writer *os.File `json:"-"`
	// Zstd compresses the layers that this build makes with zstd instead of gzip, for all outputs.
	Zstd bool
	// Push sends an OutputImage to its registry too; with NoStore the store gets no image then, and layers that are in
	// registries already are not fetched.
	Push, NoStore bool
}

// The types of outputs.
const (
	OutputImage  = "image"
	OutputOCI    = "oci"
	OutputDocker = "docker"
	OutputLocal  = "local"
	OutputTar    = "tar"
	// OutputNone makes nothing but cache.
	OutputNone = "cacheonly"
)

// BuildResult is what Build made.
type BuildResult struct {
	// Descriptor is of the manifest, or of the index of several platforms.
	Descriptor ocispec.Descriptor
	// ConfigDigest is the image's ID; "" for several platforms.
	ConfigDigest digest.Digest
	// Tags are the names that point to it now, in their familiar form.
	Tags          []string
	Steps, Cached int
	// History are the IDs of the build in the history, one for each platform; of a failed build too.
	History []string
	// Warnings are what the build checks found.
	Warnings []dockerfile.Warning
}

// PullOptions say what Pull fetches.
type PullOptions struct {
	// Image is a name with a tag or a digest.
	Image string
	// Platform is os/arch[/variant]; "" is the host's.
	Platform string
	// Packed leaves the layers as they are; otherwise they are unpacked while they come, if this machine can run the image.
	Packed bool
	// NoDelta fetches layers as a whole, even where the registry tells how to make them from layers that are here.
	NoDelta bool
}

// PullResult is what Pull fetched.
type PullResult struct {
	// Name in its familiar form, and in full.
	Name, FullName string
	Digest         digest.Digest
	// New is false when all of it was there.
	New bool
}

// PushOptions say how Push sends.
type PushOptions struct {
	// Secrets says what becomes of secrets in the image.
	Secrets SecretsPolicy
}

// PushResult is what Push sent: the manifest or index, and its size in bytes.
type PushResult struct {
	Name   string
	Digest digest.Digest
	Size   int64
}

// BaseOptions say which base image BaseDebian makes. What is empty is taken from this machine's apt.
type BaseOptions struct {
	Suite, Variant, Mirror, Keyring, Snapshot, Arch, Tag string
	Include                                              []string
}

// BaseResult is what BaseDebian made.
type BaseResult struct {
	Name       string
	Descriptor ocispec.Descriptor
	Packages   int
}

// RunOptions say what Run runs; the names are those of docker run's flags.
type RunOptions struct {
	Image       string
	Args        []string
	Name        string
	Remove      bool
	Interactive bool
	TTY         bool
	Detach      bool
	// Env are NAME=VALUE.
	Env []string
	RunMounts
	Workdir string
	User    string
	// Entrypoint replaces the image's; nil keeps it, "" clears it.
	Entrypoint *string
	// Network is the name of a network; "" is bridge. Net says more, and its Networks count when there are any.
	Network string
	Net     NetOptions `json:"net,omitzero"`
	Publish []string
	RunLimits
	RunIsolation
	Secrets []RunSecret `json:",omitempty"`
	// Runtime is another OCI runtime, by name or path; "" is our own.
	Runtime string
	// RuntimeFlags stand before each verb of that runtime, without the dashes.
	RuntimeFlags []string
	// Pull says when the image is asked for in its registry: always, missing or never; "" is missing.
	Pull            string
	ReadOnly        bool
	CapAdd, CapDrop []string
	Privileged      bool
	Hostname        string
	Init            bool
	Labels          map[string]string
	Platform        string
	StopSignal      string
	CidFile         string
	LifeOptions
	// Timings collects where the time of the start goes; nil does not.
	Timings *Timings `json:"-"`
	// Warn is told what was asked for and cannot be had, when that is no reason to give up; nil drops it.
	Warn func(text string) `json:"-"`
	// OnPull is called when the image has to be pulled, and calls what does that; nil does it without a word.
	OnPull func(pull func(progress.Sink) error) error `json:"-"`
	// Stdin, Stdout and Stderr are the caller's.
	Stdin, Stdout, Stderr *os.File `json:"-"`
	// Signals are passed on to the container; nil passes none.
	Signals <-chan os.Signal `json:"-"`

	// opened is the image when it has no name to be found by; trace sees what the container does with files. Nil is neither.
	opened *image.Image
	trace  *trace.Tracer
}

// StartOptions say how a container that was made before is started.
type StartOptions struct {
	// Attach gives the caller's streams to the container and waits for its end; Interactive its standard input too.
	Attach, Interactive   bool
	Stdin, Stdout, Stderr *os.File
	// Signals are passed on to the container; nil passes none.
	Signals <-chan os.Signal
	// DetachKeys leave a container that goes on; "" is Docker's.
	DetachKeys string
	NoSigProxy bool
}

// RunResult is what came of Run: the exit code unless detached.
type RunResult struct {
	ID       string
	ExitCode int
}

// ExecOptions say what Exec runs.
type ExecOptions struct {
	Container        string
	Args             []string
	Interactive, TTY bool
	// Detach lets it run in the background.
	Detach bool
	// DetachKeys leave a program with a terminal and input, which goes on; "" is Docker's.
	DetachKeys            string
	Env                   []string
	Workdir, User         string
	Privileged            bool
	Stdin, Stdout, Stderr *os.File `json:"-"`
	// Signals are passed on to the program; nil passes none.
	Signals <-chan os.Signal `json:"-"`

	trace *trace.Tracer // as in RunOptions
}

// LogOptions choose what Logs shows.
type LogOptions struct {
	Follow     bool
	Timestamps bool
	// Details shows what the log's options add to each line.
	Details bool
	// Tail is how many lines from the end; negative is all.
	Tail int
	// Since and Until are the first and the last time; zero is no limit.
	Since, Until   time.Time
	Stdout, Stderr io.Writer
}

// ImageFilter chooses images.
type ImageFilter struct {
	// Name is REPOSITORY[:TAG]; "" is all.
	Name string
	// Filters are reference= and label=.
	Filters []string
}

// ImageRow is one line of images.
type ImageRow struct {
	Repository string
	Tag        string
	// ID is the digest of the config, as docker counts.
	ID string
	// Digest is that of what the tag points to.
	Digest    string
	CreatedAt time.Time
	// Size is of the layers as stored, for people; SizeBytes for programs.
	Size      string
	SizeBytes int64
}

// HistoryRow is one line of history.
type HistoryRow struct {
	ID        string
	CreatedAt time.Time
	CreatedBy string
	Size      string
	SizeBytes int64
	Comment   string
}

// LogRow is one line of a tag's log.
type LogRow struct {
	// Entry is NAME@{n}: 0 is now.
	Entry  string
	Time   time.Time
	Verb   string
	Digest string
	Before string
	Note   string
}

// SaveOptions say what Save writes and how.
type SaveOptions struct {
	Images []string
	// Format is auto, oci-archive, docker-archive or oci-dir.
	Format string
	// Referrers saves what is about the images too, beside them.
	Referrers bool
	// Writer takes an archive, Directory an oci-dir.
	Writer    *os.File
	Directory string
}

// LoadOptions say what Load reads.
type LoadOptions struct {
	// Input is an archive; Directory an OCI layout.
	Input     *os.File
	Directory string
	// Tag names an image that has no name in the archive.
	Tag string
}

// ImportOptions say what Import reads.
type ImportOptions struct {
	Input *os.File
	Name  string
	// Changes are Dockerfile instructions for the config.
	Changes  []string
	Message  string
	Platform string
}

// GCOptions say what GC keeps.
type GCOptions struct {
	DryRun bool
	// KeepLog keeps what a tag pointed to within this time, and KeepEntries at least so many entries.
	KeepLog     time.Duration
	KeepEntries int
	// KeepCache keeps build cache records that were used within this time.
	KeepCache time.Duration
}

// GCResult is what GC removed.
type GCResult struct {
	Blobs, Snapshots, CacheRecords, CacheMounts, Ingests int
	Bytes                                                int64
	// Builds are entries of the build history.
	Builds int
}

// UsageRow is one line of df.
type UsageRow struct {
	Type               string
	Total, Active      int
	Bytes, Reclaimable int64
}
