// Package citag names what a CI system builds, by one scheme, from what git knows of the commit.
//
//	facts.Complete(citag.FromEnvironment(os.Getenv))   // of a commit without a branch
//	scheme := citag.Plan(facts, tagsThatThereAre)
//	scheme.Tags          // 1.2.3, sha-4f2a90c1d7e0, 1.2, 1, latest
//	scheme.Annotations   // org.opencontainers.image.version, revision, created, source, ref.name
//
// It is pure: what git says, which tags there are and the environment are given. Nothing depends on the clock, so that a build that is done again is named as the first.
package citag

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/camada/camada/internal/semver"
	"github.com/camada/camada/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Facts are what is known of what is built.
type Facts struct {
	// Commit is whole, in hexadecimal digits; Time is when it was committed.
	Commit string
	Time   time.Time
	// Branch is without refs/heads/, "" for none. PullRequest is the number of a pull or merge request, "" for none.
	Branch, PullRequest string
	// Tags are git's tags of the commit, All those of the repository, Last is the tag of the highest version that leads to the commit; "" for none.
	Tags, All []string
	Last      string
	// Distance is how many commits came since Last, or since the beginning.
	Distance int
	// Dirty tells that files which git knows are not as they are in the commit.
	Dirty bool
	// Shallow tells that the clone lacks history, so that Last and Distance may be wrong.
	Shallow bool
	// Source is where the repository is, without credentials; "" when it is not known.
	Source string
}

// The kinds of tags.
const (
	Release  = "release"  // 1.2.3 or 1.2.3-rc.1, which never moves
	Alias    = "alias"    // 1.2, 1, latest
	Branch   = "branch"   // main, pr-12
	Snapshot = "snapshot" // 1.2.3-5-g4f2a90c
	Commit   = "commit"   // sha-4f2a90c1d7e0
)

// Tag is a name that the image gets.
type Tag struct{ Name, Kind string }

// Scheme is what follows from the facts.
type Scheme struct {
	// Version is the image's, e.g. 1.2.3 or 1.2.3-5-g4f2a90c; "" when none can be told.
	Version string
	// Tags in the order in which they are to be set: what never moves comes first.
	Tags []Tag
	// Annotations of the image-spec.
	Annotations map[string]string
	// Warnings are for people.
	Warnings []string
}

const (
	shortHash = 7  // as git describe has it
	longHash  = 12 // of sha-
	dirty     = "-dirty"
	maxTag    = 128 // characters, by the distribution-spec
)

// Plan names a build. known are the tags that the image's repository has: aliases go to the highest version among them and git's.
func Plan(f Facts, known []string) Scheme {
	var s Scheme
	add := func(name, kind string) {
		if reference.ValidTag(name) {
			s.Tags = append(s.Tags, Tag{name, kind})
		}
	}
	version, tag, released := highest(f.Tags)
	ref := f.Branch
	switch {
	case released && !f.Dirty:
		ref = tag
		s.Version = name(tag)
		add(asTag(s.Version), Release)
		add("sha-"+cut(f.Commit, longHash), Commit)
		for _, a := range aliases(version, append(append([]string{}, known...), f.All...)) {
			add(a, Alias)
		}
	default:
		s.snapshot(&f, add)
	}
	s.Annotations = annotations(&f, s.Version, ref)
	return s
}

// snapshot names what is no release.
func (s *Scheme) snapshot(f *Facts, add func(name, kind string)) {
	end, last := "", f.Last
	if f.Dirty {
		end = dirty
	}
	if v, tag, ok := highest(f.Tags); ok && v.Compare(versionOf(last)) >= 0 {
		last, f.Distance = tag, 0
	}
	if last == "" && f.Shallow {
		s.Warnings = append(s.Warnings, "the clone has no history and no version, so none is told: clone all of it (fetch-depth: 0, GIT_DEPTH: 0)")
	} else {
		base, which := cmp.Or(name(last), "0.0.0"), fmt.Sprintf("-%d-g%s%s", f.Distance, cut(f.Commit, shortHash), end)
		s.Version = base + which
		add(fit(asTag(base), which), Snapshot)
	}
	if !f.Dirty { // what is built from other files than the commit's does not bear its name
		add("sha-"+cut(f.Commit, longHash), Commit)
	}
	switch {
	case f.PullRequest != "":
		add(fit("pr-"+clean(f.PullRequest), end), Branch)
	case f.Branch != "":
		add(branchTag(f.Branch, end), Branch)
	}
}

// versionOf is the version of a tag of git; zero for none.
func versionOf(tag string) semver.Version {
	v, _ := semver.ParseWhole(tag)
	return v
}

// Highest is the tag of the highest version; "" when none of them is one.
func Highest(tags []string) string {
	_, tag, _ := highest(tags)
	return tag
}

func highest(tags []string) (best semver.Version, tag string, ok bool) {
	for _, t := range tags {
		v, is := semver.ParseWhole(t)
		if is && (!ok || v.Compare(best) > 0 || v.Compare(best) == 0 && t < tag) {
			best, tag, ok = v, t, true
		}
	}
	return best, tag, ok
}

// name is a version without the v that tags of git have.
func name(tag string) string { return strings.TrimPrefix(tag, "v") }

// asTag writes a version as a tag, which has no plus: as Helm does.
func asTag(version string) string { return strings.ReplaceAll(version, "+", "_") }

// aliases are the names that a release takes over: those of which no higher release is known. A pre-release takes none, and 0 is no version that anybody should follow.
func aliases(v semver.Version, known []string) []string {
	if v.Pre() != "" {
		return nil
	}
	minor, major, latest := true, v.Major() > 0, true
	for _, t := range known {
		w, ok := semver.ParseWhole(strings.ReplaceAll(t, "_", "+"))
		if !ok || w.Pre() != "" || w.Compare(v) <= 0 {
			continue
		}
		latest = false
		if w.Major() == v.Major() {
			major = false
			minor = minor && w.Minor() != v.Minor()
		}
	}
	var out []string
	if minor {
		out = append(out, fmt.Sprintf("%d.%d", v.Major(), v.Minor()))
	}
	if major {
		out = append(out, fmt.Sprint(v.Major()))
	}
	if latest {
		out = append(out, reference.DefaultTag)
	}
	return out
}

// branchTag is the tag of a branch. One that could be taken for a version or another tag of the scheme says that it is a branch.
func branchTag(branch, end string) string {
	tag := clean(branch)
	_, isVersion := semver.Parse(strings.ReplaceAll(tag, "_", "+")) // 1.2.3_4 is the tag of the release 1.2.3+4
	for _, p := range []string{"sha-", "pr-", "branch-"} {
		isVersion = isVersion || strings.HasPrefix(tag, p)
	}
	if isVersion || tag == reference.DefaultTag || !reference.ValidTag(fit(tag, "")) {
		tag = "branch-" + tag
	}
	return fit(tag, end)
}

// clean makes of a name what a tag may have: each run of other characters is a dash.
func clean(s string) string {
	var b strings.Builder
	dash := false
	for _, r := range s {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '.' || r == '-') {
			b.WriteRune(r)
			dash = false
			continue
		}
		if !dash {
			b.WriteByte('-')
		}
		dash = true
	}
	return strings.Trim(b.String(), "-.")
}

// fit is a tag with its end, in the length that one may have: the end tells what it is not (that it is dirty, of which commit), so never that is cut.
func fit(tag, end string) string { return cut(tag, maxTag-len(end)) + end }

func cut(s string, n int) string { return s[:min(len(s), n)] }

// annotations are those of the image-spec (annotations.md).
func annotations(f *Facts, version, ref string) map[string]string {
	out := map[string]string{
		ocispec.AnnotationRevision: f.Commit,
		ocispec.AnnotationCreated:  f.Time.UTC().Format(time.RFC3339),
	}
	if f.Dirty {
		out[ocispec.AnnotationRevision] += dirty
	}
	for key, value := range map[string]string{ocispec.AnnotationVersion: version, ocispec.AnnotationSource: f.Source, ocispec.AnnotationRefName: ref} {
		if value != "" {
			out[key] = value
		}
	}
	return out
}
