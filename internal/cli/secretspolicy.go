package cli

import (
	"fmt"
	"os"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/spf13/pflag"
)

// The variables that stand for --secrets and --secrets-allow.
const (
	secretsEnv      = "CAMADA_SECRETS"
	secretsAllowEnv = "CAMADA_SECRETS_ALLOW"
)

// secretsPolicy are the flags of verbs that make or send images.
type secretsPolicy struct{ mode, allow string }

func (p *secretsPolicy) addFlags(f *pflag.FlagSet) {
	f.StringVar(&p.mode, "secrets", os.Getenv(secretsEnv), "what becomes of secrets that would be in the image: `mode` is block, warn or off; without it there are warnings of what the Dockerfile says and of layers that were looked at before ("+secretsEnv+")")
	f.StringVar(&p.allow, "secrets-allow", os.Getenv(secretsAllowEnv), "accept the secrets that this `file` lists, as camada secrets --allow does ("+secretsAllowEnv+")")
}

// policy reads the flags. An error does not repeat the mode: who mistook --secrets for --secret may have given one.
func (p *secretsPolicy) policy() (engine.SecretsPolicy, error) {
	out := engine.SecretsPolicy{Mode: p.mode, AllowName: p.allow}
	switch p.mode {
	case "", engine.SecretsBlock, engine.SecretsWarn, engine.SecretsOff:
	default:
		return out, &exitError{code: codeUsage, err: errdefs.Invalid("--secrets: want block, warn or off; a secret for RUN steps is given with --secret")}
	}
	if p.allow == "" || p.mode == engine.SecretsOff {
		return out, nil
	}
	var err error
	if out.Allow, err = readSmall(p.allow); err != nil {
		return out, fmt.Errorf("read the allow-list: %w", err)
	}
	return out, nil
}
