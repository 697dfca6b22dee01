package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestVerbsAsDocker runs the same scripts with docker and with camada, and compares exit codes, standard output, and what is left. The words of
// errors are each one's own: that they are there, and on standard error, is compared. In a script, "in" is a directory of files, and
// the current directory is empty. The daemon has no networks here: see TestNetworksAsDocker.
func TestVerbsAsDocker(t *testing.T) {
	c, p := withPeers(t, "dockerd", "docker")
	p.StartDocker()
	dir := system(t, p.Path("ctx"))
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY rootfs /\nENV PATH=/bin IN=image\nWORKDIR /srv\nLABEL a=1\nEXPOSE 81\nVOLUME /image\nCMD [\"sleep\", \"1000\"]\n")
	c.run("build", "-q", "-t", "img:1", dir)
	c.run("save", "-o", p.Path("img.tar"), "img:1")
	p.Run("docker", "load", "-i", p.Path("img.tar"))
	files := p.Path("in")
	write(t, files, "f", "file\n", "d/a", "a\n", "d/sub/b", "b\n")
	for _, err := range []error{os.Symlink("f", filepath.Join(files, "link")), os.Chown(filepath.Join(files, "d/a"), 1234, 77), os.Chmod(filepath.Join(files, "d/a"), 0o4750)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	docker, camada := `exec docker -H unix://`+p.Path("sock")+` "$@"`, "exec "+c.bin+" --root "+c.root+` "$@"`
	for _, v := range verbScripts() {
		t.Run(v.name, func(t *testing.T) {
			if v.long && !long() {
				t.Skip("CAMADA_TEST_LONG is not set: this takes many calls of docker cp; cp.txtar has the same rules")
			}
			theirs := make(chan string)
			go func() { theirs <- script(t, nil, docker, files, v.text) }()
			ours := script(t, nil, camada, files, v.text)
			if diff := cmp.Diff(<-theirs, ours); diff != "" {
				t.Errorf("-docker +camada\n%s", diff)
			}
		})
	}
}

// script runs a shell script in a new directory, within a command that takes it as its last argument, and returns what it printed, with what is
// different by nature made the same.
func script(t *testing.T, within []string, program, files, text string) string {
	dir := t.TempDir()
	work := filepath.Join(dir, "work")
	const tell = "D \"$@\" >\"$0.out\" 2>\"$0.err\"; echo \"exit code $?, $(wc -l <\"$0.out\") lines,$(test -s \"$0.err\" && echo ' an error')\"; rm \"$0.out\" \"$0.err\"\n"
	for _, err := range []error{
		os.WriteFile(filepath.Join(dir, "D"), []byte("#!/bin/sh\n"+program+"\n"), 0o755), os.WriteFile(filepath.Join(dir, "E"), []byte("#!/bin/sh\n"+tell), 0o755),
		os.Mkdir(work, 0o755), os.Symlink(files, filepath.Join(work, "in")),
	} {
		if err != nil {
			return err.Error()
		}
	}
	if within == nil {
		within = []string{"sh", "-c"}
	}
	command := slices.Concat(within, []string{text})
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "LC_ALL=C", "NO_COLOR=1")
	var messages strings.Builder
	cmd.Stderr = &messages
	out, err := cmd.Output()
	if messages.Len() > 0 {
		t.Logf("%s\n%s", program, messages.String())
	}
	s := regexp.MustCompile(`\b[0-9a-f]{64}\b`).ReplaceAllString(string(out), "ID")
	s = regexp.MustCompile(`\b[0-9a-f]{12}\b`).ReplaceAllString(s, "SHORT")
	return fmt.Sprintf("%s%v", s, err)
}
