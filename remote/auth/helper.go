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
	out, none, err := helper(ctx, name, "get", []byte(server))
	if err != nil || none {
		return remote.Credential{}, err
	}
	return parseAnswer("docker-credential-"+name, out)
}

// tell has the helper NAME store or erase something. It reports whether the helper had what it was told of.
func tell(ctx context.Context, name, verb string, input []byte) (bool, error) {
	_, none, err := helper(ctx, name, verb, input)
	return err == nil && !none, err
}

// helper runs the helper NAME. What it is told goes to its standard input, where no other process sees it; none says that it has no such
// credential. What it answers is in no error: that could be a secret.
func helper(ctx context.Context, name, verb string, input []byte) (answer []byte, none bool, err error) {
	if name == "" || strings.ContainsAny(name, "/\\\x00") {
		return nil, false, errdefs.Invalid("credential helper %.100q: not a name", name)
	}
	program := "docker-credential-" + name
	ctx, cancel := context.WithTimeout(ctx, helperTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, verb) //nolint:gosec // the user chose the program
	cmd.Stdin = bytes.NewReader(input)
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout = &limited{w: &out, n: maxAnswer}
	err = cmd.Run()
	if err != nil && verb != "store" && isNone(out.String()) {
		return nil, true, nil
	}
	if errors.Is(err, exec.ErrNotFound) {
		return nil, false, errdefs.NotFound("%s, which the configuration names, is not installed", program)
	}
	if err != nil {
		return nil, false, errdefs.Unavailable("%s %s: %w", program, verb, err)
	}
	return out.Bytes(), false, nil
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
