package peers

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
)

// SSH is a server of OpenSSH of our own.
type SSH struct {
	// Host is 127.0.0.1:PORT, Config a configuration with which ssh gets in.
	Host, Config string
	// Key is the public key that is let in, Keys the file that says so.
	Key, Keys string
}

// StartSSH starts a server of OpenSSH that gives environment, words like A=B, to what is executed, and stops it at the end of the test.
func (p *Peers) StartSSH(environment ...string) SSH {
	p.t.Helper()
	// It wants to be called by its whole path.
	program, err := exec.LookPath("sshd")
	if err != nil {
		p.t.Skip("sshd is not installed")
	}
	// A package makes it when the machine starts.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		p.t.Fatal(err)
	}
	for _, name := range []string{"key", "hostkey"} {
		p.Run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", p.Path(name))
	}
	s := SSH{Host: p.freeAddress(), Config: p.Path("ssh.conf"), Key: p.read("key.pub"), Keys: p.Path("authorized_keys")}
	address, port, err := net.SplitHostPort(s.Host)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Write("authorized_keys", s.Key+"\n")
	p.Write("known_hosts", "["+address+"]:"+port+" "+p.read("hostkey.pub")+"\n")
	// SHLVL keeps bash from reading the files of the user who runs the tests.
	p.Write("sshd.conf", fmt.Sprintf("ListenAddress %s\nPort %s\nHostKey %s\nAuthorizedKeysFile %s\nPidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\nSetEnv SHLVL=1 %s\n",
		address, port, p.Path("hostkey"), s.Keys, strings.Join(environment, " ")))
	p.Write("ssh.conf", fmt.Sprintf("Host *\n IdentityFile %s\n IdentitiesOnly yes\n IdentityAgent none\n BatchMode yes\n UserKnownHostsFile %s\n GlobalKnownHostsFile /dev/null\n StrictHostKeyChecking yes\n",
		p.Path("key"), p.Path("known_hosts")))
	p.startAs("sshd", "", listens(s.Host), program, "-D", "-e", "-f", p.Path("sshd.conf"))
	return s
}

// read reads a file of the peers' directory, without the last newline.
func (p *Peers) read(name string) string {
	p.t.Helper()
	text, err := os.ReadFile(p.Path(name))
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
