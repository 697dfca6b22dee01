package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/remote"
)

const (
	// helperTime bounds how long a helper may take: it may ask its user for something.
	helperTime = time.Minute
	// maxAnswer bounds what a helper writes, in bytes.
	maxAnswer = 1 << 20
	// tokenUser is the user name that stands for an identity token (docker-credential-helpers).
	tokenUser = "<token>"
)

// ask asks the helper NAME for the credential of a server. The zero Credential when it has none.
func ask(ctx context.Context, name, server string) (remote.Credential, error) {
	if name == "" || strings.ContainsAny(name, "/\\\x00") {
		return remote.Credential{}, errdefs.Invalid("credential helper %.100q: not a name", name)
	}
	program := "docker-credential-" + name
	ctx, cancel := context.WithTimeout(ctx, helperTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "get") //nolint:gosec // the user chose the program
	cmd.Stdin = strings.NewReader(server)
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout = &limited{w: &out, n: maxAnswer}
	err := cmd.Run()
	if err != nil && isNone(out.String()) {
		return remote.Credential{}, nil
	}
	if errors.Is(err, exec.ErrNotFound) {
		return remote.Credential{}, errdefs.NotFound("%s, which the configuration names, is not installed", program)
	}
	if err != nil {
		return remote.Credential{}, errdefs.Unavailable("%s get: %w", program, err)
	}
	return parseAnswer(program, out.Bytes())
}

// isNone reports whether what a helper says means that it has nothing.
func isNone(text string) bool {
	text = strings.TrimSpace(text)
	return text == "credentials not found in native keychain" || strings.Contains(text, "not found")
}

func parseAnswer(program string, data []byte) (remote.Credential, error) {
	var a struct{ Username, Secret string }
	if err := json.Unmarshal(data, &a); err != nil {
		return remote.Credential{}, errdefs.Invalid("%s get: its answer cannot be read", program)
	}
	if a.Username == tokenUser {
		return remote.Credential{IdentityToken: a.Secret}, nil
	}
	return remote.Credential{Username: a.Username, Password: a.Secret}, nil
}

// limited fails a writer that gets too much.
type limited struct {
	w io.Writer
	n int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.n -= len(p); l.n < 0 {
		return 0, errdefs.Limit("more than %d bytes", maxAnswer)
	}
	return l.w.Write(p)
}
