package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/cli/format"
	"github.com/camada/camada/sign"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// signerFlags are the flags that say whose signatures count.
type signerFlags struct {
	engine.SignerOptions
	identity sign.Identity
	// key is the name of the flag for keys.
	key string
}

func (s *signerFlags) add(f *pflag.FlagSet) {
	s.addSigners(f, "key")
	f.StringVar(&s.Attestation, "attestation", "", "an attestation of this `type` in place of a signature: slsaprovenance, spdx, cyclonedx, vuln, openvex, custom, or a URI")
}

// addSigners adds those that name signers; key is the name of the one for keys.
func (s *signerFlags) addSigners(f *pflag.FlagSet, key string) {
	s.key = key
	listFlag(f, &s.Keys, key, "", "public key, or a certificate's: a `file`, or NAME://KEY for the program sigstore-kms-NAME; may be given again, any of them will do")
	f.StringVar(&s.identity.Subject, "certificate-identity", "", "`name` of the certificate's owner: an address of mail, or the URI of a workflow")
	f.StringVar(&s.identity.SubjectRegexp, "certificate-identity-regexp", "", "regular `expression` that matches it; write ^ and $ for the whole of it")
	f.StringVar(&s.identity.Issuer, "certificate-oidc-issuer", "", "`address` of the identity provider by whose word it is")
	f.StringVar(&s.identity.IssuerRegexp, "certificate-oidc-issuer-regexp", "", "regular `expression` that matches it")
	f.StringVar(&s.TrustedRoot, "trusted-root", "", "`file` trusted_root.json: authorities, logs and clocks to believe")
	listFlag(f, &s.Chains, "certificate-chain", "", "`file` with the certificates of an authority of one's own, in PEM, its root last; may be given again")
	listFlag(f, &s.Clocks, "timestamp-certificate-chain", "", "`file` with the certificates of a time stamping authority, in PEM, its root last; may be given again")
	listFlag(f, &s.NotationTrust, "notation-trust", "", "`file` or directory with certificates that notation's signatures must lead to (its trust store ca); may be given again")
	listFlag(f, &s.NotationServices, "notation-trust-service", "", "the `same` for signing services (its trust store signingAuthority); may be given again")
	listFlag(f, &s.NotationSubjects, "notation-subject", "", "distinguished `name` of who must have signed with notation; may be given again, any of them will do")
	f.BoolVar(&s.Log, "require-log", false, "a key's signature must be in a transparency log of the trusted root, too")
	f.BoolVar(&s.IgnoreLog, "insecure-ignore-tlog", false, "a certificate's signature need not be in a transparency log")
	f.BoolVar(&s.IgnoreSCT, "insecure-ignore-sct", false, "a certificate need not be in a log of certificates")
}

// options checks what belongs together.
func (s *signerFlags) options(cmd *cobra.Command) (engine.SignerOptions, error) {
	o := s.SignerOptions
	id := s.identity
	if id == (sign.Identity{}) {
		if len(o.Keys) == 0 && len(o.NotationTrust) == 0 && len(o.NotationServices) == 0 {
			return o, usage(cmd, "whose signature? Want --%s, --certificate-identity or --notation-trust", s.key)
		}
		return o, nil
	}
	switch {
	case id.Subject == "" && id.SubjectRegexp == "":
		return o, usage(cmd, "--certificate-oidc-issuer needs --certificate-identity, or --certificate-identity-regexp")
	case o.TrustedRoot != "" && id.Issuer == "" && id.IssuerRegexp == "":
		return o, usage(cmd, "--certificate-identity needs --certificate-oidc-issuer: other providers know somebody of that name, too")
	case o.TrustedRoot == "" && len(o.Chains) == 0:
		return o, usage(cmd, "--certificate-identity needs --trusted-root FILE, or --certificate-chain for an authority of one's own")
	}
	o.Identities = []sign.Identity{id}
	return o, nil
}

func (a *app) verifyCommand() *cobra.Command {
	var s signerFlags
	var o engine.VerifyImageOptions
	var how string
	cmd := &cobra.Command{
		Use: "verify [OPTIONS] IMAGE", Short: "Verify who signed an image",
		Long: `Look at the signatures of an image, tell which hold and why others do not, and print the image by its digest when one holds. Bundles of sigstore (cosign 3, camada sign), what cosign
wrote before, and envelopes of notation are verified. Logs and times are verified from what came with the signature; nobody is asked.

IMAGE is as for "camada sign". The exit code is 0 when a signature holds, 1 when none does or there is none, and 4 when that cannot be known, as a registry does not
answer, or lets nobody in. ("camada build --verify" is something else: it builds twice, and compares.)`,
		Example: `  camada verify --key camada.pub app
  camada run "$(camada verify --key camada.pub ghcr.io/o/app:1)"
  camada verify --trusted-root trusted_root.json --certificate-oidc-issuer https://token.actions.githubusercontent.com \
    --certificate-identity-regexp '^https://github.com/o/app/' ghcr.io/o/app:1
  camada verify --certificate-chain ca.pem --certificate-identity release@example.com app
  camada verify --key camada.pub --attestation slsaprovenance --format '{{range .Verified}}{{json .Statement.Predicate}}{{end}}' app
  camada verify --notation-trust ~/.config/notation/truststore/x509/ca/acme ghcr.io/o/app:1`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			signers, err := s.options(cmd)
			if err != nil {
				return err
			}
			return a.verifyImage(cmd.Context(), args[0], signers, o, how)
		},
	}
	f := cmd.Flags()
	s.add(f)
	f.BoolVarP(&o.Recursive, "recursive", "r", false, "the manifests of an index must be signed, too")
	f.BoolVar(&o.Remote, "remote", false, "take the signatures from the registry, when the image itself is in the store")
	f.StringVar(&o.Platform, "platform", "", "os/arch[/variant] of an image for several, instead of its index")
	f.StringVar(&how, "format", "", "json or a Go `template`")
	return cmd
}

func (a *app) verifyImage(ctx context.Context, name string, signers engine.SignerOptions, o engine.VerifyImageOptions, how string) error {
	return a.with(ctx, func(e *engine.Engine) error {
		req, err := engine.SignRequirements(ctx, signers)
		if err != nil {
			return err
		}
		d, err := a.display("auto")
		if err != nil {
			return err
		}
		r, err := e.VerifyImage(ctx, name, req, o, d)
		if err := errors.Join(err, d.Close()); err != nil {
			if errdefs.IsUnavailable(err) || errdefs.IsPermission(err) { // nobody knows what a registry has that lets nobody in
				return &exitError{code: codeUnknown, err: err}
			}
			return err
		}
		if how != "" {
			err = format.Show(a.stdout, how, r)
		} else {
			a.tellSignatures(r)
			if r.Err() == nil {
				fmt.Fprintln(a.stdout, r.Reference)
			}
		}
		if refused := r.Err(); refused != nil {
			err = errors.Join(err, &exitError{code: codeFailed, err: refused})
		}
		return err
	})
}

// tellSignatures says on standard error what was found, so that standard output is the image alone.
func (a *app) tellSignatures(r *engine.ImageSignatures) {
	w := &lines{a.stderr}
	for _, v := range r.Verified {
		w.printf("holds    %s %s: %s\n", v.Format, short12(v.Signature.String()), whose(v))
	}
	for _, x := range r.Refused {
		w.printf("refused  %s %s: %s\n", x.Format, short12(x.Signature.String()), quoted(x.Reason))
	}
	if r.More > 0 {
		w.printf("%d more were not looked at\n", r.More)
	}
	for i := range r.Below {
		w.printf("%s:\n", r.Below[i].Reference)
		a.tellSignatures(&r.Below[i])
	}
}

func whose(v sign.Verified) string {
	var parts []string
	if v.Identity != "" {
		parts = append(parts, quoted(v.Identity))
		if v.Issuer != "" {
			parts = append(parts, "by the word of "+quoted(v.Issuer))
		}
	} else {
		parts = append(parts, "key "+v.KeyID[:12])
	}
	if !v.Time.IsZero() {
		parts = append(parts, "at "+v.Time.UTC().Format(time.RFC3339))
	}
	if v.Logged {
		parts = append(parts, "in a log")
	}
	return strings.Join(parts, ", ")
}

func short12(d string) string { return shortID(d, false) }
