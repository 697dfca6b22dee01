package test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// id is the digest of what an image has, by a name in a store.
func id(c *ours, name string) string {
	c.t.Helper()
	return c.run("inspect", "--format", "{{.Id}}", name)
}

// sent is how many bytes of blobs were uploaded.
func sent(all []asked) (n int64) {
	for _, a := range all {
		if a.upload() {
			n += a.sent
		}
	}
	return n
}

// login is needed where there are users.
func (r *trial) login(t *testing.T) {
	if !r.users {
		t.Skip("everybody is let in")
	}
	if _, said, code := r.made.talk("push", "-q", "app", r.host+"/team/app:1"); code == 0 || !strings.Contains(said, "401 Unauthorized") {
		t.Errorf("a push without a login: %d, %s", code, said)
	}
	if _, said, code := r.made.feed("hunter2\n", "login", "-u", "tester", "--password-stdin", r.host); code != 1 || strings.Contains(said, "hunter2") {
		t.Errorf("a wrong password: %d, %s", code, said)
	}
	if out, said, code := r.made.feed("secret pass\n", "login", "-u", "tester", "--password-stdin", r.host); code != 0 || out != "Login Succeeded" {
		t.Fatalf("login: %d, %q, %s", code, out, said)
	}
}

// push pushes twice: the second time nothing is sent.
func (r *trial) push(t *testing.T) {
	name := r.host + "/team/app:1"
	if n := sent(r.w.during(func() { r.made.run("push", "-q", "app", name) })); n < 100_000 {
		t.Errorf("%d bytes were sent", n)
	}
	for _, a := range r.w.during(func() { r.made.run("push", "-q", "app", name) }) {
		if a.method != http.MethodGet && a.method != http.MethodHead && a.path != "/token" {
			t.Errorf("the second push: %s %s", a.method, a.path)
		}
	}
}

// pull pulls by tag and by digest, and what is not there.
func (r *trial) pull(t *testing.T) {
	name := r.host + "/team/app:1"
	r.got.run("pull", "-q", name)
	if a, b := id(r.made, "app"), id(r.got, name); a != b {
		t.Errorf("%s was pushed, %s pulled", a, b)
	}
	digest := strings.Fields(r.made.run("images", "--digests", "--format", "{{.Digest}}", "app"))[0]
	fresh := &ours{t: t, bin: r.bin, root: r.Path("bydigest")}
	fresh.run("pull", "-q", r.host+"/team/app@"+digest)
	if out := fresh.run("run", "--rm", "--network", "none", r.host+"/team/app@"+digest); out != "made\nran" {
		t.Errorf("what was pulled by digest prints %q", out)
	}
	if _, said, code := fresh.talk("pull", r.host+"/team/none:1"); code == 0 || !strings.Contains(said, r.host) {
		t.Errorf("what is not there: %d, %s", code, said)
	}
}

// mount pushes an image under a second name: the blobs are in the repository of its first one.
func (r *trial) mount(t *testing.T) {
	name := r.host + "/other/app:1"
	r.got.run("tag", r.host+"/team/app:1", name)
	all := r.w.during(func() { r.got.run("push", "-q", name) })
	if n := sent(all); n > 0 {
		t.Errorf("%d bytes were sent to another repository", n)
	}
	if got, want := r.made.run("manifest", "inspect", "--raw", name), r.made.run("manifest", "inspect", "--raw", r.host+"/team/app:1"); got != want {
		t.Errorf("there is %s, not %s", got, want)
	}
}

// index pushes an image of two platforms, and pulls the one that is not this machine's.
func (r *trial) index(t *testing.T) {
	name := r.host + "/team/multi:1"
	r.made.run("push", "-q", "multi", name)
	var index struct {
		Manifests []struct {
			Platform struct{ Architecture string }
		}
	}
	if err := json.Unmarshal([]byte(r.made.run("manifest", "inspect", name)), &index); err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, m := range index.Manifests {
		platforms = append(platforms, m.Platform.Architecture)
	}
	for _, a := range []string{"amd64", "arm64"} {
		if !slices.Contains(platforms, a) {
			t.Errorf("the index has %q", platforms)
		}
	}
	r.got.run("pull", "-q", "--platform", "linux/arm64", name)
	if a := r.got.run("inspect", "--format", "{{.Architecture}}", name); a != "arm64" {
		t.Errorf("an image for %s was pulled", a)
	}
}

// zstd pushes and pulls layers that are compressed with zstd.
func (r *trial) zstd(t *testing.T) {
	name := r.host + "/team/zstd:1"
	r.made.run("push", "-q", "zstd", name)
	if raw := r.made.run("manifest", "inspect", "--raw", name); !strings.Contains(raw, "tar+zstd") || strings.Contains(raw, "tar+gzip") {
		t.Errorf("it has %s", raw)
	}
	r.got.run("pull", "-q", name)
	if a, b := id(r.made, "zstd"), id(r.got, name); a != b {
		t.Errorf("%s was pushed, %s pulled", a, b)
	}
}

// copy takes an index to another registry, from there back under another name, and into a layout.
func (r *trial) copy(t *testing.T) {
	name, there, back := r.host+"/team/multi:1", r.counterpart+"/"+strings.ReplaceAll(r.name, " ", "-")+"/multi:1", r.host+"/back/multi:1"
	r.got.run("copy", "-q", "--all", "docker://"+name, "docker://"+there)
	r.got.run("copy", "-q", "--all", "docker://"+there, "docker://"+back)
	want := r.got.run("manifest", "inspect", "--raw", name)
	for _, n := range []string{there, back} {
		if got := r.got.run("manifest", "inspect", "--raw", n); got != want {
			t.Errorf("%s has %s, not %s", n, got, want)
		}
	}
	r.got.run("copy", "-q", "--all", "docker://"+name, "oci:"+r.Path("layout")+":1")
	if index, err := os.ReadFile(r.Path("layout/index.json")); err != nil || !strings.Contains(string(index), "image.index.v1+json") {
		t.Errorf("the layout: %s, %v", index, err)
	}
}

// tags lists tags that come in several pages where the registry divides lists.
func (r *trial) tags(t *testing.T) {
	for _, v := range []string{"1.0.0", "1.1.0", "2.0.0"} {
		r.made.run("push", "-q", "app", r.host+"/team/app:"+v)
	}
	var got string
	all := r.w.during(func() { got = strings.Join(strings.Fields(r.got.run("tags", r.host+"/team/app")), " ") })
	if got != "1 1.0.0 1.1.0 2.0.0" {
		t.Errorf("tags %s", got)
	}
	pages := 0
	for _, a := range all {
		if strings.HasSuffix(a.path, "/tags/list") && a.status == http.StatusOK {
			pages++
		}
	}
	if (pages > 1) != r.pages {
		t.Errorf("%d pages", pages)
	}
}

// sync brings tags by a range of versions, and nothing the second time.
func (r *trial) sync(t *testing.T) {
	args := []string{"sync", "-q", "--semver", "~1.1 || ^2", "docker://" + r.host + "/team/app", "docker://" + r.host + "/mirror/app"}
	r.got.run(args...)
	if got := strings.Join(strings.Fields(r.got.run("tags", r.host+"/mirror/app")), " "); got != "1.1.0 2.0.0" {
		t.Errorf("tags %s", got)
	}
	for _, a := range r.w.during(func() { r.got.run(args...) }) {
		if a.method != http.MethodGet && a.method != http.MethodHead && a.path != "/token" {
			t.Errorf("the second time: %s %s", a.method, a.path)
		}
	}
}

// untag removes a tag, and no other one of the same image; or says that the registry does not.
func (r *trial) untag(t *testing.T) {
	_, said, code := r.got.talk("untag", "docker://"+r.host+"/team/app:2.0.0")
	want := "1 1.0.0 1.1.0"
	if !r.removes {
		want += " 2.0.0"
		if code != 1 || !strings.Contains(said, "it removes no tags") {
			t.Errorf("untag: %d, %s", code, said)
		}
	} else if code != 0 {
		t.Errorf("untag: %d, %s", code, said)
	}
	if got := strings.Join(strings.Fields(r.got.run("tags", r.host+"/team/app")), " "); got != want {
		t.Errorf("tags %s", got)
	}
	r.got.run("manifest", "inspect", r.host+"/team/app:1.0.0")
}

// resume kills a push in the middle of a layer: the next one goes on where the registry keeps what came.
func (r *trial) resume(t *testing.T) {
	const size, until = 8 << 20, 6 << 20
	name := r.host + "/team/noise:1"
	reached, on := r.w.breakAfter(until)
	cmd := exec.Command(r.bin, "push", "-q", "noise", name)
	cmd.Env = append(os.Environ(), "CAMADA_ROOT="+r.made.root)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	select {
	case <-reached:
	case <-ended:
		t.Fatal("the push ended before it was killed")
	}
	_ = cmd.Process.Kill()
	<-ended
	close(on)
	for r.w.underWay() > 0 { // the registry has to notice
		time.Sleep(10 * time.Millisecond)
	}
	n := sent(r.w.during(func() { r.made.run("push", "-q", "noise", name) }))
	if resumed := n < size-until/2; resumed != r.resumes {
		t.Errorf("%d bytes were sent after %d of %d", n, until, size)
	}
	r.got.run("pull", "-q", name)
	if a, b := id(r.made, "noise"), id(r.got, name); a != b {
		t.Errorf("%s was pushed, %s pulled", a, b)
	}
}
