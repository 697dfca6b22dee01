package keys

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

const (
	// programPrefix is what the names of programs begin with that hold keys.
	programPrefix = "sigstore-kms-"
	// protocol is the version of what is spoken with them.
	protocol = "v1"
	// maxAnswer bounds an answer, in bytes, and programTime the time for one.
	maxAnswer   = 1 << 20
	programTime = 2 * time.Minute
)

// program is a key that a program sigstore-kms-NAME signs with (sigstore, pkg/signature/kms/cliplugin): the method and its arguments are JSON
// in the second argument, the message is on standard input, the answer is JSON on standard output. What it writes to standard error is shown.
type program struct {
	path, key string
	public    *Public
}

type initOptions struct {
	Deadline        *time.Time  `json:"ctxDeadline,omitempty"`
	ProtocolVersion string      `json:"protocolVersion"`
	KeyResourceID   string      `json:"keyResourceID"`
	HashFunc        crypto.Hash `json:"hashFunc"`
	RPCOptions      struct{}    `json:"rpcOptions"`
}

type publicKeyArgs struct {
	Options struct {
		RPCOptions struct{} `json:"rpcOptions"`
	} `json:"publicKeyOptions"`
}

type signArgs struct {
	Options struct {
		RPCOptions     struct{} `json:"rpcOptions"`
		MessageOptions struct {
			HashFunc crypto.Hash `json:"hashFunc"`
		} `json:"messageOptions"`
	} `json:"signOptions"`
}

type programCall struct {
	Init      initOptions    `json:"initOptions"`
	Method    string         `json:"methodName"`
	PublicKey *publicKeyArgs `json:"publicKey,omitempty"`
	Sign      *signArgs      `json:"signMessage,omitempty"`
}

type programAnswer struct {
	Error     string `json:"errorMessage"`
	PublicKey *struct {
		PEM []byte `json:"publicKeyPEM"`
	} `json:"publicKey"`
	Sign *struct {
		Signature []byte `json:"signature"`
	} `json:"signMessage"`
}

// openProgram finds the program of NAME://KEY and asks for the public key.
func openProgram(ctx context.Context, name string) (Signer, error) {
	scheme, key, _ := strings.Cut(name, "://")
	if scheme == "" || strings.ContainsFunc(scheme, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	}) {
		return nil, errdefs.Invalid("%.100q is no key: want a file, or NAME://KEY", name)
	}
	path, err := exec.LookPath(programPrefix + scheme)
	if err != nil {
		return nil, errdefs.NotFound("the key %s:// needs the program %s%s, which is not there: %w", scheme, programPrefix, scheme, err)
	}
	p := &program{path: path, key: key}
	answer, err := p.ask(ctx, programCall{Method: "publicKey", PublicKey: &publicKeyArgs{}}, nil)
	if err != nil {
		return nil, err
	}
	if answer.PublicKey == nil {
		return nil, errdefs.Corrupt("%s gave no public key", p.path)
	}
	if p.public, err = ParsePublic(answer.PublicKey.PEM); err != nil {
		return nil, fmt.Errorf("the key of %s: %w", p.path, err)
	}
	return p, nil
}

// Public implements Signer.
func (p *program) Public() *Public { return p.public }

// Sign implements Signer. The signature is verified, so that a program that signs otherwise is found out here.
func (p *program) Sign(ctx context.Context, message []byte) ([]byte, error) {
	args := &signArgs{}
	args.Options.MessageOptions.HashFunc = p.hash()
	answer, err := p.ask(ctx, programCall{Method: "signMessage", Sign: args}, message)
	if err != nil {
		return nil, err
	}
	if answer.Sign == nil {
		return nil, errdefs.Corrupt("%s gave no signature", p.path)
	}
	if err := p.public.Verify(message, answer.Sign.Signature); err != nil {
		return nil, errdefs.Corrupt("%s gave a signature that does not hold: %w", p.path, err)
	}
	return answer.Sign.Signature, nil
}

// hash is SHA-256 while the key is not known, as sigstore asks for.
func (p *program) hash() crypto.Hash {
	if p.public != nil && p.public.Hash() != 0 {
		return p.public.Hash()
	}
	return crypto.SHA256
}

func (p *program) ask(ctx context.Context, call programCall, message []byte) (programAnswer, error) {
	var answer programAnswer
	ctx, cancel := context.WithTimeout(ctx, programTime)
	defer cancel()
	deadline, _ := ctx.Deadline()
	call.Init = initOptions{Deadline: &deadline, ProtocolVersion: protocol, KeyResourceID: p.key, HashFunc: p.hash()}
	args, err := json.Marshal(call)
	if err != nil {
		return answer, err
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, p.path, protocol, string(args))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(message), &limited{w: &out, left: maxAnswer}, os.Stderr
	cmd.WaitDelay = time.Second
	runErr := cmd.Run()
	if err := ctx.Err(); err != nil {
		return answer, errdefs.Unavailable("%s did not answer: %w", p.path, err)
	}
	var exit *exec.ExitError
	if runErr != nil && !errors.As(runErr, &exit) {
		return answer, fmt.Errorf("run %s: %w", p.path, runErr)
	}
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
		return answer, errdefs.Corrupt("%s gave no answer that can be read (%v): %w", p.path, runErr, err)
	}
	if answer.Error != "" {
		return answer, errdefs.Permission("%s: %.1000s", p.path, answer.Error)
	}
	return answer, nil
}

// limited fails when more comes than was allowed.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errdefs.Limit("the answer has more than %d bytes", maxAnswer)
	}
	return l.w.Write(p)
}
