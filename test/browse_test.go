package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBrowse drives "camada layers -i" in a terminal that tmux makes.
func TestBrowse(t *testing.T) {
	tmux, err := exec.LookPath("tmux")
	if err != nil {
		t.Skip("no tmux")
	}
	bin := shipped(t)
	dir := t.TempDir()
	for name, text := range map[string]string{"Dockerfile": "FROM scratch\nCOPY one two /srv/\nCOPY two /srv/one\n", "one": "1", "two": "22"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	store := filepath.Join(dir, "store")
	if out, err := exec.Command(bin, "--root", store, "build", "-q", "-t", "app", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	socket := filepath.Join(dir, "tmux")
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(tmux, append([]string{"-S", socket, "-f", "/dev/null"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	// The shell stays, so that what the browser leaves behind can be seen.
	run("new-session", "-d", "-x", "80", "-y", "24", bin+" --root "+store+" layers -i app; echo it ended with $?; read x")
	defer exec.Command(tmux, "-S", socket, "kill-server").Run() //nolint:errcheck // ends with the test
	screen := func(want string) string {
		t.Helper()
		var s string
		for range 200 {
			if s = run("capture-pane", "-p"); strings.Contains(s, want) {
				return s
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatalf("no %q on the screen:\n%s", want, s)
		return ""
	}
	if s := screen("● Layers"); !strings.Contains(s, "app  2 layers") || !strings.Contains(s, "Files of layer 2") || !strings.Contains(s, "wasted 1B") {
		t.Errorf("the first screen:\n%s", s)
	}
	run("send-keys", "Up")
	if s := screen("Files of layer 1"); !strings.Contains(s, " + ") || !strings.Contains(s, "two") {
		t.Errorf("the first layer:\n%s", s)
	}
	run("send-keys", "Tab", "Down", "Down")
	if s := screen("/srv/two"); !strings.Contains(s, "layer 1 added, 2B") {
		t.Errorf("a file:\n%s", s)
	}
	run("send-keys", "/", "o", "n", "e", "Enter")
	if s := screen("(Esc clears)"); strings.Contains(s, "B     two") {
		t.Errorf("filtered:\n%s", s)
	}
	run("resize-window", "-x", "130", "-y", "12")
	screen("stored unpacked  instruction")
	if lines := strings.Split(strings.TrimRight(run("capture-pane", "-p"), "\n"), "\n"); len(lines) > 12 {
		t.Errorf("%d lines on a screen of 12", len(lines))
	}
	run("send-keys", "q")
	if s := screen("it ended with 0"); strings.Contains(s, "Layers") {
		t.Errorf("the browser left its screen behind:\n%s", s)
	}
}
