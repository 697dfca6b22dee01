package attest

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// BuildType is the URI of how builds are described; the page says what each parameter means.
const BuildType = "https://github.com/camada/camada/blob/main/docs/provenance.md#build-v1"

// BuilderID is the URI of the program that built.
const BuilderID = "https://github.com/camada/camada"

// Provenance is the predicate of SLSA provenance v1.
type Provenance struct {
	BuildDefinition BuildDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// BuildDefinition is what was asked for, and what was read for it.
type BuildDefinition struct {
	BuildType            string     `json:"buildType"`
	ExternalParameters   External   `json:"externalParameters"`
	InternalParameters   Internal   `json:"internalParameters"`
	ResolvedDependencies []Resource `json:"resolvedDependencies"`
}

// External is what the user asked for.
type External struct {
	// Frontend is the language: dockerfile.
	Frontend string `json:"frontend"`
	// Dockerfile is its name as messages have it.
	Dockerfile string `json:"dockerfile"`
	// Source is the context when it is a remote one, without credentials.
	Source string `json:"source,omitempty"`
	// NamedContexts are the addresses of remote ones; others are "local".
	NamedContexts map[string]string `json:"namedContexts,omitempty"`
	Target        string            `json:"target,omitempty"`
	Platform      string            `json:"platform"`
	Args          map[string]string `json:"args,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
	// HiddenArgs are the names of arguments whose values are left out: they look like secrets.
	HiddenArgs []string `json:"hiddenArgs,omitempty"`
	// Secrets and SSH are the IDs of what steps could use; their values are nowhere.
	Secrets []string `json:"secrets,omitempty"`
	SSH     []string `json:"ssh,omitempty"`
	NoCache bool     `json:"noCache,omitempty"`
}

// Internal is what the builder chose.
type Internal struct {
	// SourceDateEpoch is the time that stands for the build, in seconds since 1970.
	SourceDateEpoch int64  `json:"sourceDateEpoch"`
	BuilderPlatform string `json:"builderPlatform"`
	// DockerfileText and Steps are there with mode=max.
	DockerfileText string `json:"dockerfileText,omitempty"`
	Steps          []Step `json:"steps,omitempty"`
}

// Step is one step of the build.
type Step struct {
	Name string `json:"name"`
	// Line and EndLine are the place in the Dockerfile.
	Line    int `json:"line,omitempty"`
	EndLine int `json:"endLine,omitempty"`
	// Inputs are the steps that it reads, by their place in the list.
	Inputs []int `json:"inputs,omitempty"`
	// DiffID is of the layer that it made.
	DiffID digest.Digest `json:"diffID,omitempty"`
	// Definition is what the step does, as the cache knows it.
	Definition string `json:"definition,omitempty"`
}

// Resource is something that was read (in-toto, resource_descriptor.md).
type Resource struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      DigestSet         `json:"digest,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// RunDetails is who built, and when.
type RunDetails struct {
	Builder  Builder   `json:"builder"`
	Metadata *Metadata `json:"metadata,omitempty"`
}

// Builder is the program.
type Builder struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version,omitempty"`
}

// Metadata is of one run. A build with a fixed epoch has none, so that its provenance is the same each time.
type Metadata struct {
	InvocationID string     `json:"invocationId,omitempty"`
	StartedOn    *time.Time `json:"startedOn,omitempty"`
	FinishedOn   *time.Time `json:"finishedOn,omitempty"`
	// BuildKit is what the tools of Docker look for, under the name that BuildKit gave it.
	BuildKit *BuildKitMetadata `json:"buildkit_metadata,omitempty"`
}

// BuildKitMetadata is the extension of BuildKit's provenance.
type BuildKitMetadata struct {
	VCS *VCS `json:"vcs,omitempty"`
}

// VCS is where the context is from: the address of the repository without credentials, and the commit. Of a work tree the
// commit is the one that is checked out; the files may have been changed since.
type VCS struct {
	Source   string `json:"source,omitempty"`
	Revision string `json:"revision,omitempty"`
}

// GitURI is the address of a git repository at a ref, as SLSA provenance has it: git+https://host/path@refs/heads/main, without credentials. ref may be "".
// It is "" for what is not on another machine.
func GitURI(remote, ref string) string {
	if !strings.Contains(remote, "://") {
		host, path, ok := strings.Cut(remote, ":") // user@host:path
		if !ok || strings.Contains(host, "/") {
			return ""
		}
		remote = "ssh://" + host + "/" + strings.TrimPrefix(path, "/")
	}
	u, err := url.Parse(remote)
	if err != nil || u.Host == "" || !slices.Contains([]string{"https", "http", "ssh", "git"}, u.Scheme) {
		return ""
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
	uri := "git+" + u.String()
	if u.Scheme == "git" {
		uri = u.String()
	}
	if ref != "" {
		uri += "@" + ref
	}
	return uri
}

// Scrub takes from the address of a remote source what can be a credential: the user, and the query. What is no
// URL, such as git@host:path, loses what stands before an @.
func Scrub(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" || u.Host == "" {
		head, rest, ok := strings.Cut(address, "@")
		if ok && !strings.Contains(head, "/") {
			return rest
		}
		return address
	}
	u.User, u.RawQuery, u.ForceQuery = nil, "", false
	return u.String()
}

// ImagePURL is the package URL of an image (purl-spec, docker and oci types are by name; this is the one that BuildKit writes).
func ImagePURL(name string, d digest.Digest, platform string) string {
	name, _, _ = strings.Cut(name, "@")
	tag := ""
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, tag = name[:i], name[i+1:]
	}
	name = strings.TrimPrefix(strings.TrimPrefix(name, "docker.io/library/"), "docker.io/")
	s := "pkg:docker/" + name
	if tag != "" {
		s += "@" + url.PathEscape(tag)
	}
	q := url.Values{}
	if d != "" {
		q.Set("digest", d.String())
	}
	if platform != "" {
		q.Set("platform", platform)
	}
	if len(q) > 0 {
		s += "?" + q.Encode()
	}
	return s
}
