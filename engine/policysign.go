package engine

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/pattern"
	"github.com/camada/camada/policy"
	"github.com/camada/camada/sign"
	"github.com/camada/camada/sign/keys"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Signatures implements policy.Facts. A signature of the index that led to the image counts for it. What lies beside the image here is looked at first, then what the
// registry of its name has.
func (f *policyFacts) Signatures(ctx context.Context, by policy.Signer, predicate string) ([]policy.Signature, error) {
	req, err := requirementsOf(ctx, by, predicate)
	if err != nil {
		return nil, err
	}
	subjects := []ocispec.Descriptor{f.at.image.Descriptor}
	if d := f.at.root; d.Digest != "" && d.Digest != subjects[0].Digest {
		subjects = append(subjects, d)
	}
	var unknown error
	for _, src := range f.signSources() {
		for _, d := range subjects {
			r, err := sign.Look(ctx, src, d, req)
			if err != nil {
				unknown = errors.Join(unknown, err)
				continue
			}
			var out []policy.Signature
			for _, v := range r.Verified {
				if by.Identity != "" && !pattern.Match(by.Identity, v.Identity) {
					continue
				}
				out = append(out, policy.Signature{Signer: by.Name, Identity: v.Identity, Issuer: v.Issuer, Key: v.KeyID, PredicateType: predicate, Time: v.Time})
			}
			if len(out) > 0 {
				return out, nil
			}
			if r.More > 0 {
				unknown = errors.Join(unknown, errdefs.Limit("there are %d more signatures than are looked at", r.More))
			}
		}
	}
	return nil, unknown
}

// requirementsOf reads the files that a signer is described by.
func requirementsOf(ctx context.Context, by policy.Signer, predicate string) (sign.Requirements, error) {
	o := SignerOptions{Attestation: predicate}
	if by.Key != "" {
		o.Keys = []string{by.Key}
		return SignRequirements(ctx, o)
	}
	if err := o.believe(by.Roots); err != nil {
		return sign.Requirements{}, err
	}
	if o.TrustedRoot != "" && by.Issuer == "" {
		return sign.Requirements{}, errdefs.Invalid("the signer %s needs an issuer with a trusted root: other providers know somebody of that name, too", by.Name)
	}
	o.Identities = []sign.Identity{{SubjectRegexp: patternRegexp(by.Identity), Issuer: by.Issuer}}
	return SignRequirements(ctx, o)
}

// PolicyWarnings say what is the matter with the signers that a policy describes: rules that ask for their signatures refuse everything, though the policy can be read. A key that a
// program has is not looked at: whoever reads a policy does not start what it names.
func PolicyWarnings(ctx context.Context, p *policy.Policy) []error {
	var out []error
	for _, by := range p.Signers() {
		if keys.IsProgram(by.Key) {
			continue
		}
		if _, err := requirementsOf(ctx, by, ""); err != nil {
			out = append(out, fmt.Errorf("trust.%s: %w", by.Name, err))
		}
	}
	return out
}

// patternRegexp is a regular expression that matches at least what a pattern does.
func patternRegexp(p string) string {
	var b strings.Builder
	b.WriteByte('^')
	for p != "" {
		switch end := strings.IndexByte(p, ']'); {
		case p[0] == '[' && end > 0:
			b.WriteByte('.') // which characters, the pattern itself says afterwards
			p = p[end:]
		case p[0] == '*' || p[0] == '?':
			b.WriteString(".*")
		default:
			b.WriteString(regexp.QuoteMeta(p[:1]))
		}
		p = p[1:]
	}
	b.WriteByte('$')
	return b.String()
}

// signSources are where signatures may be.
func (f *policyFacts) signSources() []sign.Source {
	if f.at.registry != nil {
		return []sign.Source{storedSignatures{f.at.registry}}
	}
	local := &copySource{Provider: f.e.content, store: true, close: nothingToClose}
	here := &signPlace{Provider: local, e: f.e, src: local}
	out := []sign.Source{here}
	for _, n := range f.names {
		if here.ref.Repository == "" {
			here.ref = n
		}
		repo := f.e.registries().Repository(n)
		src := &copySource{Provider: repo, repo: repo, close: nothingToClose}
		out = append(out, &signPlace{Provider: src, e: f.e, src: src, ref: n})
	}
	return out
}

// storedSignatures are those of a repository of a registry that is served here.
type storedSignatures struct{ *storedRepository }

// Referrers implements sign.Source.
func (s storedSignatures) Referrers(ctx context.Context, subject digest.Digest) ([]ocispec.Descriptor, error) {
	return s.storage.Referrers(ctx, s.repository, subject)
}

// Tagged implements sign.Source.
func (s storedSignatures) Tagged(ctx context.Context, tag string) (ocispec.Descriptor, error) {
	t, err := s.storage.Tag(ctx, s.repository, tag)
	return t.Descriptor, err
}

var _ content.Provider = storedSignatures{}
