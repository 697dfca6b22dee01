package cli

import (
	"crypto"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/sign/keys"
	"github.com/spf13/cobra"
)

func (a *app) keyCommand() *cobra.Command {
	cmd := a.group("key", "Make keys to sign with", a.keyGenerateCommand(), a.keyImportCommand(), a.keyPublicCommand())
	cmd.Long = `Make keys to sign with: files in cosign's form. The private one is encrypted with a password, which is taken from --password-file, CAMADA_PASSWORD or COSIGN_PASSWORD, or asked
for. cosign reads them, and camada reads cosign's.`
	return cmd
}

func (a *app) keyGenerateCommand() *cobra.Command {
	var kind, password string
	cmd := &cobra.Command{
		Use: "generate [OPTIONS] [PREFIX]", Short: "Make a pair of keys: PREFIX.key and PREFIX.pub",
		Example: `  camada key generate
  CAMADA_PASSWORD= camada key generate --kind ed25519 release`,
		Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := keys.Generate(kind)
			if err != nil {
				return err
			}
			return a.writeKey(key, append(args, "camada")[0], password)
		},
	}
	cmd.Flags().StringVar(&kind, "kind", keys.P256, "`kind` of the key: "+strings.Join(keys.Kinds(), ", "))
	cmd.Flags().StringVar(&password, "password-file", "", "`file` with the password")
	return cmd
}

func (a *app) keyImportCommand() *cobra.Command {
	var password string
	cmd := &cobra.Command{
		Use: "import [OPTIONS] FILE [PREFIX]", Short: "Encrypt a private key in PEM as PREFIX.key, with PREFIX.pub",
		Example: `  openssl ecparam -name prime256v1 -genkey -noout -out plain.pem && camada key import plain.pem release`,
		Args:    args(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := keys.Open(cmd.Context(), args[0], a.keyPassword("", false))
			if err != nil {
				return err
			}
			key, ok := keys.Private(s)
			if !ok {
				return errdefs.Unsupported("%s is not here to be taken", args[0])
			}
			return a.writeKey(key, append(args, "camada")[1], password)
		},
	}
	cmd.Flags().StringVar(&password, "password-file", "", "`file` with the new password")
	return cmd
}

func (a *app) keyPublicCommand() *cobra.Command {
	var password string
	cmd := &cobra.Command{
		Use: "public [OPTIONS] KEY", Short: "Print the public key of a private one, in PEM",
		Example: `  camada key public camada.key
  camada key public awskms:///alias/release > release.pub`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := keys.Open(cmd.Context(), args[0], a.keyPassword(password, false))
			if err != nil {
				return err
			}
			_, err = a.stdout.Write(s.Public().PEM())
			return err
		},
	}
	cmd.Flags().StringVar(&password, "password-file", "", "`file` with the password")
	return cmd
}

// writeKey writes both files of a key, neither of which may be there.
func (a *app) writeKey(key crypto.Signer, prefix, password string) error {
	s, err := keys.New(key)
	if err != nil {
		return err
	}
	pass, err := a.keyPassword(password, true)()
	if err != nil {
		return err
	}
	data, err := keys.Encode(key, pass)
	if err != nil {
		return err
	}
	if err := createKeyFile(prefix+".key", data, 0o600); err != nil {
		return err
	}
	if err := createKeyFile(prefix+".pub", s.Public().PEM(), 0o644); err != nil {
		return errors.Join(err, os.Remove(prefix+".key"))
	}
	fmt.Fprintf(a.stdout, "%s.key\n%s.pub\n", prefix, prefix)
	return nil
}

// createKeyFile writes a file that is not there yet: a key that is lost is lost.
func createKeyFile(name string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if os.IsExist(err) {
		return errdefs.AlreadyExists("%s is there already; keys are not overwritten", name)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), os.Remove(name))
	}
	return nil
}
