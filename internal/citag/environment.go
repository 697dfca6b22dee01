package citag

import (
	"cmp"
	"slices"
	"strings"
)

// Environment is what a CI system says of what it builds: it checks out a commit, and git does not know the branch then.
type Environment struct {
	// Commit is the one that the rest is about; "" when the system does not say.
	Commit                   string
	Branch, Tag, PullRequest string
}

// FromEnvironment reads the variables of GitHub and Gitea, GitLab, Azure, Jenkins, CircleCI, Buildkite, Bitbucket, Drone and Woodpecker, Cloud Build and Travis. The first system that says something counts.
func FromEnvironment(getenv func(string) string) Environment {
	for _, read := range []func(func(string) string) Environment{github, gitlab, azure, named} {
		if e := read(getenv); e.Branch != "" || e.Tag != "" || e.PullRequest != "" {
			return e
		}
	}
	return Environment{}
}

// ofRef reads a whole name of a ref.
func ofRef(ref, commit string) Environment {
	e := Environment{Commit: commit}
	if name, ok := strings.CutPrefix(ref, "refs/heads/"); ok {
		e.Branch = name
	} else if name, ok := strings.CutPrefix(ref, "refs/tags/"); ok {
		e.Tag = name
	} else if name, ok := strings.CutPrefix(ref, "refs/pull/"); ok {
		e.PullRequest, _, _ = strings.Cut(name, "/")
	}
	return e
}

func github(getenv func(string) string) Environment {
	return ofRef(getenv("GITHUB_REF"), getenv("GITHUB_SHA"))
}

// gitlab reads the variables of GitLab, and of Woodpecker, which has the same names.
func gitlab(getenv func(string) string) Environment {
	e := Environment{
		Commit: getenv("CI_COMMIT_SHA"), Branch: getenv("CI_COMMIT_BRANCH"), Tag: getenv("CI_COMMIT_TAG"),
		PullRequest: cmp.Or(getenv("CI_MERGE_REQUEST_IID"), getenv("CI_COMMIT_PULL_REQUEST")), // the second is Woodpecker's, whose branch is then the one that the request is for
	}
	if e.Commit == "" {
		return Environment{}
	}
	return e
}

func azure(getenv func(string) string) Environment {
	return ofRef(getenv("BUILD_SOURCEBRANCH"), getenv("BUILD_SOURCEVERSION"))
}

// named reads the systems that have a variable for each.
func named(getenv func(string) string) Environment {
	first := func(names ...string) string {
		for _, n := range names {
			if v := getenv(n); v != "" && v != "false" {
				return v
			}
		}
		return ""
	}
	return Environment{
		Commit:      first("GIT_COMMIT", "CIRCLE_SHA1", "BUILDKITE_COMMIT", "BITBUCKET_COMMIT", "DRONE_COMMIT_SHA", "CI_COMMIT_SHA", "COMMIT_SHA", "TRAVIS_COMMIT"),
		Branch:      strings.TrimPrefix(first("CIRCLE_BRANCH", "BUILDKITE_BRANCH", "BITBUCKET_BRANCH", "DRONE_BRANCH", "TRAVIS_BRANCH", "BRANCH_NAME", "GIT_BRANCH"), "origin/"),
		Tag:         first("CIRCLE_TAG", "BUILDKITE_TAG", "BITBUCKET_TAG", "DRONE_TAG", "TRAVIS_TAG", "TAG_NAME"),
		PullRequest: first("CHANGE_ID", "BUILDKITE_PULL_REQUEST", "BITBUCKET_PR_ID", "DRONE_PULL_REQUEST", "TRAVIS_PULL_REQUEST"),
	}
}

// Complete adds what the CI system says to the facts about a commit that is checked out without a branch; that it is of a pull request counts with a branch, too. What is about another commit is not believed: it returns a text for people then.
func (f *Facts) Complete(e Environment) (warning string) {
	if f.Branch != "" || e == (Environment{}) {
		// Woodpecker and others check a request out on the branch that it is for: what somebody proposes must not get that branch's name.
		if e.PullRequest != "" && strings.EqualFold(e.Commit, f.Commit) {
			f.PullRequest = e.PullRequest
		}
		return ""
	}
	if e.Commit != "" && !strings.EqualFold(e.Commit, f.Commit) {
		return "the CI system builds " + cut(clean(e.Commit), longHash) + ", and " + cut(f.Commit, longHash) + " is checked out: its branch and tag are left out"
	}
	f.Branch, f.PullRequest = e.Branch, e.PullRequest
	if e.Tag != "" && !slices.Contains(f.Tags, e.Tag) {
		f.Tags = append(f.Tags, e.Tag)
	}
	return ""
}
