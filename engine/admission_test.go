package engine

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
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
			if err != nil || d.Allowed || !strings.Contains(d.Err().Error(), "rule strict") || !strings.Contains(d.Err().Error(), "cannot know: the registry "+hosts[i%len(hosts)]+" did not give all") {
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
	if j.turns.running != 0 || len(j.turns.runningOf) != 0 || j.turns.strangers != 0 || j.turns.waits != 0 || len(j.turns.waitsOf) != 0 {
		t.Errorf("it keeps its turn: %+v", j.turns)
	}
}

func TestTurns(t *testing.T) {
	turns := newTurns()
	now, cancel := context.WithCancel(t.Context())
	cancel() // nobody waits
	end := map[string]func(bool){}
	take := func(name, host string, want bool) {
		t.Helper()
		e, _, err := turns.take(now, host)
		if (err == nil) != want || err != nil && !errdefs.IsUnavailable(err) {
			t.Errorf("%s: %v", name, err)
		}
		end[name] = e
	}
	take("a1", "a", true)
	take("a2", "a", false) // it is a stranger
	take("b1", "b", true)
	take("c1", "c", true)
	take("d1", "d", false) // three strangers
	end["a1"](true)
	take("a1", "a", true) // known now
	take("a2", "a", true)
	take("a3", "a", false)
	take("d1", "d", true)
	take("e1", "e", false)
	end["b1"](true)
	end["c1"](false)
	take("b1", "b", true)
	take("b2", "b", true)
	take("c1", "c", true) // six
	end["a1"](false)      // it was too slow
	take("a1", "a", false)
	for _, name := range []string{"a2", "b1", "b2", "c1", "d1"} {
		end[name](true)
	}
	if turns.running != 0 || turns.strangers != 0 || len(turns.runningOf)+len(turns.waitsOf)+turns.waits != 0 {
		t.Errorf("%+v", turns)
	}

	// Who waits gets a turn when one ends; too many do not wait.
	first, _, err := turns.take(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan func(bool), waitingOne)
	for range waitingOne {
		go func() {
			if e, _, err := turns.take(t.Context(), "x"); err == nil {
				e(true)
				got <- e
			}
		}()
	}
	for waits := 0; waits < waitingOne; {
		turns.mu.Lock()
		waits = turns.waits
		turns.mu.Unlock()
	}
	if _, _, err := turns.take(t.Context(), "x"); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "32 of them of the registry x") {
		t.Errorf("one more: %v", err)
	}
	first(true)
	for range waitingOne {
		<-got
	}
}
