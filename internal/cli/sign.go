package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// signFlags are the flags of sign and attest.
type signFlags struct {
	o        engine.SignOptions
	password string
	how      string
}

func (s *signFlags) add(f *pflag.FlagSet) {
	s.addKey(f, "key")
	f.BoolVarP(&s.o.Recursive, "recursive", "r", false, "the manifests of an index, too")
	f.StringVar(&s.o.Platform, "platform", "", "os/arch[/variant] of an image for several, instead of its index")
	f.StringVar(&s.how, "format", "", "json or a Go `template`, for each signature")
}

// addKey adds those that say what signs; key is the name of the one for a key.
func (s *signFlags) addKey(f *pflag.FlagSet, key string) {
	by := &s.o.By
	f.StringVar(&by.Key, key, "", "private key: a `file`, or NAME://KEY for the program sigstore-kms-NAME")
	f.StringVar(&s.password, "password-file", "", "`file` with the key's password; otherwise CAMADA_PASSWORD or COSIGN_PASSWORD, or it is asked for")
	f.StringVar(&by.Certificate, "certificate", "", "`file` with the certificate of the key, in PEM")
	f.StringVar(&by.Chain, "certificate-chain", "", "`file` with the certificates that lead from it to an authority, in PEM")
	f.StringVar(&by.IdentityToken, "identity-token", "", "without a key: `file` with an identity token, or env:NAME; otherwise what the CI system offers")
	f.StringVar(&by.Fulcio, "fulcio-url", "", "`address` of the authority that gives a certificate for the token")
	f.StringVar(&by.Rekor, "rekor-url", "", "`address` of a transparency log that is told of the signature")
	f.IntVar(&by.RekorVersion, "rekor-version", 1, "`version` of the API of that log: 1 or 2")
	f.StringVar(&by.Clock, "timestamp-server-url", "", "`address` of a time stamping authority (RFC 3161)")
}

func (a *app) signCommand() *cobra.Command {
	var s signFlags
	cmd := &cobra.Command{
		Use: "sign [OPTIONS] IMAGE", Short: "Sign an image",
		Long: `Sign an image by its digest, with a key, with a certificate, or with an identity token for which an authority gives one ("keyless"). The signature is a sigstore
bundle beside the image, which cosign verifies as well; it never changes the image.

IMAGE is one of the store, where the signature stays with it and goes along with "camada push"; else it is signed in its registry. docker://NAME is
always the registry's, oci:DIR[:NAME] that of a layout. An identity token is never taken from the command line, where others could read it.`,
		Example: `  camada key generate                                  # camada.key and camada.pub
  camada sign --key camada.key app
  camada sign --key awskms:///alias/release docker://ghcr.io/o/app:1
  camada sign --key k.pem --certificate k.crt --certificate-chain ca.pem --timestamp-server-url https://tsa.example.com app
  camada sign --fulcio-url https://fulcio.sigstore.dev --rekor-url https://rekor.sigstore.dev ghcr.io/o/app@sha256:...`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.o.Image = args[0]
			return a.sign(cmd.Context(), &s)
		},
	}
	s.add(cmd.Flags())
	return cmd
}

func (a *app) attestCommand() *cobra.Command {
	var s signFlags
	var predicate, provenance string
	cmd := &cobra.Command{
		Use: "attest [OPTIONS] IMAGE", Short: "Sign a statement about an image: provenance, SBOM, VEX, any other",
		Long: `Sign an in-toto statement about an image and attach it. --predicate is what it says, in JSON, and --type which kind that is: slsaprovenance, slsaprovenance02, spdx, cyclonedx,
link, vuln, openvex, custom, or a URI. --provenance signs what the build of this store that made the image said of it ("camada build --provenance"): never what came along with an image.

"camada verify --attestation TYPE" and "cosign verify-attestation" verify it.`,
		Example: `  camada build --provenance -t app . && camada attest --key camada.key --provenance app
  camada attest --key camada.key --provenance=k3v7w2m5qd app    # of this build; "camada builds" lists them
  camada sbom --format cyclonedx app | camada attest --key camada.key --type cyclonedx --predicate - app
  camada attest --key camada.key --type https://example.com/review/v1 --predicate review.json app`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.o.Image = args[0]
			var err error
			if s.o.Provenance, err = boolAttr("", provenance); err != nil {
				s.o.Provenance, s.o.Build = true, provenance
			}
			if s.o.Provenance == (predicate != "") || s.o.Provenance && s.o.Type != "" {
				return usage(cmd, "want --provenance, or --predicate with --type")
			}
			if s.o.Provenance {
				return a.sign(cmd.Context(), &s)
			}
			if s.o.Type == "" {
				return usage(cmd, "--predicate needs --type")
			}
			if s.o.Predicate, err = a.predicate(predicate); err != nil {
				return err
			}
			return a.sign(cmd.Context(), &s)
		},
	}
	f := cmd.Flags()
	s.add(f)
	f.StringVar(&predicate, "predicate", "", "`file` with what is said, in JSON; - is standard input")
	f.StringVar(&s.o.Type, "type", "", "`type` of the predicate: a short name or a URI")
	f.StringVar(&provenance, "provenance", "false", "sign how the image was built: true, or the ID of a `build`")
	f.Lookup("provenance").NoOptDefVal = "true"
	return cmd
}

// maxPredicate bounds a predicate, in bytes: with base64 it fits into a bundle.
const maxPredicate = 32 << 20

// predicate reads the file of a predicate.
func (a *app) predicate(path string) ([]byte, error) {
	in := io.Reader(a.stdin)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read the predicate: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxPredicate+1))
	if err != nil {
		return nil, fmt.Errorf("read the predicate: %w", err)
	}
	if len(data) > maxPredicate {
		return nil, errdefs.Limit("the predicate has more than %d bytes", maxPredicate)
	}
	return data, nil
}

func (a *app) sign(ctx context.Context, s *signFlags) error {
	s.o.By.Password = a.keyPassword(s.password, false)
	return a.with(ctx, func(e *engine.Engine) error {
		d, err := a.display("auto")
		if err != nil {
			return err
		}
		list, err := e.Sign(ctx, s.o, d)
		if err := errors.Join(err, d.Close()); err != nil {
			return err
		}
		for _, one := range list {
			if s.how == "" {
				fmt.Fprintln(a.stdout, one.Reference)
			} else if err := format.Show(a.stdout, s.how, one); err != nil {
				return err
			}
		}
		return nil
	})
}

// keyPassword provides the password of a key: that of a file, of the environment, or one that is asked for; with confirm twice.
func (a *app) keyPassword(file string, confirm bool) func() ([]byte, error) {
	return func() ([]byte, error) {
		if file != "" {
			data, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("read the password: %w", err)
			}
			return bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r")), nil
		}
		for _, name := range []string{"CAMADA_PASSWORD", "COSIGN_PASSWORD"} {
			if v, ok := os.LookupEnv(name); ok {
				return []byte(v), nil
			}
		}
		if !isTerminal(a.stdin) {
			return nil, errdefs.Invalid("the key has a password: set CAMADA_PASSWORD, or give --password-file")
		}
		pass, err := a.askPassword("Password of the key: ")
		if err != nil || !confirm {
			return pass, err
		}
		again, err := a.askPassword("The same again: ")
		if err == nil && !bytes.Equal(pass, again) {
			err = errdefs.Invalid("the two are not the same")
		}
		return pass, err
	}
}

func (a *app) askPassword(prompt string) ([]byte, error) {
	fmt.Fprint(a.stderr, prompt)
	pass, err := term.ReadPassword(int(a.stdin.Fd()))
	fmt.Fprintln(a.stderr)
	if err != nil {
		return nil, fmt.Errorf("read the password: %w", err)
	}
	return pass, nil
}
