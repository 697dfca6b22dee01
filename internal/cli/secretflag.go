package cli

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
)

// runSecretsValue is --secret of run; see secretsValue for what it hides.
type runSecretsValue []string

func (s *runSecretsValue) String() string { return strings.Join(*s, " ") }

func (s *runSecretsValue) Set(v string) error {
	if r, err := parseRunSecret(v); err == nil && r.Variable != "" { // a mistake is told later, without what was given
		hideVariable(r.Variable)
	}
	*s = append(*s, v)
	return nil
}

func (s *runSecretsValue) Type() string { return "secret" }

const secretForm = "want id=NAME[,src=FILE|env=VARIABLE][,type=file|env][,target=TARGET][,mode=0444][,uid=N][,gid=N]"

// parseRunSecret reads --secret of run: where the secret is, and what the container gets. Its errors have no value in them: who made a mistake may
// have given the secret itself.
func parseRunSecret(text string) (engine.RunSecret, error) {
	s := engine.RunSecret{Mode: 0o444}
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return s, errdefs.Invalid("--secret: %s", secretForm)
	}
	asEnv := false
	for i, field := range fields {
		k, v, ok := strings.Cut(field, "=")
		if !ok && i == 0 {
			k, v = "id", field
		} else if !ok {
			return s, errdefs.Invalid("--secret: a part is not KEY=VALUE; %s", secretForm)
		}
		switch strings.ToLower(k) {
		case "id":
			s.ID = v
		case "src", "source":
			s.File = v
		case "env":
			s.Variable = v
		case "type":
			if v != "file" && v != "mount" && v != "env" {
				return s, errdefs.Invalid("--secret: this type is not known; want file or env")
			}
			asEnv = v == "env"
		case "target", "dst":
			s.Target = v
		case "mode":
			n, err := strconv.ParseUint(v, 8, 9)
			if err != nil {
				return s, errdefs.Invalid("--secret: mode: want an octal number up to 777")
			}
			s.Mode = os.FileMode(n)
		case "uid", "gid":
			n, err := strconv.ParseUint(v, 10, 31)
			if err != nil {
				return s, errdefs.Invalid("--secret: %s: want a number", k)
			}
			if k == "uid" {
				s.UID = int(n)
			} else {
				s.GID = int(n)
			}
		default:
			return s, errdefs.Invalid("--secret: a key is not known; %s", secretForm)
		}
	}
	return finishSecret(s, asEnv)
}

// finishSecret fills in what was not said.
func finishSecret(s engine.RunSecret, asEnv bool) (engine.RunSecret, error) {
	switch {
	case s.ID == "" || strings.ContainsAny(s.ID, "/\x00") || s.ID == "." || s.ID == "..":
		return s, errdefs.Invalid("--secret: id is missing, or is not a name; %s", secretForm)
	case s.File != "" && s.Variable != "":
		return s, errdefs.Invalid("--secret id=%s: src and env cannot both be given", s.ID)
	}
	if s.File == "" && s.Variable == "" { // the name alone is a variable, or else a file
		if _, ok := os.LookupEnv(s.ID); ok {
			s.Variable = s.ID
		} else {
			s.File = s.ID
		}
	}
	if asEnv {
		s.Env, s.Target = s.Target, ""
		if s.Env == "" {
			s.Env = s.ID
		}
		if strings.ContainsAny(s.Env, "= \x00") {
			return s, errdefs.Invalid("--secret id=%s: the target is no name of a variable", s.ID)
		}
	}
	if s.File != "" {
		var err error
		if s.File, err = filepath.Abs(s.File); err != nil {
			return s, errdefs.Invalid("--secret id=%s: %w", s.ID, err)
		}
	}
	return s, nil
}
