package engine

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camada/camada/admission"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/remote/remotetest"
)

// tarpits are registries that take what is asked and never answer, and how often they were asked.
func tarpits(t *testing.T, n int) (hosts []string, asked *atomic.Int64) {
	t.Helper()
	enough := make(chan struct{})
	asked = &atomic.Int64{}
	for range n {
		s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			select {
			case <-enough:
			case <-r.Context().Done():
			}
		}))
		t.Cleanup(s.Close)
		hosts = append(hosts, strings.TrimPrefix(s.URL, "http://"))
	}
	t.Cleanup(func() { close(enough) })
	return hosts, asked
}

// admissionOf is a judge with a policy. Reviews that tire end after a moment.
func admissionOf(t *testing.T, o AdmissionOptions, text string) *admissionJudge {
	t.Helper()
	o.Fault = func(error) {}
	j := newAdmissionJudge(withPolicy(t, text), o)
	ctx, stop := context.WithCancel(t.Context())
	j.background = ctx
	t.Cleanup(func() { stop(); j.working.Wait() })
	return j
}

// TestTarpits has registries that never answer: they keep a known one waiting in no way, and are answered by what the rules say of what cannot be known.
func TestTarpits(t *testing.T) {
	reg := remotetest.Start(t)
	pushSample(t, reg, "app:1", imagetest.Layer("a", "1"))
	pushSample(t, reg, "app:2", imagetest.Layer("a", "2"))
	hosts, asked := tarpits(t, 12)
	j := admissionOf(t, AdmissionOptions{Timeout: time.Hour}, `rules: [{name: strict, on: deploy, namespaces: prod, platforms: "*/*"}, {name: told, on: deploy, namespaces: test, platforms: "*/*", mode: warn}]`)
	known := func(name string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, d, err := j.Judge(ctx, name, admission.Who{Namespace: "prod"}); err != nil || !d.Allowed || d.Digest == "" {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	known(reg.Ref("app:1").String())
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			name := fmt.Sprintf("%s/app:%d", hosts[i%len(hosts)], i)
			_, d, err := j.Judge(ctx, name, admission.Who{Namespace: "prod"})
			if err != nil || d.Allowed || !strings.Contains(d.Err().Error(), "rule strict") || !strings.Contains(d.Err().Error(), "cannot know: the registry "+hosts[i%len(hosts)]+" ") {
				t.Errorf("%s: %+v, %v", name, d, err)
			}
		})
	}
	all.Wait()
	if n := asked.Load(); n == 0 || n > judgingStrangers {
		t.Errorf("%d tarpits are asked at once", n)
	}
	known(reg.Ref("app:2").String())

	// A rule that only warns lets in what cannot be looked at, and where there is no rule nobody is asked.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, d, err := j.Judge(ctx, hosts[0]+"/app:warn", admission.Who{Namespace: "test"}); err != nil || !d.Allowed || len(d.Warnings()) != 1 || !strings.Contains(d.Warnings()[0].String(), "cannot know") {
		t.Errorf("%+v, %v", d, err)
	}
	before := asked.Load()
	if _, d, err := j.Judge(t.Context(), hosts[11]+"/app:free", admission.Who{Namespace: "dev"}); err != nil || !d.Allowed || asked.Load() != before {
		t.Errorf("%+v, %v, asked %d times", d, err, asked.Load()-before)
	}
}

// TestTarpitsEnd has a registry that never answers lose its turn before a Kubernetes ceases to wait.
func TestTarpitsEnd(t *testing.T) {
	hosts, _ := tarpits(t, 1)
	j := admissionOf(t, AdmissionOptions{Timeout: 50 * time.Millisecond}, `rules: [{name: strict, on: deploy, platforms: "*/*"}]`)
	if _, d, err := j.Judge(t.Context(), hosts[0]+"/app:1", admission.Who{}); err != nil || d.Allowed {
		t.Errorf("%+v, %v", d, err)
	}
	if len(j.turns.running)+len(j.turns.waits) != 0 {
		t.Errorf("it keeps its turn: %+v", j.turns)
	}
}

// TestLateFlight has an object with more images than there is time for: those that are left are not looked up.
func TestLateFlight(t *testing.T) {
	hosts, asked := tarpits(t, 1)
	j := admissionOf(t, AdmissionOptions{Timeout: time.Hour}, `rules: [{name: strict, on: deploy, platforms: "*/*"}]`)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, d, err := j.Judge(over, hosts[0]+"/app:1", admission.Who{}); err != nil || d.Allowed || !strings.Contains(d.Err().Error(), "was not asked") || len(j.flights) != 0 || asked.Load() != 0 {
		t.Errorf("%+v, %v, %d flights, asked %d times", d, err, len(j.flights), asked.Load())
	}
}

// TestOverdueGivesWay has registries of which an image was judged, and which are slow from then on: they hold no turn that another registry needs.
func TestOverdueGivesWay(t *testing.T) {
	regs := make([]*remotetest.Registry, 4)
	for i := range regs {
		regs[i] = remotetest.Start(t)
		for n := range 3 {
			pushSample(t, regs[i], fmt.Sprintf("app:%d", n), imagetest.Layer(fmt.Sprint(i, n), "1"))
		}
	}
	j := admissionOf(t, AdmissionOptions{Timeout: 300 * time.Millisecond}, `rules: [{name: strict, on: deploy, no-secrets: true}]`)
	// again is what a Kubernetes does.
	again := func(name string) {
		t.Helper()
		eventually(t, name+" is judged", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			_, d, err := j.Judge(ctx, name, admission.Who{})
			return err == nil && d.Allowed && d.Digest != ""
		})
	}
	for _, reg := range regs {
		again(reg.Ref("app:0").String())
	}
	for _, reg := range regs[:3] {
		reg.Meet(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
				return false
			}
			<-r.Context().Done()
			return true
		})
		for n := 1; n < 3; n++ {
			over, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if _, d, err := j.Judge(over, reg.Ref(fmt.Sprintf("app:%d", n)).String(), admission.Who{}); err != nil || d.Allowed {
				t.Errorf("%+v, %v", d, err)
			}
			cancel()
		}
	}
	again(regs[3].Ref("app:1").String())
}

// TestConduct has a known registry stay one as long as it answers, and a stranger prove something only by an image.
func TestConduct(t *testing.T) {
	reg := remotetest.Start(t)
	pushSample(t, reg, "app:1", imagetest.Layer("a", "1"))
	j := admissionOf(t, AdmissionOptions{Timeout: 2 * time.Second}, `rules: [{name: strict, on: deploy, platforms: "*/*"}]`)
	says := func(what, name string, status int, known bool) {
		t.Helper()
		reg.Meet(func(w http.ResponseWriter, _ *http.Request) bool {
			if status != 0 {
				remotetest.Fail(w, status, "NO")
			}
			return status != 0
		})
		if _, _, err := j.Judge(t.Context(), reg.Ref(name).String(), admission.Who{}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		eventually(t, what+" ends", func() bool {
			j.mu.Lock()
			defer j.mu.Unlock()
			return len(j.flights) == 0
		})
		if j.turns.known[reg.Address] != known {
			t.Errorf("%s: known is %v", what, !known)
		}
	}
	says("a stranger without the image", "app:none", 0, false)
	says("an image", "app:1", 0, true)
	says("no image", "app:none", 0, true)
	says("nothing for us", "app:1", http.StatusUnauthorized, true)
	says("a secret", "app:1", http.StatusForbidden, true)
	says("out of order", "app:1", http.StatusServiceUnavailable, false)
	for err, want := range map[error]conduct{nil: hostJudged, errdefs.Unsupported("a chart"): hostAnswered, errdefs.Corrupt("an index"): hostAnswered, errdefs.Permission("no"): hostAnswered,
		fmt.Errorf("ask: %w", context.DeadlineExceeded): hostSilent, errdefs.Unavailable("gone"): hostSilent} {
		if got := conductOf(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}

// TestTighterPolicy asks again after the policy was changed, while the first judgement is under way.
func TestTighterPolicy(t *testing.T) {
	reg := remotetest.Start(t)
	pushSample(t, reg, "app:1", imagetest.Layer("a", "1"))
	j := admissionOf(t, AdmissionOptions{Timeout: time.Minute}, `rules: [{name: open, on: deploy, platforms: "*/*"}]`)
	held := make(chan struct{})
	reg.Meet(func(http.ResponseWriter, *http.Request) bool { <-held; return false })
	free := sync.OnceFunc(func() { close(held) })
	t.Cleanup(free)
	var all sync.WaitGroup
	judge := func(n int, allowed bool) {
		all.Go(func() {
			if _, d, err := j.Judge(t.Context(), reg.Ref("app:1").String(), admission.Who{}); err != nil || d.Allowed != allowed {
				t.Errorf("%d: %+v, %v, want %v", n, d, err, allowed)
			}
		})
		eventually(t, "it is under way", func() bool {
			j.mu.Lock()
			defer j.mu.Unlock()
			return len(j.flights) == n
		})
	}
	judge(1, true)
	if err := os.WriteFile(j.e.policyFile, []byte(`rules: [{name: shut, on: deploy, platforms: none/none}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	j.set.mu.Lock()
	j.set.looked = time.Time{}
	j.set.mu.Unlock()
	judge(2, false)
	free()
	all.Wait()
}

// line is turns for which nobody waits, unless somebody is to.
type line struct {
	*testing.T
	turns *turns
	has   map[string]*turn
	// stopped are those that had to give way.
	stopped chan string
}

func newLine(t *testing.T) *line {
	return &line{t, newTurns(time.Hour), map[string]*turn{}, make(chan string, 100)}
}

// take wants a turn at once for the registry that begins the name.
func (l *line) take(name string, want bool) {
	l.Helper()
	now, cancel := context.WithCancel(l.Context())
	cancel()
	n, err := l.turns.take(now, name[:1], func(error) { l.stopped <- name })
	if (err == nil) != want || err != nil && !errdefs.IsUnavailable(err) {
		l.Errorf("%s: %v", name, err)
	}
	l.has[name] = n
}

// wait waits for a turn, which it gives back when it has it; the end of ctx ends that.
func (l *line) wait(ctx context.Context, all *sync.WaitGroup, host string) {
	l.turns.mu.Lock()
	before := len(l.turns.waits)
	l.turns.mu.Unlock()
	all.Go(func() {
		if n, err := l.turns.take(ctx, host, func(error) {}); err == nil {
			n.end(hostJudged)
		}
	})
	eventually(l.T, host+" waits", func() bool {
		l.turns.mu.Lock()
		defer l.turns.mu.Unlock()
		return len(l.turns.waits) > before
	})
}

func TestTurns(t *testing.T) {
	l := newLine(t)
	l.take("a1", true)
	l.take("a2", false) // it is a stranger
	l.take("b1", true)
	l.take("c1", true)
	l.take("d1", false) // three strangers
	l.has["a1"].end(hostJudged)
	l.take("a1", true) // known now
	l.take("a2", true)
	l.take("a3", false)
	l.take("d1", true)
	l.take("e1", false)
	l.has["b1"].end(hostJudged)
	l.has["c1"].end(hostSilent)
	l.take("b1", true)
	l.take("b2", true)
	l.take("c1", true) // six
	l.has["a1"].end(hostSilent)
	l.take("a1", false)
	for _, name := range []string{"a2", "b1", "b2", "c1", "d1"} {
		l.has[name].end(hostJudged)
	}
	for _, name := range []string{"a1", "a2", "b1", "b2", "c1"} {
		l.take(name, true)
	}
	l.take("d1", false) // the last one is for strangers
	l.take("x1", true)
	for _, name := range []string{"a1", "a2", "b1", "b2", "c1", "x1"} {
		l.has[name].end(hostAnswered)
	}
	if len(l.turns.running)+len(l.turns.waits) != 0 || l.turns.known["x"] || !l.turns.known["a"] || len(l.stopped) != 0 {
		t.Errorf("%+v", l.turns)
	}
}

// TestWaiting has strangers wait in such numbers that there is room for no more of them: others still come in, and who finds a free turn at any rate.
func TestWaiting(t *testing.T) {
	l := newLine(t)
	l.take("a1", true)
	l.has["a1"].end(hostJudged)
	for _, name := range []string{"x1", "y1", "z1"} {
		l.take(name, true)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range waitingStrangers {
		l.wait(ctx, &all, fmt.Sprint("stranger", i))
	}
	if err := l.turns.enter(&turn{turns: l.turns, host: "w"}); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "too many images at once") {
		t.Errorf("one more stranger: %v", err)
	}
	l.take("a1", true)
	l.take("a2", true)
	for range waitingOne {
		l.wait(ctx, &all, "a")
	}
	if err := l.turns.enter(&turn{turns: l.turns, host: "a"}); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "32 of them of the registry a") {
		t.Errorf("one more: %v", err)
	}
	l.has["a1"].end(hostJudged) // those of a get its turn one after the other
	eventually(t, "a is done", func() bool {
		l.turns.mu.Lock()
		defer l.turns.mu.Unlock()
		return count(l.turns.waits, func(w *turn) bool { return w.host == "a" }) == 0
	})
	cancel()
	all.Wait()
	if n := len(l.turns.waits); n != 0 {
		t.Errorf("%d wait for ever", n)
	}
	l = newLine(t)
	l.turns.remember("a")
	l.turns.remember("b")
	l.take("a1", true)
	l.take("a2", true)
	for range waiting {
		l.turns.waits = append(l.turns.waits, &turn{turns: l.turns, host: "a", begun: make(chan struct{})})
	}
	l.take("a3", false)
	l.take("b1", true)
}

// TestGivingWay has turns that take long end for who has none, the ones of who has the most first.
func TestGivingWay(t *testing.T) {
	l := newLine(t)
	for _, host := range []string{"a", "b", "c", "d"} {
		l.turns.remember(host)
	}
	for _, name := range []string{"c1", "a1", "b1", "b2", "a2", "x1"} {
		l.take(name, true)
	}
	stopped := func(want ...string) {
		t.Helper()
		var got []string
		for len(l.stopped) > 0 {
			got = append(got, <-l.stopped)
		}
		if !slices.Equal(got, want) {
			t.Errorf("stopped are %v, want %v", got, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	l.wait(ctx, &all, "d")
	l.wait(ctx, &all, "d")
	stopped() // nothing is overdue
	for _, name := range []string{"c1", "a1"} {
		l.has[name].late()
	}
	stopped("c1") // at that moment nothing else was overdue
	for _, name := range []string{"b1", "b2", "a2", "x1"} {
		l.has[name].late()
	}
	l.take("a3", false) // it has two
	stopped()
	l.take("y1", false)
	stopped("x1") // strangers are for strangers
	l.has["x1"].end(hostSilent)
	l.has["c1"].end(hostSilent)
	all.Wait() // both of d, one after the other
	if !l.turns.known["c"] || len(l.turns.running) != 4 {
		t.Errorf("%+v", l.turns)
	}
	l.take("c1", true)
	l.take("d1", false)
	stopped("a1")
	l.take("d1", false)
	stopped("b1") // a has one left
	cancel()
	for _, n := range slices.Clone(l.turns.running) {
		n.end(hostAnswered)
	}
}
