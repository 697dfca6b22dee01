package engine

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/sign"
	"github.com/camada/camada/sign/keys"
	"github.com/camada/camada/sign/notation"
	"github.com/camada/camada/sign/trust"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// SignerOptions say whose signatures count, by files and names. What is "" or empty is not asked for.
type SignerOptions struct {
	// Keys are files with public keys, or NAME://KEY.
	Keys []string
	// Identities are the owners of certificates.
	Identities []sign.Identity
	// TrustedRoot is a file trusted_root.json; Chains are files in PEM with an authority of one's own, its root last; Clocks are such
	// files of time stamping authorities.
	TrustedRoot    string
	Chains, Clocks []string
	// NotationTrust and NotationServices are files or directories with certificates, in PEM or DER: of notation's trust stores ca and
	// signingAuthority. NotationSubjects are the signers, as distinguished names; none is everybody with a certificate.
	NotationTrust, NotationServices, NotationSubjects []string
	// Attestation asks for an attestation of this type, a short name or a URI, in place of a signature.
	Attestation string
	// Log, IgnoreLog and IgnoreSCT are as sign.Requirements have them.
	Log, IgnoreLog, IgnoreSCT bool
}

// SignRequirements reads the files that the options name.
func SignRequirements(ctx context.Context, o SignerOptions) (sign.Requirements, error) {
	r := sign.Requirements{Identities: o.Identities, Log: o.Log, IgnoreLog: o.IgnoreLog, IgnoreSCT: o.IgnoreSCT}
	var err error
	if o.Attestation != "" {
		if r.Predicate, err = sign.PredicateType(o.Attestation); err != nil {
			return r, err
		}
	}
	for _, name := range o.Keys {
		k, err := keys.OpenPublic(ctx, name)
		if err != nil {
			return r, err
		}
		r.Keys = append(r.Keys, k)
	}
	if r.Trust, err = trusted(o); err != nil {
		return r, err
	}
	if len(o.NotationTrust)+len(o.NotationServices) > 0 {
		r.Notation = &notation.Trust{Subjects: o.NotationSubjects}
		if r.Notation.Authorities, err = certificateFiles(o.NotationTrust); err != nil {
			return r, err
		}
		if r.Notation.SigningAuthorities, err = certificateFiles(o.NotationServices); err != nil {
			return r, err
		}
		if r.Trust != nil {
			r.Notation.Timestamps = r.Trust.Timestamps
		}
	}
	return r, nil
}

// trusted is whom to believe; nil when nobody is named.
func trusted(o SignerOptions) (*trust.Root, error) {
	if o.TrustedRoot == "" && len(o.Chains) == 0 && len(o.Clocks) == 0 {
		return nil, nil
	}
	root := &trust.Root{}
	if o.TrustedRoot != "" {
		data, err := keys.ReadFile(o.TrustedRoot)
		if err != nil {
			return nil, fmt.Errorf("read the trusted root: %w", err)
		}
		if root, err = trust.Parse(data); err != nil {
			return nil, fmt.Errorf("%s: %w", o.TrustedRoot, err)
		}
	}
	for i, path := range append(slices.Clone(o.Chains), o.Clocks...) {
		certs, err := readCertificates(path)
		if err != nil {
			return nil, err
		}
		chain, clock := certs, []*x509.Certificate(nil)
		if i >= len(o.Chains) {
			chain, clock = nil, certs
		}
		more, err := trust.Private(chain, clock)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		root.Join(more)
	}
	return root, nil
}

// certificateFiles reads certificates from files, and from the files of directories.
func certificateFiles(paths []string) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for _, path := range paths {
		files := []string{path}
		if entries, err := os.ReadDir(path); err == nil {
			files = nil
			for _, f := range entries {
				if f.Type().IsRegular() && !strings.HasPrefix(f.Name(), ".") {
					files = append(files, filepath.Join(path, f.Name()))
				}
			}
		}
		for _, f := range files {
			data, err := keys.ReadFile(f)
			if err != nil {
				return nil, fmt.Errorf("read the certificates: %w", err)
			}
			if c, err := x509.ParseCertificate(data); err == nil {
				out = append(out, c)
				continue
			}
			certs, err := trust.ParseCertificates(data)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f, err)
			}
			out = append(out, certs...)
		}
	}
	if len(paths) > 0 && len(out) == 0 {
		return nil, errdefs.NotFound("there are no certificates in %s", strings.Join(paths, ", "))
	}
	return out, nil
}

// ImageSignatures is what is known of the signatures of an image.
type ImageSignatures struct {
	// Image is what was asked for, Reference the manifest by its digest that was looked at: what to run or deploy.
	Image     string `json:"image"`
	Reference string `json:"reference"`
	*sign.Report
	// Below are the manifests of an index, when they were asked for.
	Below []ImageSignatures `json:"below,omitempty"`
}

// Err is nil when a signature holds, of each manifest that was asked for.
func (s *ImageSignatures) Err() error {
	err := s.Report.Err()
	for i := range s.Below {
		err = errors.Join(err, s.Below[i].Err())
	}
	return err
}

// VerifyImageOptions say which image is looked at.
type VerifyImageOptions struct {
	// Platform chooses a manifest of an index; "" is the index. Recursive looks at all manifests of it, too.
	Platform  string
	Recursive bool
	// Remote takes the signatures of an image of the store from its registry.
	Remote bool
}

// VerifyImage looks at the signatures of an image where it lies. Whether one holds is for the report's Err to say; the error is for
// images that cannot be looked at.
func (e *Engine) VerifyImage(ctx context.Context, name string, req sign.Requirements, o VerifyImageOptions, sink progress.Sink) (res *ImageSignatures, err error) {
	defer e.waits.show(sink)()
	at, err := e.signPlace(ctx, name, o.Remote, progress.Or(sink))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, at.src.close()) }()
	root := at.root
	if o.Platform != "" {
		if root, err = onlyOne(ctx, at.src, root, o.Platform); err != nil {
			return nil, err
		}
	}
	if res, err = at.look(ctx, root, req); err != nil || !o.Recursive || !image.IsIndex(root.MediaType) {
		return res, err
	}
	list, err := manifestsOf(ctx, at.src, root)
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		if d.Digest == root.Digest {
			continue
		}
		one, err := at.look(ctx, d, req)
		if err != nil {
			return nil, err
		}
		res.Below = append(res.Below, *one)
	}
	return res, nil
}

func (p *signPlace) look(ctx context.Context, desc ocispec.Descriptor, req sign.Requirements) (*ImageSignatures, error) {
	r, err := sign.Look(ctx, p, desc, req)
	if err != nil {
		return nil, err
	}
	return &ImageSignatures{Image: p.name, Reference: p.reference(desc.Digest), Report: r}, nil
}
