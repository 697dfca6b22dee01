package citag_test

import (
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/internal/citag"
	"github.com/camada/camada/reference"
	"github.com/google/go-cmp/cmp"
)

const commit = "4f2a90c1d7e05b3c6a8f9e0d1c2b3a4958677685"

func names(s citag.Scheme) string {
	var out []string
	for _, t := range s.Tags {
		out = append(out, t.Name)
	}
	return strings.Join(out, " ")
}

func TestPlan(t *testing.T) {
	for what, c := range map[string]struct {
		facts         citag.Facts
		known         []string
		version, tags string
	}{
		"a release":              {citag.Facts{Tags: []string{"x", "v1.2.3"}, Branch: "main"}, nil, "1.2.3", "1.2.3 sha-4f2a90c1d7e0 1.2 1 latest"},
		"again":                  {citag.Facts{Tags: []string{"v1.2.3"}, All: []string{"v1.2.3"}}, []string{"1.2.3", "1.2", "1", "latest"}, "1.2.3", "1.2.3 sha-4f2a90c1d7e0 1.2 1 latest"},
		"an older minor version": {citag.Facts{Tags: []string{"1.2.4"}}, []string{"1.3.0", "1.2.3"}, "1.2.4", "1.2.4 sha-4f2a90c1d7e0 1.2"},
		"git knows a higher one": {citag.Facts{Tags: []string{"1.2.4"}, All: []string{"v1.2.5", "v2.0.0"}}, nil, "1.2.4", "1.2.4 sha-4f2a90c1d7e0"},
		"an older major version": {citag.Facts{Tags: []string{"1.9.0"}}, []string{"2.0.0"}, "1.9.0", "1.9.0 sha-4f2a90c1d7e0 1.9 1"},
		"beside a pre-release":   {citag.Facts{Tags: []string{"1.2.3"}}, []string{"2.0.0-rc.1", "7", "9.9"}, "1.2.3", "1.2.3 sha-4f2a90c1d7e0 1.2 1 latest"},
		"a pre-release":          {citag.Facts{Tags: []string{"v2.0.0-rc.1"}}, nil, "2.0.0-rc.1", "2.0.0-rc.1 sha-4f2a90c1d7e0"},
		"a pre-release became":   {citag.Facts{Tags: []string{"v2.0.0-rc.1", "v2.0.0"}}, nil, "2.0.0", "2.0.0 sha-4f2a90c1d7e0 2.0 2 latest"},
		"before 1.0.0":           {citag.Facts{Tags: []string{"v0.3.0"}}, nil, "0.3.0", "0.3.0 sha-4f2a90c1d7e0 0.3 latest"},
		"build metadata":         {citag.Facts{Tags: []string{"v1.2.3+4"}}, nil, "1.2.3+4", "1.2.3_4 sha-4f2a90c1d7e0 1.2 1 latest"},
		"dirty at a release":     {citag.Facts{Tags: []string{"v1.2.3"}, Last: "v1.2.3", Branch: "main", Dirty: true}, nil, "1.2.3-0-g4f2a90c-dirty", "1.2.3-0-g4f2a90c-dirty main-dirty"},
		"a branch":               {citag.Facts{Branch: "feature/a b", Last: "v1.2.3", Distance: 5}, nil, "1.2.3-5-g4f2a90c", "1.2.3-5-g4f2a90c sha-4f2a90c1d7e0 feature-a-b"},
		"no version yet":         {citag.Facts{Branch: "main", Distance: 7}, nil, "0.0.0-7-g4f2a90c", "0.0.0-7-g4f2a90c sha-4f2a90c1d7e0 main"},
		"no branch":              {citag.Facts{Distance: 7}, nil, "0.0.0-7-g4f2a90c", "0.0.0-7-g4f2a90c sha-4f2a90c1d7e0"},
		"shallow":                {citag.Facts{Branch: "main", Shallow: true, Distance: 1}, nil, "", "sha-4f2a90c1d7e0 main"},
		"a pull request":         {citag.Facts{Branch: "x", PullRequest: "12", Last: "v1.0.0", Distance: 1}, nil, "1.0.0-1-g4f2a90c", "1.0.0-1-g4f2a90c sha-4f2a90c1d7e0 pr-12"},
		"a branch like an alias": {citag.Facts{Branch: "1.2", Distance: 1}, nil, "0.0.0-1-g4f2a90c", "0.0.0-1-g4f2a90c sha-4f2a90c1d7e0 branch-1.2"},
		"like a release with +":  {citag.Facts{Branch: "9.2.3_4", Distance: 1}, nil, "0.0.0-1-g4f2a90c", "0.0.0-1-g4f2a90c sha-4f2a90c1d7e0 branch-9.2.3_4"},
		"a branch latest":        {citag.Facts{Branch: "latest", Distance: 1}, nil, "0.0.0-1-g4f2a90c", "0.0.0-1-g4f2a90c sha-4f2a90c1d7e0 branch-latest"},
		"a branch like a commit": {citag.Facts{Branch: "sha-1", Distance: 1}, nil, "0.0.0-1-g4f2a90c", "0.0.0-1-g4f2a90c sha-4f2a90c1d7e0 branch-sha-1"},
		// What is cut off for its length is never what tells one build from another.
		"a long version": {citag.Facts{Last: "v1.2.3-" + strings.Repeat("a", 130), Distance: 5, Dirty: true}, nil, "1.2.3-" + strings.Repeat("a", 130) + "-5-g4f2a90c-dirty",
			"1.2.3-" + strings.Repeat("a", 105) + "-5-g4f2a90c-dirty"},
		"a long request": {citag.Facts{PullRequest: strings.Repeat("1", 140), Distance: 5, Dirty: true}, nil, "0.0.0-5-g4f2a90c-dirty", "0.0.0-5-g4f2a90c-dirty pr-" + strings.Repeat("1", 119) + "-dirty"},
		"a long branch":  {citag.Facts{Branch: strings.Repeat("b", 140), Distance: 5, Dirty: true}, nil, "0.0.0-5-g4f2a90c-dirty", "0.0.0-5-g4f2a90c-dirty " + strings.Repeat("b", 122) + "-dirty"},
		"no letters":     {citag.Facts{Branch: "ü/ß", Distance: 1}, nil, "0.0.0-1-g4f2a90c", "0.0.0-1-g4f2a90c sha-4f2a90c1d7e0 branch-"},
	} {
		c.facts.Commit, c.facts.Time = commit, time.Unix(86400, 0)
		s := citag.Plan(c.facts, c.known)
		if s.Version != c.version || names(s) != c.tags {
			t.Errorf("%s: version %s, tags %s; want %s, %s", what, s.Version, names(s), c.version, c.tags)
		}
	}
}

func TestAnnotations(t *testing.T) {
	f := citag.Facts{Commit: commit, Time: time.Unix(86400, 0).In(time.FixedZone("x", 3600)), Branch: "main", Last: "v1.0.0", Distance: 2, Dirty: true, Source: "https://example.com/a"}
	want := map[string]string{
		"org.opencontainers.image.version": "1.0.0-2-g4f2a90c-dirty", "org.opencontainers.image.revision": commit + "-dirty", "org.opencontainers.image.created": "1970-01-02T00:00:00Z",
		"org.opencontainers.image.source": "https://example.com/a", "org.opencontainers.image.ref.name": "main",
	}
	if diff := cmp.Diff(want, citag.Plan(f, nil).Annotations); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	f.Tags, f.Dirty = []string{"v1.1.0"}, false
	if got := citag.Plan(f, nil).Annotations; got["org.opencontainers.image.ref.name"] != "v1.1.0" || got["org.opencontainers.image.revision"] != commit {
		t.Errorf("got %v", got)
	}
}

func TestEnvironment(t *testing.T) {
	for what, c := range map[string]struct {
		vars map[string]string
		want citag.Environment
	}{
		"nothing":               {nil, citag.Environment{}},
		"GitHub, a branch":      {map[string]string{"GITHUB_REF": "refs/heads/a/b", "GITHUB_SHA": "1"}, citag.Environment{Commit: "1", Branch: "a/b"}},
		"GitHub, a tag":         {map[string]string{"GITHUB_REF": "refs/tags/v1.2.3", "GITHUB_SHA": "1"}, citag.Environment{Commit: "1", Tag: "v1.2.3"}},
		"GitHub, a request":     {map[string]string{"GITHUB_REF": "refs/pull/5/merge", "GITHUB_SHA": "1"}, citag.Environment{Commit: "1", PullRequest: "5"}},
		"GitLab, a branch":      {map[string]string{"CI_COMMIT_SHA": "1", "CI_COMMIT_BRANCH": "main"}, citag.Environment{Commit: "1", Branch: "main"}},
		"GitLab, a tag":         {map[string]string{"CI_COMMIT_SHA": "1", "CI_COMMIT_TAG": "v1.0.0"}, citag.Environment{Commit: "1", Tag: "v1.0.0"}},
		"GitLab, a request":     {map[string]string{"CI_COMMIT_SHA": "1", "CI_MERGE_REQUEST_IID": "7"}, citag.Environment{Commit: "1", PullRequest: "7"}},
		"Woodpecker, a request": {map[string]string{"CI_COMMIT_SHA": "1", "CI_COMMIT_BRANCH": "main", "CI_COMMIT_PULL_REQUEST": "8"}, citag.Environment{Commit: "1", Branch: "main", PullRequest: "8"}},
		"Azure":                 {map[string]string{"BUILD_SOURCEBRANCH": "refs/heads/main", "BUILD_SOURCEVERSION": "1"}, citag.Environment{Commit: "1", Branch: "main"}},
		"Jenkins":               {map[string]string{"GIT_BRANCH": "origin/main", "GIT_COMMIT": "1"}, citag.Environment{Commit: "1", Branch: "main"}},
		"Buildkite, no request": {map[string]string{"BUILDKITE_BRANCH": "main", "BUILDKITE_PULL_REQUEST": "false"}, citag.Environment{Branch: "main"}},
	} {
		if got := citag.FromEnvironment(func(k string) string { return c.vars[k] }); got != c.want {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

func TestComplete(t *testing.T) {
	f := citag.Facts{Commit: commit}
	if w := f.Complete(citag.Environment{Commit: "other", Branch: "main"}); w == "" || f.Branch != "" {
		t.Errorf("another commit's branch is believed: %+v, %q", f, w)
	}
	if w := f.Complete(citag.Environment{Commit: commit, Branch: "main", Tag: "v1.0.0"}); w != "" || f.Branch != "main" || len(f.Tags) != 1 {
		t.Errorf("%+v, %q", f, w)
	}
	if f.Complete(citag.Environment{Branch: "other"}); f.Branch != "main" {
		t.Errorf("git's branch is overruled: %+v", f)
	}
	if f.Complete(citag.Environment{PullRequest: "3"}); f.PullRequest != "" {
		t.Errorf("a request of no commit is believed: %+v", f)
	}
	if f.Complete(citag.Environment{Commit: commit, Branch: "main", PullRequest: "3"}); f.PullRequest != "3" {
		t.Errorf("a request that is checked out on a branch is taken for the branch: %+v", f)
	}
}

func FuzzPlan(f *testing.F) {
	f.Add("feature/x", "v1.2.3", "12", true)
	f.Add("1.2", "1.2.3+a.b", "", false)
	f.Add(strings.Repeat("ä", 300), "v0.0.0-"+strings.Repeat("9", 300), "../..", true)
	f.Fuzz(func(t *testing.T, branch, tag, pr string, dirty bool) {
		for _, facts := range []citag.Facts{{Branch: branch, Last: citag.Highest([]string{tag})}, {Tags: []string{tag}}, {PullRequest: pr, Branch: branch, Tags: []string{tag}}} {
			facts.Commit, facts.Dirty = commit, dirty
			seen := map[string]bool{}
			for _, x := range citag.Plan(facts, []string{tag, branch}).Tags {
				if !reference.ValidTag(x.Name) || seen[x.Name] {
					t.Errorf("%+v: tag %q", facts, x.Name)
				}
				seen[x.Name] = true
				if x.Kind == citag.Branch && (x.Name == "latest" || strings.Trim(x.Name, "0123456789.") == "") {
					t.Errorf("branch %q is %q", branch, x.Name)
				}
			}
		}
	})
}
