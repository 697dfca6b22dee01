package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/camada/camada/internal/peers"
)

// sshd is a server of OpenSSH that gives camada to who comes, and a camada that goes there.
type sshd struct {
	peers.SSH
	p *peers.Peers
	// begun is a file with a line for each ssh that was started.
	begun string
}

// startSSH starts a server where camada's data lies in the directory that is returned as the last one.
func startSSH(t *testing.T, bin string) (*sshd, string) {
	t.Helper()
	p := peers.Need(t, "sshd", "ssh", "ssh-keygen", "busybox")
	root := p.Path("there")
	s := &sshd{SSH: p.StartSSH("PATH="+filepath.Dir(bin)+":/usr/bin:/bin", "CAMADA_ROOT="+root), p: p, begun: p.Path("begun")}
	s.through(t, `exec ssh -F `+s.Config+` "$@"`)
	return s, filepath.Join(root, "registry")
}

// through makes camada start a script in place of ssh.
func (s *sshd) through(t *testing.T, script string) {
	t.Helper()
	path := s.p.Path("ssh.sh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho begun >> "+s.begun+"\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CAMADA_SSH", path)
}

// started is how often ssh was started since it was asked last.
func (s *sshd) started(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(s.begun)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(s.begun, 0); err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "begun")
}

// TestOverSSH ships images over a real ssh: nothing runs at the other end but what ssh starts, or a registry that is served to others.
func TestOverSSH(t *testing.T) {
	bin := shipped(t)
	s, data := startSSH(t, bin)
	dir := system(t, s.p.Path("ctx"))
	write(t, dir, "Dockerfile", cachedDockerfile)
	first := &ours{t: t, bin: bin, root: s.p.Path("first")}
	first.run("build", "-q", "-t", "team/app:1", dir)
	digest := strings.Fields(first.run("images", "--digests", "--format", "{{.Digest}}", "team/app:1"))[0]
	at := "ssh://root@" + s.Host + "/"
	for _, served := range []bool{false, true} {
		t.Run(fmt.Sprint("served ", served), func(t *testing.T) {
			if served {
				startServe(t, bin, data, "127.0.0.1:0")
			}
			first := first.in(t)
			first.run("push", "-q", at+"team/app:1")
			if n := s.started(t); n != 1 {
				t.Errorf("ssh was started %d times", n)
			}
			last := &ours{t: t, bin: bin, root: s.p.Path(fmt.Sprint("last", served))}
			if out := last.run("pull", "-q", at+"team/app:1"); out != "docker.io/team/app:1" {
				t.Errorf("pull says %q", out)
			}
			if out := last.run("run", "--rm", "--network", "none", "team/app:1"); out != "made\nran" {
				t.Errorf("the pulled image prints %q", out)
			}
			if n := s.started(t); n != 1 {
				t.Errorf("ssh was started %d times", n)
			}
			if !served {
				overSSH(t, last, at, digest)
				s.started(t)
			}
		})
	}
}

// overSSH looks at the verbs for registries.
func overSSH(t *testing.T, c *ours, at, digest string) {
	file := filepath.Join(t.TempDir(), "notes.txt")
	write(t, filepath.Dir(file), "notes.txt", "notes\n")
	t.Chdir(filepath.Dir(file))
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"tags", at + "team/app"}, "1"},
		{[]string{"search", at + "team", "--format", "{{.Name}}"}, at + "team/app"},
		{[]string{"manifest", "inspect", at + "team/app:1"}, "application/vnd.oci.image.manifest.v1+json"},
		{[]string{"copy", at + "team/app:1", at + "copies/app:2"}, "copies/app:2: digest: " + digest},
		{[]string{"copy", at + "copies/app:2", "oci:layout:2"}, "oci:layout:2: digest: " + digest},
		{[]string{"copy", "oci:layout:2", at + "copies/app:3"}, "copies/app:3: digest: " + digest},
		{[]string{"sync", at + "copies/app", "oci:mirror"}, "mirror:3"},
		{[]string{"push", "team/app:1", at + "others/name:5"}, "others/name:5: digest: " + digest},
		{[]string{"artifact", "push", at + "files:1", "notes.txt"}, ""},
		{[]string{"artifact", "attach", at + "team/app:1", "notes.txt", "--artifact-type", "application/notes"}, ""},
		{[]string{"artifact", "discover", at + "team/app:1"}, "application/notes"},
		{[]string{"pull", "--plan", at + "team/app:1"}, "would be fetched"},
		{[]string{"pull", "-q", at + "team/app@" + digest}, "docker.io/team/app@" + digest},
		{[]string{"log", at + "team/app:1", "--format", "{{.Verb}}"}, "push"},
		{[]string{"untag", at + "team/app:1"}, "Untagged: " + at + "team/app:1"},
		{[]string{"rollback", at + "team/app:1"}, at + "team/app:1 is " + digest + " again"},
		{[]string{"tags", at + "team/app"}, "1"},
	} {
		out, said, code := c.talk(tc.args...)
		if code != 0 || !strings.Contains(out, tc.want) {
			t.Errorf("camada %s: exit code %d: %s%s; want %q", strings.Join(tc.args, " "), code, out, said, tc.want)
		}
	}
	write(t, filepath.Dir(file), "notes.txt", "")
	c.run("artifact", "pull", at+"files:1", "-o", "there")
	if text, err := os.ReadFile("there/notes.txt"); err != nil || string(text) != "notes\n" {
		t.Errorf("the artifact has %q, %v", text, err)
	}
}

// TestOverSSHFails says what is wrong with an ssh, and goes on after one that broke.
func TestOverSSHFails(t *testing.T) {
	bin := shipped(t)
	peers.Need(t, "stdbuf")
	s, data := startSSH(t, bin)
	dir := system(t, s.p.Path("ctx"))
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY rootfs /\nRUN head -c 8000000 /dev/urandom > /random\nCMD [\"echo\", \"whole\"]\n")
	first := &ours{t: t, bin: bin, root: s.p.Path("first")}
	first.run("build", "-q", "-t", "app", dir)
	name := "ssh://" + s.Host + "/app"
	first.run("push", "-q", name)

	t.Run("broken", func(t *testing.T) {
		s.started(t)
		// The first ssh gives three million bytes, all others everything.
		s.through(t, `if test $(wc -l < `+s.begun+`) = 1; then ssh -F `+s.Config+` "$@" | stdbuf -o0 head -c 3000000; else exec ssh -F `+s.Config+` "$@"; fi`)
		last := &ours{t: t, bin: bin, root: s.p.Path("last")}
		last.run("pull", "-q", name)
		if out := last.run("run", "--rm", "--network", "none", "app"); out != "whole" {
			t.Errorf("it prints %q", out)
		}
		if n := s.started(t); n != 2 {
			t.Errorf("ssh was started %d times", n)
		}
	})
	t.Run("restricted key", func(t *testing.T) {
		s.through(t, `exec ssh -F `+s.Config+` "$@"`)
		other := filepath.Join(filepath.Dir(data), "other")
		s.p.Write("authorized_keys", `restrict,command="camada serve --stdio --data `+other+`" `+s.Key+"\n")
		defer s.p.Write("authorized_keys", s.Key+"\n")
		first := first.in(t)
		if _, said, code := first.talk("pull", name); code != 1 || !strings.Contains(said, "404") {
			t.Errorf("from a registry that has nothing: %d, %s", code, said)
		}
		first.run("push", "-q", name)
		if _, err := os.Stat(other); err != nil {
			t.Error(err)
		}
	})
	for _, tc := range []struct{ name, script, host, want string }{
		{"no such key", `exec ssh -F ` + s.Config + ` -o PubkeyAuthentication=no "$@"`, s.Host, "Permission denied"},
		{"unknown host", `exec ssh -F ` + s.Config + ` -o UserKnownHostsFile=/dev/null "$@"`, s.Host, "verification failed"},
		{"no camada there", `exec ssh -F ` + s.Config + ` 127.0.0.1 -p ` + s.Host[strings.LastIndexByte(s.Host, ':')+1:] + ` PATH=/none camada serve --stdio`, s.Host, "not in the PATH"},
		{"nobody there", `exec ssh -F ` + s.Config + ` "$@"`, "127.0.0.1:1", "Connection refused"},
		{"no ssh", `exit 127`, s.Host, "camada is not in the PATH"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.through(t, tc.script)
			_, said, code := first.in(t).talk("push", "ssh://"+tc.host+"/app")
			if code != 1 || !strings.Contains(said, tc.want) {
				t.Errorf("exit code %d: %s; want %q", code, said, tc.want)
			}
		})
	}
	if out := first.run("fsck"); !strings.Contains(out, "no problems") {
		t.Error(out)
	}
}

// TestOverSSHAsUser looks whether ssh is the user himself, with his keys, where camada is root of a user namespace.
func TestOverSSHAsUser(t *testing.T) {
	asUser(t, place{subIDs: ranges, alone: true}, func(u *user) {
		script := filepath.Join(u.home, "ssh.sh")
		u.must(os.WriteFile(script, []byte(`#!/bin/sh
id -un > "$HOME/who"; stat -c %U "$HOME" >> "$HOME/who"
exec env -i PATH="$PATH" HOME="$HOME" camada serve --stdio --data "$HOME/data"
`), 0o755))
		u.must(os.Chown(script, userID, userID))
		u.env = append(u.env, "CAMADA_SSH="+script)
		ctx := u.context(filepath.Join(u.dir, "ctx"), "ctx", "Dockerfile", "FROM scratch\nCOPY rootfs /\n")
		u.camada("build", "-q", "-t", "app", ctx)
		u.camada("push", "-q", "ssh://host/app")
		who, err := os.ReadFile(filepath.Join(u.home, "who"))
		u.must(err)
		if string(who) != userName+"\n"+userName+"\n" {
			u.t.Errorf("ssh is, and the user's home belongs to: %q", who)
		}
		info, err := os.Stat(filepath.Join(u.home, "data"))
		u.must(err)
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != userID {
			u.t.Errorf("what it writes belongs to %+v", info.Sys())
		}
		u.says("latest", "tags", "ssh://host/app")
	})
}
