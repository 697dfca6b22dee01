package engine

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/sign"
	"github.com/camada/camada/sign/keys"
)

// The environment says whose signatures sources of advisories must have, when the options do not.
const (
	// envAdvisoriesKey are public keys, files or NAME://KEY, with spaces between them.
	envAdvisoriesKey = "CAMADA_ADVISORIES_KEY"
	// envAdvisoriesIdentity is the owner of a certificate, envAdvisoriesIssuer who says so, and envAdvisoriesRoots a file: trusted_root.json, or an authority of one's own in PEM.
	envAdvisoriesIdentity = "CAMADA_ADVISORIES_IDENTITY"
	envAdvisoriesIssuer   = "CAMADA_ADVISORIES_ISSUER"
	envAdvisoriesRoots    = "CAMADA_ADVISORIES_ROOTS"
)

// advisorySigners reads who must have signed sources: those of the options, or else of the environment; nil asks for no signature.
func (e *Engine) advisorySigners(ctx context.Context, o *SignerOptions) (*sign.Requirements, error) {
	if o == nil {
		var err error
		if o, err = e.keptSigners(); err != nil || o == nil {
			return nil, err
		}
	}
	if len(o.Keys)+len(o.Identities)+len(o.NotationTrust)+len(o.NotationServices) == 0 {
		return nil, errdefs.Invalid("whose signature must advisories have? There is neither a key nor an identity")
	}
	if o.Attestation != "" {
		return nil, errdefs.Invalid("advisories need a signature, and no attestation")
	}
	req, err := SignRequirements(ctx, *o)
	if err != nil {
		return nil, fmt.Errorf("who must have signed advisories: %w", err)
	}
	return &req, nil
}

// keptSigners are those that the environment names; nil when it names none. What is there in part is an error: it was meant to protect.
func (e *Engine) keptSigners() (*SignerOptions, error) {
	identity, issuer, roots := e.getenv(envAdvisoriesIdentity), e.getenv(envAdvisoriesIssuer), e.getenv(envAdvisoriesRoots)
	o := &SignerOptions{Keys: strings.Fields(e.getenv(envAdvisoriesKey))}
	switch {
	case identity == "" && issuer == "" && roots == "" && len(o.Keys) == 0:
		return nil, nil
	case identity == "" && issuer == "" && roots == "":
		return o, nil
	case identity == "" || roots == "":
		return nil, errdefs.Invalid("%s and %s belong together", envAdvisoriesIdentity, envAdvisoriesRoots)
	}
	o.Identities = []sign.Identity{{Subject: identity, Issuer: issuer}}
	if err := o.believe(roots); err != nil {
		return nil, err
	}
	if o.TrustedRoot != "" && issuer == "" {
		return nil, errdefs.Invalid("%s needs %s: other providers know somebody of that name, too", envAdvisoriesIdentity, envAdvisoriesIssuer)
	}
	return o, nil
}

// believe takes a file for what it is: a trusted_root.json, or the certificates of an authority.
func (o *SignerOptions) believe(roots string) error {
	data, err := keys.ReadFile(roots)
	if err != nil {
		return err
	}
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		o.TrustedRoot = roots
	} else {
		o.Chains = []string{roots}
	}
	return nil
}

// signed finds the artifact that a name of a registry stands for, and returns its name by its digest when a signature of it holds. So what is fetched afterwards is what was
// signed, whatever the name stands for by then.
func (u *updater) signed(ctx context.Context, ref string) (string, error) {
	ev := progress.Event{ID: "verify " + ref, Name: "verify who signed " + ref}
	u.sink.Emit(ev)
	r, err := u.e.VerifyImage(ctx, registryWord(ref), *u.signers, VerifyImageOptions{}, u.sink)
	if err == nil {
		err = r.Err()
	}
	if ev.State, ev.Err = progress.Done, err; err != nil {
		ev.State = progress.Failed
	}
	u.sink.Emit(ev)
	if err != nil {
		return "", err
	}
	return r.Reference, nil
}
