package retain_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/internal/peers"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/local"
	"github.com/camada/camada/registry/retain"
	"github.com/camada/camada/registry/s3"
	"github.com/opencontainers/go-digest"
)

// fill makes a tag for each name.
func fill(t *testing.T, s registry.Storage, repository string, tags ...string) {
	t.Helper()
	for _, tag := range tags {
		data, err := json.Marshal(map[string]string{"tag": tag})
		if err != nil {
			t.Fatal(err)
		}
		m, err := registry.ParseManifest("application/vnd.example+json", data, digest.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.PutManifest(t.Context(), repository, m, registry.PutOptions{Tags: []string{tag}}); err != nil {
			t.Fatal(err)
		}
	}
}

// run returns the tags that go, and why.
func run(t *testing.T, s registry.Storage, opts retain.Options) (tags []string, why map[string]string) {
	t.Helper()
	why = map[string]string{}
	err := retain.Run(t.Context(), s, opts, func(r retain.Removal) error {
		tags = append(tags, r.Repository+":"+r.Tag)
		why[r.Tag] = r.Why
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(tags)
	return tags, why
}

// each runs a test on both drivers.
func each(t *testing.T, test func(t *testing.T, s registry.Storage)) {
	t.Helper()
	t.Run("local", func(t *testing.T) {
		s, err := local.Open(t.Context(), t.TempDir(), local.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		test(t, s)
	})
	t.Run("s3", func(t *testing.T) {
		o := peers.Need(t, "versitygw").StartVersity()
		s, err := s3.Open(t.Context(), s3.Options{Endpoint: o.Endpoint, Bucket: "registry", AccessKey: o.ID, SecretKey: o.Secret, Create: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		test(t, s)
	})
}

func TestRules(t *testing.T) { each(t, testRules) }

func testRules(t *testing.T, s registry.Storage) {
	fill(t, s, "team/app", "v1.0.0", "v1.10.0", "v1.9.0", "v2.0.0-rc1", "latest", "pr-1", "pr-2") // one after the other
	fill(t, s, "other", "pr-1")
	now := time.Now()
	// A rule of as many seconds as a tag is old keeps it and those that are younger.
	old := func(tag string) time.Duration {
		got, err := s.Tag(t.Context(), "team/app", tag)
		if err != nil {
			t.Fatal(err)
		}
		return now.Sub(got.Updated)
	}
	pulled := map[string]time.Time{"pr-1": now, "v1.0.0": now.Add(-old("latest"))}
	for _, tt := range []struct {
		name string
		rule retain.Rule
		want []string
	}{
		{"patterns", retain.Rule{Keep: []string{"v*", "latest"}}, []string{"pr-1", "pr-2"}},
		{"about some", retain.Rule{Tags: []string{"pr-*"}, Moved: old("pr-2")}, []string{"pr-1"}},
		{"versions", retain.Rule{Tags: []string{"v*"}, Versions: 2}, []string{"v1.0.0", "v1.9.0"}},
		{"versions and others", retain.Rule{Versions: 4, Keep: []string{"latest"}}, []string{"pr-1", "pr-2"}},
		{"newest", retain.Rule{Newest: 3}, []string{"v1.0.0", "v1.10.0", "v1.9.0", "v2.0.0-rc1"}},
		{"moved", retain.Rule{Moved: old("pr-1")}, []string{"latest", "v1.0.0", "v1.10.0", "v1.9.0", "v2.0.0-rc1"}},
		{"pulled", retain.Rule{Pulled: old("pr-1")}, []string{"latest", "v1.0.0", "v1.10.0", "v1.9.0", "v2.0.0-rc1"}},
		{"pulled or newest", retain.Rule{Pulled: old("latest"), Newest: 1}, []string{"v1.10.0", "v1.9.0", "v2.0.0-rc1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.rule.Repositories = []string{"team/**"}
			got, why := run(t, s, retain.Options{Rules: []retain.Rule{tt.rule}, DryRun: true, Now: func() time.Time { return now },
				Last: func(context.Context, string) (map[string]time.Time, error) { return pulled, nil }})
			var want []string
			for _, tag := range tt.want {
				want = append(want, "team/app:"+tag)
				if why[tag] == "" {
					t.Errorf("%s goes, and nobody knows why", tag)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q go, want %q", got, want)
			}
		})
	}
	// What was pulled before it was noted is not known: nothing goes because of that.
	rule := retain.Rule{Repositories: []string{"**"}, Pulled: old("pr-2")}
	if got, _ := run(t, s, retain.Options{Rules: []retain.Rule{rule}, DryRun: true, Since: now, Now: func() time.Time { return now }}); len(got) > 0 {
		t.Errorf("%q go", got)
	}
	// What one of two rules keeps stays; what is immutable stays anyway.
	rules := []retain.Rule{{Repositories: []string{"team/**"}, Keep: []string{"latest"}}, {Repositories: []string{"**"}, Tags: []string{"v1*"}, Versions: 1}}
	got, why := run(t, s, retain.Options{Rules: rules, DryRun: true, Now: func() time.Time { return now }, Immutable: func(_, tag string) bool { return tag == "pr-1" }})
	if want := []string{"team/app:pr-2", "team/app:v1.0.0", "team/app:v1.9.0", "team/app:v2.0.0-rc1"}; !slices.Equal(got, want) {
		t.Errorf("%q go, want %q", got, want)
	}
	if why["v1.9.0"] != "it is not like latest; 1 versions are newer" {
		t.Errorf("why: %q", why["v1.9.0"])
	}
}

// TestRestore: a tag that was removed comes back with all that it was, also after a sweep.
func TestRestore(t *testing.T) {
	each(t, func(t *testing.T, s registry.Storage) {
		fill(t, s, "a", "keep", "go")
		rules := []retain.Rule{{Repositories: []string{"*"}, Keep: []string{"keep"}}}
		if got, _ := run(t, s, retain.Options{Rules: rules, DryRun: true}); !slices.Equal(got, []string{"a:go"}) {
			t.Errorf("%q would go", got)
		}
		if tags, err := s.ListTags(t.Context(), "a", "", -1); err != nil || len(tags) != 2 {
			t.Errorf("after a dry run there are %q, %v", tags, err)
		}
		if got, _ := run(t, s, retain.Options{Rules: rules}); !slices.Equal(got, []string{"a:go"}) {
			t.Errorf("%q went", got)
		}
		if tags, err := s.ListTags(t.Context(), "a", "", -1); err != nil || strings.Join(tags, " ") != "keep" {
			t.Errorf("there are %q, %v", tags, err)
		}
		if _, err := s.Sweep(t.Context(), registry.SweepOptions{Grace: 50 * time.Millisecond, Untagged: time.Nanosecond}); err != nil {
			t.Fatal(err)
		}
		log, err := s.TagLog(t.Context(), "a", "go")
		if err != nil || log[0].Verb != "retain" || log[0].To != "" {
			t.Fatalf("log %+v, %v", log, err)
		}
		if err := s.MoveTag(t.Context(), "a", "go", registry.Move{To: log[0].From}); err != nil {
			t.Errorf("it does not come back: %v", err)
		}
	})
}
