package test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// member is one of a crowd of users of one store.
type member struct {
	m    *machine
	n, r int
	// latest is what its tag says, tags what it was told to be set, and text what each image prints.
	latest string
	tags   map[string]string
	text   map[string]string
	shared int // how often it moved the tag of all
	// harsh collections keep nothing of the logs, so that there is no rolling back.
	harsh bool
}

// TestCrowd lets 20 users build, run, tag, roll back, save, load and collect at once on one store. What each of them was told must be so.
func TestCrowd(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.write("ctx/Dockerfile", "FROM scratch\nCOPY rootfs /\nRUN echo base > /base\n")
		m.camada("build", "-q", "-t", "base", "ctx")
		crowd := make([]*member, 20)
		for n := range crowd {
			crowd[n] = &member{m: m, n: n, tags: map[string]string{}, text: map[string]string{}}
		}
		for _, harsh := range []bool{false, true} {
			rounds, until := 2, time.Time{}
			if long() {
				rounds, until = 1<<30, time.Now().Add(time.Minute)
			}
			var wg sync.WaitGroup
			for _, c := range crowd {
				c.harsh = harsh
				wg.Go(func() {
					for r := 0; r < rounds && !t.Failed() && (until.IsZero() || time.Now().Before(until)); r++ {
						c.round()
					}
				})
			}
			wg.Wait()
		}
		if t.Failed() {
			return
		}
		m.none("after the crowd left,", m.leftovers)
		m.whole("after the crowd left")
		images, moves := 0, 0
		for _, c := range crowd {
			c.check()
			images += len(c.text)
			moves += c.shared
		}
		if log := strings.Split(m.camada("log", "shared"), "\n"); len(log)-1 != moves {
			t.Errorf("the tag of all was moved %d times, its log has %d lines:\n%s", moves, len(log)-1, strings.Join(log, "\n"))
		}
		m.accounted("after the crowd left")
		for _, c := range crowd {
			c.check()
		}
		t.Logf("%d users built %d images and moved one tag %d times", len(crowd), images, moves)
	})
}

// do runs camada; a failure is one of the test.
func (c *member) do(args ...string) (out string, ok bool) {
	r := c.m.run(args...)
	if r.code != 0 {
		c.m.t.Errorf("user %d: %v", c.n, r)
	}
	return strings.TrimSpace(r.out), r.code == 0
}

// wants runs camada, which must print want.
func (c *member) wants(want string, args ...string) bool {
	got, ok := c.do(args...)
	if ok && got != want {
		c.m.t.Errorf("user %d: camada %s: got %q, want %q", c.n, strings.Join(args, " "), got, want)
	}
	return ok && got == want
}

func (c *member) tag() string { return fmt.Sprintf("user%d:latest", c.n) }

// round builds an image of its own and uses it.
func (c *member) round() {
	r := c.r
	c.r++
	name := fmt.Sprintf("user%d", c.n)
	text := fmt.Sprintf("user %d, round %d", c.n, r)
	c.m.write(name+"/Dockerfile", fmt.Sprintf("FROM base AS one\nRUN echo %d > /round\nFROM base\nCOPY text /text\nCOPY --from=one /round /round\nRUN cat /text /base /round > /all\nCMD cat /text; test -s /all\n", r))
	c.m.write(name+"/text", text)
	tagged := fmt.Sprintf("%s:r%d", name, r)
	id, ok := c.do("build", "-q", "-t", c.tag(), "-t", tagged, name)
	if !ok {
		return
	}
	before := c.latest
	c.text[id], c.tags[tagged], c.latest = text, id, id
	network := "none"
	if (c.n+r)%4 == 0 {
		network = "bridge"
	}
	if !c.wants(text, "run", "--rm", "--network", network, c.tag()) {
		return
	}
	if _, ok := c.do("tag", c.tag(), "shared"); ok {
		c.shared++
	}
	switch (c.n + r) % 5 {
	case 0:
		if c.harsh {
			c.do("gc", "--keep", "0s", "--keep-entries", "0", "--cache-keep", "0s")
		} else {
			c.do("gc", "--cache-keep", "0s")
		}
	case 1:
		c.background(text, r)
	case 2:
		c.archive(id, r)
	case 3:
		c.do("gc")
	case 4:
		c.do("df")
		c.do("ps", "-a")
		c.do("images")
	}
	if before == "" || c.harsh {
		return
	}
	if _, ok := c.do("rollback", c.tag()); ok {
		c.latest = before
		c.wants(c.text[before], "run", "--rm", "--network", "none", c.tag())
	}
}

// background runs a container that others' collections must leave alone.
func (c *member) background(text string, r int) {
	name := fmt.Sprintf("user%d-%d", c.n, r)
	if _, ok := c.do("run", "-d", "--name", name, "--network", "none", c.tag(), "sh", "-c", "cat /text; sleep 100"); !ok {
		return
	}
	c.wants(text, "exec", name, "cat", "/text")
	c.wants("true", "inspect", "-f", "{{.State.Running}}", name)
	c.do("rm", "-f", name)
}

// archive saves an image, removes the tag, and loads it again.
func (c *member) archive(id string, r int) {
	file, tag := fmt.Sprintf("user%d.tar", c.n), fmt.Sprintf("user%d:saved%d", c.n, r)
	c.do("tag", c.tag(), tag)
	c.do("save", "-o", file, tag)
	c.do("untag", tag)
	c.do("load", "-q", "-i", file)
	c.tags[tag] = id
	_ = os.Remove(c.m.path(file))
}

// check looks whether each tag is what was told, and whole.
func (c *member) check() {
	all := map[string]string{c.tag(): c.latest}
	for tag, id := range c.tags {
		all[tag] = id
	}
	for tag, id := range all {
		c.wants(id, "images", "-q", "--no-trunc", tag)
		c.wants(c.text[id], "run", "--rm", "--network", "none", tag)
		c.do("save", "-o", "/dev/null", tag)
	}
}
