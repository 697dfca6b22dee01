// Package debian makes root file systems straight from a signed Debian archive.
//
//	plan, err := debian.Resolve(ctx, debian.Options{Suite: "bookworm", CacheDir: dir})
//	fmt.Println(plan.Packages)
//	tree, err := plan.Fetch(ctx)
//	defer tree.Close()
//	err = tree.WriteTar(ctx, w)              // one layer
//	err = base.Run(ctx, runner, tree.Steps()) // inside it, for Minbase
//
// Resolve reads what the machine's apt knows (mirror, keyring, proxy), verifies the
// archive's signed indexes and chooses packages. Fetch gets, checks and unpacks
// them into temporary files. WriteTar merges them into a layer stream with dpkg's
// database. The steps then configure the packages, as dpkg does, and remove what
// differs between two runs.
//
// # Variants
//
// Minbase is what debootstrap's minbase is: the packages that are Essential or
// of priority required, apt, and what they need. The packages of Include and their
// needs are installed on top, by dpkg itself.
//
// Distroless has the packages of Include, what they need, and base-files, which
// says which release it is. No script is run. Needs that only scripts of packages
// have are taken as met (see the function scriptNeed), so neither a shell nor dpkg
// gets in, unless it is named. Each package's control file is kept in
// /var/lib/dpkg/status.d, where scanners look. Instead of scripts, the tree gets
// small /etc/passwd, /etc/group and /etc/nsswitch.conf, and, with
// ca-certificates, the bundle of its certificates.
//
// # Determinism
//
// The bytes depend on the chosen packages and the options alone. Times
// are at most Epoch, the time of the youngest package.
package debian

import (
	"time"

	"github.com/camada/camada/base"
	"github.com/camada/camada/base/debian/aptconfig"
	"github.com/camada/camada/base/debian/fetch"
	"github.com/camada/camada/base/debian/index"
	"github.com/camada/camada/base/debian/resolve"
	"github.com/camada/camada/progress"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Variant says how much gets in.
type Variant string

// The variants.
const (
	Minbase    Variant = "minbase"
	Distroless Variant = "distroless"
)

// Options say which tree is wanted. What is zero comes from the machine's apt
// configuration, or has the default that is told.
type Options struct {
	// Suite is a suite's name or codename; by default the machine's own.
	Suite string
	// Variant is Minbase by default.
	Variant Variant
	// Include are further packages: "name" or "name=version".
	Include []string
	// Mirror is the address of an archive, the directory with dists/ and pool/.
	// It may hold {timestamp}, see Snapshot. The machine's updates and security
	// suites are left out when it is set.
	Mirror string
	// Components are those of the archive, "main" by default.
	Components []string
	// Keyrings are files with the keys, one of which must have signed the archive.
	Keyrings []string
	// Snapshot, when not zero, asks for the archive as it was at that time. The
	// address is a Mirror that holds {timestamp}, or else apt's
	// Acquire::Snapshots::URI::Origin::Debian.
	Snapshot time.Time
	// Arch is Debian's name of an architecture; the machine's by default.
	Arch string
	// ReleaseOnly leaves out the updates and security suites.
	ReleaseOnly bool
	// CacheDir keeps package and index files from one call to the next; a
	// temporary directory, removed by Close, when it is empty.
	CacheDir string
	// TempDir is where unpacked files are kept meanwhile; "" is the system's.
	TempDir string
	// Apt is the machine's configuration; read from / when nil.
	Apt *aptconfig.Config
	// Progress hears of the work.
	Progress progress.Sink
	// Now is the time that signatures and indexes are checked for; the clock's when zero.
	Now time.Time
}

// Plan is a choice of packages from a verified archive. It can be fetched
// any number of times.
type Plan struct {
	Suite, Codename, Arch string
	Variant               Variant
	// Packages are the chosen packages in the order in which they are unpacked.
	Packages []base.Package
	// Released is the date of the youngest of the archive's suites.
	Released time.Time
	// Sources are the archive's suites, as apt's sources would name them.
	Sources []Source

	opts  Options
	set   *resolve.Set
	core  []*index.Package
	extra []*index.Package
	repos []*archive
	cache fetch.Cache
	temp  string // a cache directory of our own, or ""
}

// Source is one suite of an archive that a Plan took packages from.
type Source struct {
	URI, Suite string
	Components []string
	// ValidUntil is false for snapshots, which run out and are good still.
	ValidUntil bool
}

// Platform returns the OCI name of the plan's architecture.
func (p *Plan) Platform() ocispec.Platform {
	arch, variant := goArch(p.Arch)
	return ocispec.Platform{OS: "linux", Architecture: arch, Variant: variant}
}

// Scripts reports whether the tree's Steps must be run.
func (p *Plan) Scripts() bool { return p.Variant != Distroless }

// Download returns how many bytes of packages the plan has.
func (p *Plan) Download() int64 {
	var n int64
	for _, q := range p.Packages {
		n += q.Size
	}
	return n
}
