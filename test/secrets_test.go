package test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crypto/rand"

	"github.com/camada/camada/archive/compression"
)

// The parts of Dockerfiles with secrets. They prove by a digest that the step has got the secret, and then end as they are told to.
const (
	secretSteps = `FROM scratch AS base
COPY rootfs /
FROM base
ARG FILE_SUM ENV_SUM END=true
RUN --mount=type=secret,id=file,required --mount=type=secret,id=env,env=FROM_ENV,target=/etc/from-env --mount=type=ssh,required <<EOF
set -e
[ "$(sha256sum < /run/secrets/file | cut -d' ' -f1)" = "$FILE_SUM" ]
[ "$(printf %s "$FROM_ENV" | sha256sum | cut -d' ' -f1)" = "$ENV_SUM" ]
[ "$(sha256sum < /etc/from-env | cut -d' ' -f1)" = "$ENV_SUM" ]
[ -S "$SSH_AUTH_SOCK" ]
touch /was-here
$END
EOF
RUN test -e /was-here && ! test -e /run/secrets && ! test -e /etc/from-env
`
	leakSteps = "FROM scratch\nCOPY rootfs /\nRUN --mount=type=secret,id=file cp /run/secrets/file /leaked\n"
)

// TestSecrets builds with secrets and agents, well and with failures, and searches everything that is left for them.
func TestSecrets(t *testing.T) {
	asUser(t, place{subIDs: ranges}, func(u *user) {
		for _, who := range []*user{u, u.root()} {
			newSecretTest(who).all()
		}
	})
}

// TestSecretsOneID is the same for a user without ranges of ids.
func TestSecretsOneID(t *testing.T) {
	asUser(t, place{}, func(u *user) { newSecretTest(u).all() })
}

// secretTest is one user's builds.
type secretTest struct {
	*user
	store, ctx, secretDir         string
	file, env, keyFile, key, seed string
	// said is all that camada wrote.
	said bytes.Buffer
}

func hexSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func random() string { return "secret-" + strings.ToLower(rand.Text()) + rand.Text() }

func newSecretTest(u *user) *secretTest {
	t := &secretTest{user: u, file: random(), env: random()}
	t.store, t.secretDir = filepath.Join(u.home, "secrets-store"), filepath.Join(u.dir, fmt.Sprint("secret-", u.id))
	u.must(os.Mkdir(t.secretDir, 0o700))
	u.must(os.Chown(t.secretDir, int(u.id), int(u.id)))
	t.ctx = u.context(filepath.Join(u.dir, "ctx"), fmt.Sprint("secrets-", u.id), "Dockerfile", secretSteps, "leak", leakSteps)
	t.keyFile = filepath.Join(t.secretDir, "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", t.keyFile).CombinedOutput(); err != nil {
		u.t.Skipf("no key can be made with ssh-keygen: %v\n%s", err, out)
	}
	data, err := os.ReadFile(t.keyFile)
	u.must(err)
	t.key = string(data)
	// The private key is the 32 bytes before the public one.
	block, _ := pem.Decode(data)
	public, err := os.ReadFile(t.keyFile + ".pub")
	u.must(err)
	wire, err := base64.StdEncoding.DecodeString(strings.Fields(string(public))[1])
	u.must(err)
	end := bytes.LastIndex(block.Bytes, wire[len(wire)-32:])
	t.seed = string(block.Bytes[end-32 : end])
	u.must(os.WriteFile(filepath.Join(t.secretDir, "file"), []byte(t.file), 0o600))
	for _, name := range []string{"key", "file"} {
		u.must(os.Chown(filepath.Join(t.secretDir, name), int(u.id), int(u.id)))
	}
	return t
}

// all are the builds, and the search after them.
func (t *secretTest) all() {
	key := "default=" + t.keyFile
	t.build(0, key)
	t.build(0, key, "--build-arg", "END=true #again", "--no-cache", "--progress", "rawjson", "--metadata-file", filepath.Join(t.ctx, "meta"), "--iidfile", filepath.Join(t.ctx, "iid"))
	t.build(0, key, "--provenance=mode=max", "--sbom", "--explain")
	t.build(1, key, "--build-arg", "END=exit 7", "--explain")
	t.build(1, key, "--build-arg", "END=exec /nothing", "--progress", "tty")
	t.build(1, key, "--build-arg", "FILE_SUM=wrong")
	t.build(1, key, "--secret", "id=file,src="+filepath.Join(t.secretDir, "nothing"))
	if agent, stop := t.agent(); agent != "" {
		t.build(0, "default="+agent, "--build-arg", "END=true #agent")
		stop()
	}
	for _, signal := range []os.Signal{os.Kill, os.Interrupt} {
		t.interrupt(key, signal)
	}
	for _, args := range [][]string{{"history", "app"}, {"log", "app"}, {"inspect", "app"}, {"df"}, {"gc"}, {"explain"}, {"fsck"}} {
		t.run(args...)
	}
	if found := t.search(); len(found) > 0 {
		t.t.Errorf("user %d: found in %q", t.id, found)
	}
	// The search finds what is there: in a layer, which is compressed.
	r := t.run("build", "-t", "leak", "-f", filepath.Join(t.ctx, "leak"), "--secret", "id=file,src="+filepath.Join(t.secretDir, "file"), t.ctx)
	if found := t.search(); len(found) == 0 || r.code != 0 {
		t.t.Errorf("a leaked secret is not found: %v", r)
	}
	t.run("system", "reset", "-f")
}

func (t *secretTest) command(args ...string) *exec.Cmd {
	cmd := t.user.command(append([]string{"--root", t.store}, args...)...)
	cmd.Env = append(cmd.Env, "SECRET_VARIABLE="+t.env)
	return cmd
}

func (t *secretTest) run(args ...string) result {
	t.t.Helper()
	var out bytes.Buffer
	cmd := t.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.t.Fatalf("camada %q: %v\n%s", args, err, &out)
	}
	t.said.Write(out.Bytes())
	return result{args: args, out: out.String(), code: cmd.ProcessState.ExitCode()}
}

func (t *secretTest) buildArgs(ssh string, more ...string) []string {
	args := []string{"build", "-t", "app", "--network", "none", "--secret", "id=file,src=" + filepath.Join(t.secretDir, "file"), "--secret", "id=env,env=SECRET_VARIABLE",
		"--ssh", ssh, "--build-arg", "FILE_SUM=" + hexSum(t.file), "--build-arg", "ENV_SUM=" + hexSum(t.env)}
	return append(append(args, more...), t.ctx)
}

func (t *secretTest) build(code int, ssh string, more ...string) {
	t.t.Helper()
	if r := t.run(t.buildArgs(ssh, more...)...); r.code != code {
		t.t.Errorf("%v, want exit code %d", r, code)
	}
}

// agent starts an agent with the key; "" when there is none here.
func (t *secretTest) agent() (socket string, stop func()) {
	socket = filepath.Join(t.secretDir, "agent")
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	cmd.SysProcAttr = t.user.command().SysProcAttr
	if err := cmd.Start(); err != nil {
		return "", nil
	}
	stop = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	for range 100 {
		add := exec.Command("ssh-add", "-q", t.keyFile)
		add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
		add.SysProcAttr = cmd.SysProcAttr
		if add.Run() == nil {
			return socket, stop
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	return "", nil
}

// interrupt ends a build in the middle of the step that has the secrets, after a look at the processes.
func (t *secretTest) interrupt(ssh string, signal os.Signal) {
	t.t.Helper()
	var out bytes.Buffer
	cmd := t.command(t.buildArgs(ssh, "--build-arg", "END=exec sleep 87654")...)
	cmd.Stdout, cmd.Stderr = &out, &out
	t.must(cmd.Start())
	for range 600 {
		if running("sleep\x0087654\x00") {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if !running("sleep\x0087654\x00") {
		t.t.Errorf("the step does not run: %s", &out)
	}
	if found := t.searchProcesses(); len(found) > 0 {
		t.t.Errorf("user %d: found in %q", t.id, found)
	}
	t.must(cmd.Process.Signal(signal))
	_ = cmd.Wait()
	for range 200 {
		if !running("sleep\x0087654\x00") {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if running("sleep\x0087654\x00") {
		t.t.Errorf("%s: the step goes on", signal)
	}
	t.said.Write(out.Bytes())
}

// running tells whether a process with these arguments runs.
func running(cmdline string) bool {
	list, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range list {
		if b, err := os.ReadFile(f); err == nil && string(b) == cmdline {
			return true
		}
	}
	return false
}

// searchProcesses looks at the arguments of all processes, and at the environment of camada's own.
func (t *secretTest) searchProcesses() (found []string) {
	own := 0
	list, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range list {
		names := []string{"cmdline"}
		if exe, err := os.Readlink(dir + "/exe"); err == nil && strings.HasPrefix(filepath.Base(exe), "camada") {
			names = append(names, "environ")
			own++
		}
		for _, name := range names {
			if b, err := os.ReadFile(dir + "/" + name); err == nil && t.has(b) {
				found = append(found, dir+"/"+name)
			}
		}
	}
	if own == 0 {
		t.t.Error("no process of camada was found")
	}
	return found
}

// search looks into all files of the store and of temporary directories, as they are and decompressed, and into what camada said.
func (t *secretTest) search() (found []string) {
	if t.has(t.said.Bytes()) {
		found = append(found, "what camada wrote")
	}
	for _, top := range []string{t.store, t.home, t.temp, t.ctx, "/run", "/dev/shm"} {
		err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) || err == nil && !d.Type().IsRegular() {
				return nil
			}
			if err != nil {
				return err
			}
			data, err := os.ReadFile(name)
			if errors.Is(err, fs.ErrNotExist) || top == "/run" && err != nil {
				return nil //nolint:nilerr // it vanished, or is a socket
			}
			if err != nil {
				return err
			}
			if t.has(data) || t.has([]byte(name)) {
				found = append(found, name)
			} else if r, err := compression.NewReader(bytes.NewReader(data), compression.Limits{}); err == nil {
				if data, err := io.ReadAll(r); err == nil && t.has(data) {
					found = append(found, name+" (decompressed)")
				}
				r.Close()
			}
			return nil
		})
		t.must(err)
	}
	return found
}

// has looks for the secrets, as they are and in the usual encodings.
func (t *secretTest) has(data []byte) bool {
	for _, s := range []string{t.file, t.env, t.seed, strings.Split(t.key, "\n")[4]} {
		for _, form := range []string{s, hex.EncodeToString([]byte(s)), base64.StdEncoding.EncodeToString([]byte(s)), base64.URLEncoding.EncodeToString([]byte(s))} {
			if bytes.Contains(data, []byte(strings.TrimRight(form, "="))) {
				return true
			}
		}
	}
	return false
}
