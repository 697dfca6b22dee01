package policy

import (
	"context"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/vuln"
)

// Facts tells of one image. A method is called when a rule comes to need it, and once; what it returns is not changed. An error means that it cannot be known.
type Facts interface {
	Image(ctx context.Context) (*Image, error)
	// Base is the image that this one was built from, as it is told: anybody can give an image a name, and write annotations.
	Base(ctx context.Context) (*Base, error)
	// Confirm returns what is true of a base: its registry has it, and the image is built from it. The name has the tag only when it is that of the digest.
	Confirm(ctx context.Context, b *Base) (*Base, error)
	Packages(ctx context.Context) ([]Package, error)
	Vulnerabilities(ctx context.Context) (*Scan, error)
	// Secrets are those in all layers and in the config.
	Secrets(ctx context.Context) ([]Secret, error)
	// Signatures are those of a signer that hold; with a predicate, his attestations of that type. No signature is no error. It is called once for each signer and predicate.
	Signatures(ctx context.Context, by Signer, predicate string) ([]Signature, error)
}

// Image is what manifest and config say.
type Image struct {
	// Digest is that of the manifest.
	Digest string
	// Size is of the layers as they are stored, in bytes; Layers is how many there are.
	Size    int64
	Layers  int
	Created time.Time
	// OS, Arch and Variant are the platform.
	OS, Arch, Variant string
	Labels            map[string]string
	Annotations       map[string]string
	User              string
	Entrypoint, Cmd   []string
	Env               []string
	WorkingDir        string
	Ports, Volumes    []string
	StopSignal        string
	Healthcheck       bool
}

// Platform is OS/ARCH[/VARIANT].
func (i *Image) Platform() string {
	p := i.OS + "/" + i.Arch
	if i.Variant != "" {
		p += "/" + i.Variant
	}
	return p
}

// Base is an image that another one was built from.
type Base struct {
	// Name is a reference, or "scratch"; Digest is of its manifest, and may be empty.
	Name, Digest string
	// Built tells that a build here knows it; else the image says it of itself.
	Built bool
}

// Package is one that is installed.
type Package struct {
	Name, Version, Type, License, Supplier, PURL, Path string
	// Layer counts from 1; 0 is not known.
	Layer int
}

// Scan is what is known of vulnerabilities.
type Scan struct {
	// Database is when the database was made that was asked.
	Database time.Time
	Packages int
	Findings []Vulnerability
	// Incomplete says what could not be looked up; nil is all was.
	Incomplete error
}

// Vulnerability is one of a package.
type Vulnerability struct {
	ID, Package, Version string
	Aliases              []string
	Severity             vuln.Severity
	Score                float64
	// Fixed is a version that repairs it; "" is none.
	Fixed, Status string
	Exploited     bool
	EPSS          float64
	// From is base or own, "" when not known.
	From string
}

// Secret is one that was found; nothing of it tells the secret itself.
type Secret struct {
	Rule, Where, Path string
	Layer             int
	Hidden            bool
}

// Signature is one that holds.
type Signature struct {
	// Signer is the name in the policy.
	Signer                string
	Identity, Issuer, Key string
	// PredicateType is that of an attestation; "" for a signature.
	PredicateType string
	// Time is when it was made, zero when that is not known.
	Time time.Time
}

// unseen are the facts of an image that nobody looked at.
type unseen struct{}

const errUnseen = errdefs.Class("the image was not looked at")

func (unseen) Image(context.Context) (*Image, error)          { return nil, errUnseen }
func (unseen) Base(context.Context) (*Base, error)            { return nil, errUnseen }
func (unseen) Confirm(context.Context, *Base) (*Base, error)  { return nil, errUnseen }
func (unseen) Packages(context.Context) ([]Package, error)    { return nil, errUnseen }
func (unseen) Vulnerabilities(context.Context) (*Scan, error) { return nil, errUnseen }
func (unseen) Secrets(context.Context) ([]Secret, error)      { return nil, errUnseen }
func (unseen) Signatures(context.Context, Signer, string) ([]Signature, error) {
	return nil, errUnseen
}

// asked remembers what facts were asked for.
type asked struct {
	Facts
	image    answer[*Image]
	base     answer[*Base]
	proven   answer[*Base]
	packages answer[[]Package]
	scan     answer[*Scan]
	secrets  answer[[]Secret]
	signed   map[string]answer[[]Signature]
}

type answer[T any] struct {
	done  bool
	value T
	err   error
}

func (a *answer[T]) of(ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	if !a.done {
		a.value, a.err = ask(ctx)
		a.done = true
	}
	return a.value, a.err
}

func (a *asked) Image(ctx context.Context) (*Image, error) { return a.image.of(ctx, a.Facts.Image) }
func (a *asked) Base(ctx context.Context) (*Base, error)   { return a.base.of(ctx, a.Facts.Base) }

// Confirm is of the one base that there is.
func (a *asked) Confirm(ctx context.Context, b *Base) (*Base, error) {
	return a.proven.of(ctx, func(ctx context.Context) (*Base, error) { return a.Facts.Confirm(ctx, b) })
}
func (a *asked) Packages(ctx context.Context) ([]Package, error) {
	return a.packages.of(ctx, a.Facts.Packages)
}
func (a *asked) Vulnerabilities(ctx context.Context) (*Scan, error) {
	return a.scan.of(ctx, a.Facts.Vulnerabilities)
}
func (a *asked) Secrets(ctx context.Context) ([]Secret, error) {
	return a.secrets.of(ctx, a.Facts.Secrets)
}

func (a *asked) Signatures(ctx context.Context, by Signer, predicate string) ([]Signature, error) {
	key := strings.Join([]string{by.Name, by.Key, by.Roots, by.Identity, by.Issuer, predicate}, "\x00")
	known := a.signed[key]
	list, err := known.of(ctx, func(ctx context.Context) ([]Signature, error) { return a.Facts.Signatures(ctx, by, predicate) })
	a.signed[key] = known
	return list, err
}
