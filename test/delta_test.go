package test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"testing"
)

// programVersion builds version 1, 2 … of a program, as program:VERSION.
func programVersion(t *testing.T, c *ours, dir, version string) {
	t.Helper()
	data := make([]byte, 300_000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data)
	for i := 0; i < len(data); i += 1000 {
		data[i] = version[0]
	}
	write(t, dir, "program", string(data), "Dockerfile", "FROM scratch\nCOPY program /\n")
	c.run("build", "-q", "-t", "program:"+version, dir)
}

// delta publishes deltas, and updates a machine by them.
func (r *trial) delta(t *testing.T) {
	name := r.host + "/delta/app:1"
	a, b := r.made, &ours{t: t, bin: r.bin, root: r.Path("b")}
	a.run("tag", "program:1", name)
	if out := a.run("push", "--delta", name); !regexp.MustCompile(`delta: there is no earlier version`).MatchString(out) {
		t.Errorf("the first push: %s", out)
	}
	b.run("pull", "-q", name)
	a.run("tag", "program:2", name)
	if out := a.run("push", "--delta", name); !regexp.MustCompile(`delta of sha256:[0-9a-f]{64}: 1 of 1 layers, [0-9.]+kB in the registry`).MatchString(out) {
		t.Errorf("the second push: %s", out)
	}
	if r.first { // plans are the same everywhere
		r.plans(t, name, a, b)
	}
	_, said, code := b.talk("pull", "--progress", "plain", name)
	if code != 0 || !regexp.MustCompile(`delta of [0-9.]+k?B instead of 30\dkB`).MatchString(said) {
		t.Errorf("pull: %d, %s", code, said)
	}
	if got := b.run("inspect", "--format", "{{.Id}}", name); got != a.run("inspect", "--format", "{{.Id}}", "program:2") {
		t.Errorf("another image: %s", got)
	}
	b.run("fsck")
	a.run("tag", "program:3", name)
	a.run("push", "--delta=program:2", name)
	if _, said, code := b.talk("pull", "--delta=false", "--progress", "plain", name); code != 0 || regexp.MustCompile("delta").MatchString(said) {
		t.Errorf("pull without deltas: %d, %s", code, said)
	}
	if _, said, code := a.talk("push", "--delta="+fmt.Sprintf("%s/none:1", r.host), name); code == 0 {
		t.Errorf("a version that is not there: %s", said)
	}
}

// plans says what a pull would fetch: on a machine that has the version before, on one that has all, and on one that has nothing.
func (r *trial) plans(t *testing.T, name string, a, b *ours) {
	c := &ours{t: t, bin: r.bin, root: r.Path("c")}
	for _, tc := range []struct {
		on    *ours
		flags []string
		want  string
	}{
		{b, nil, `(?m)^layer +[0-9a-f]{12} +30\dkB +delta +[0-9.]+k?B$`},
		{b, []string{"--delta=false"}, `(?m)^layer +[0-9a-f]{12} +30\dkB +fetch +30\dkB$`},
		{c, nil, `(?m)^config +[0-9a-f]{12} +\d+B +fetch +\d+B$`},
		{a, nil, `(?m)^layer +[0-9a-f]{12} +30\dkB +here +0B\n\n.*: 0B of 30\dkB would be fetched$`},
	} {
		if out := tc.on.run(append([]string{"pull", "--plan", name}, tc.flags...)...); !regexp.MustCompile(tc.want).MatchString(out) {
			t.Errorf("the plan says %s\nwant %s", out, tc.want)
		}
	}
	if out := c.run("pull", "--plan", "--format", "{{.Fetch}} {{len .Steps}}", name); !regexp.MustCompile(`^30\d{4} 3$`).MatchString(out) {
		t.Errorf("the plan on an empty machine: %s", out)
	}
	if out := c.run("images", "-aq"); out != "" {
		t.Errorf("a plan left %s", out)
	}
}
