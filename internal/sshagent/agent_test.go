package sshagent

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
)

func tool(t *testing.T, env []string, stdin string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func must(t *testing.T, out string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// listen serves a over a socket until the test ends.
func listen(t *testing.T, a func() Answerer) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if err := Serve(c, a()); err != nil {
					t.Error(err)
				}
			}()
		}
	}()
	return name
}

// TestOpenSSH lets OpenSSH make keys in its formats and sign with them through the agent, directly and through another agent.
func TestOpenSSH(t *testing.T) {
	for _, name := range []string{"ssh-keygen", "ssh-add"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip(name + " is not installed")
		}
	}
	for _, kind := range [][]string{
		{"ed25519"}, {"rsa", "-b", "2048"}, {"ecdsa", "-b", "256"}, {"ecdsa", "-b", "384"}, {"ecdsa", "-b", "521"},
		{"rsa", "-b", "2048", "-m", "PEM"}, {"rsa", "-b", "2048", "-m", "PKCS8"}, {"ecdsa", "-m", "PEM"}, {"ecdsa", "-m", "PKCS8"},
	} {
		t.Run(strings.Join(kind, " "), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "key")
			out, err := tool(t, nil, "", "ssh-keygen", append([]string{"-q", "-N", "", "-C", "me", "-f", file, "-t"}, kind...)...)
			must(t, out, err)
			pem, err := os.ReadFile(file)
			must(t, "", err)
			key, err := ParseKey(pem)
			must(t, "", err)
			if err := os.Remove(file); err != nil { // what signs is the agent
				t.Fatal(err)
			}
			inner := listen(t, func() Answerer { return Keys{key} })
			outer := listen(t, func() Answerer {
				c, err := net.Dial("unix", inner)
				if err != nil {
					t.Error(err)
				}
				return Forward{c}
			})
			want, err := os.ReadFile(file + ".pub")
			must(t, "", err)
			for _, socket := range []string{inner, outer} {
				env := []string{"SSH_AUTH_SOCK=" + socket}
				out, err = tool(t, env, "", "ssh-add", "-L")
				must(t, out, err)
				if got := strings.Join(strings.Fields(out)[:2], " "); got != strings.Join(strings.Fields(string(want))[:2], " ") {
					t.Errorf("the agent has %s, want %s", got, want)
				}
				sig, err := tool(t, env, "text", "ssh-keygen", "-q", "-Y", "sign", "-n", "test", "-f", file+".pub")
				must(t, sig, err)
				sigFile := filepath.Join(t.TempDir(), "sig")
				if err := os.WriteFile(sigFile, []byte(sig), 0o600); err != nil {
					t.Fatal(err)
				}
				out, err = tool(t, nil, "text", "ssh-keygen", "-Y", "check-novalidate", "-n", "test", "-s", sigFile)
				must(t, out, err)
				if out, err := tool(t, nil, "other", "ssh-keygen", "-Y", "check-novalidate", "-n", "test", "-s", sigFile); err == nil {
					t.Errorf("another text has the same signature: %s", out)
				}
				for _, change := range [][]string{{"-D"}, {"-d", file + ".pub"}, {"-x"}} {
					if out, err := tool(t, env, "", "ssh-add", change...); err == nil {
						t.Errorf("ssh-add %s worked: %s", change, out)
					}
				}
			}
		})
	}
}

// TestPassphrase: a key with one is refused, and the error says what to do.
func TestPassphrase(t *testing.T) {
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("ssh-keygen is not installed")
	}
	for _, format := range []string{"RFC4716", "PEM", "PKCS8"} {
		file := filepath.Join(t.TempDir(), "key")
		out, err := tool(t, nil, "", "ssh-keygen", "-q", "-t", "ecdsa", "-m", format, "-N", "secret", "-f", file)
		must(t, out, err)
		pem, err := os.ReadFile(file)
		must(t, "", err)
		if _, err := ParseKey(pem); !errdefs.IsUnsupported(err) || !strings.Contains(err.Error(), "ssh-add") {
			t.Errorf("%s: got %v", format, err)
		}
	}
	if _, err := ParseKey([]byte("hello")); !errdefs.IsInvalid(err) {
		t.Errorf("no key: %v", err)
	}
}

// TestRefusals: what is no request to sign is answered with a failure, and a message that cannot be one ends the talk.
func TestRefusals(t *testing.T) {
	for in, want := range map[string]string{
		"":                      "",
		"\x00\x00\x00\x01\x0b":  "\x00\x00\x00\x05\x0c\x00\x00\x00\x00",
		"\x00\x00\x00\x01\x11":  "\x00\x00\x00\x01\x05", // add a key
		"\x00\x00\x00\x01\x1b":  "\x00\x00\x00\x01\x05", // an extension
		"\x00\x00\x00\x02\x0d!": "\x00\x00\x00\x01\x05", // half a sign request
	} {
		var out bytes.Buffer
		if err := Serve(stream{strings.NewReader(in), &out}, Keys{}); err != nil || out.String() != want {
			t.Errorf("%q: got %q, %v", in, out.String(), err)
		}
	}
	for _, in := range []string{"\x00\x00\x00\x00", "\xff\xff\xff\xff\x0b"} {
		if err := Serve(stream{strings.NewReader(in), &bytes.Buffer{}}, Keys{}); !errdefs.IsInvalid(err) {
			t.Errorf("%q: got %v", in, err)
		}
	}
}

type stream struct {
	*strings.Reader
	out *bytes.Buffer
}

func (s stream) Write(p []byte) (int, error) { return s.out.Write(p) }

func FuzzParseKey(f *testing.F) {
	f.Add([]byte("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAAA==\n-----END OPENSSH PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if k, err := ParseKey(data); err == nil {
			if _, err := k.sign([]byte("x"), flagSHA256); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzServe(f *testing.F) {
	f.Add("\x00\x00\x00\x01\x0b")
	f.Fuzz(func(_ *testing.T, in string) {
		_ = Serve(stream{strings.NewReader(in), &bytes.Buffer{}}, Keys{})
	})
}
