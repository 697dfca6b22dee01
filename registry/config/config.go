// Package config reads how a registry is served, from YAML.
//
//	cfg, err := config.Parse(data, filepath.Dir(file))
//
// Keys are strict: one that is not known is an error, and all errors are told at once, with their lines. Every key may be left out;
// docs/registry.md has them all.
package config

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/internal/pattern"
	"github.com/camada/camada/internal/yamltree"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/access"
	"github.com/camada/camada/registry/oidc"
	"github.com/camada/camada/registry/quota"
	"github.com/camada/camada/registry/retain"
)

// Config is how a registry is served. Paths are absolute when the directory that was given to Parse is.
type Config struct {
	// Addr is HOST:PORT; "" when it is not said.
	Addr string
	// Data is the directory of the data; "" when it is not said.
	Data string
	// S3 is an object store that has the data instead; no Bucket is none.
	S3 S3
	// URL is where clients reach the registry; "" takes it from each request.
	URL string
	// Cert and Key are files in PEM; "" is plain HTTP.
	Cert, Key string
	// Users is a file as htpasswd makes it.
	Users  string
	Robots []access.Robot
	// Issuers are others whose tokens are believed.
	Issuers []oidc.Issuer
	Tokens  Tokens
	Rules   access.Rules
	// Immutable are the tags that never move.
	Immutable []Tags
	// Proxies are believed what they say of clients.
	Proxies []netip.Prefix
	Limits  Limits
	Sweep   Sweep
	// Audit is a file that gets a line for each change; "" is none.
	Audit string
	// Traces says where traces go.
	Traces Traces
	// Redirect sends clients to where blobs lie, when the storage can tell.
	Redirect bool
	// Policy is a file with rules for images; "" is none.
	Policy string
	// Webhooks are told what changes, and Replication are registries that get it.
	Webhooks    []Webhook
	Replication []Replication
	// Cache are the registries that copies are kept of.
	Cache []Cache
	// Quotas are what repositories may hold, Retention which tags are kept.
	Quotas    []quota.Limit
	Retention []retain.Rule
}

// S3 is an object store, see package s3.
type S3 struct {
	Endpoint, Region, Bucket, Prefix string
	// Virtual puts the bucket into the host's name.
	Virtual bool
}

// Traces says where traces go, more than the environment does.
type Traces struct {
	// Endpoint is a collector's whole address; "" is what the environment says.
	Endpoint string
	// Ratio is which part is sent, from 0 to 1; a negative one is what the environment says.
	Ratio float64
}

// Tokens says how tokens are made.
type Tokens struct {
	// Off asks for name and password with each request.
	Off bool
	// KeyFile has the key that signs; "" is one in the directory of the data.
	KeyFile string
	Service string
	Life    time.Duration
	Refresh time.Duration
}

// Tags are tags in repositories, by patterns.
type Tags struct {
	Repositories, Tags []string
}

// Limits of what clients send.
type Limits struct {
	Blob     int64
	Patience time.Duration
	Rate     float64
	Burst    int
	// Uploads is how many bodies of blobs one client may send at once.
	Uploads int
	// Rates are of manifests.
	Rates []access.Limit
}

// defaultSweep is how often a sweep runs when the text does not say it.
const defaultSweep = 24 * time.Hour

// Sweep says when sweeps run, and what they keep. An Every of 0 is never.
type Sweep struct {
	Every time.Duration
	registry.SweepOptions
}

// Protected reports whether somebody has to prove who he is for something.
func (c *Config) Protected() bool { return c.Users != "" || len(c.Robots) > 0 || len(c.Issuers) > 0 }

// IsImmutable reports whether a tag never moves.
func (c *Config) IsImmutable(repository, tag string) bool {
	for _, t := range c.Immutable {
		if pattern.Any(t.Repositories, repository) && pattern.Any(t.Tags, tag) {
			return true
		}
	}
	return false
}

// Parse reads a text; dir is where paths in it begin. Errors are of the class ErrInvalid.
func Parse(data []byte, dir string) (Config, error) {
	top, err := yamltree.Top(data)
	if err != nil {
		return Config{}, err
	}
	cfg := read(&section{top, dir})
	return cfg, top.Err()
}

// read reads the top.
func read(s *section) Config {
	c := Config{Addr: s.Text("listen"), Data: s.file("data"), URL: s.Text("url"), Proxies: s.networks("proxies"), Redirect: s.Flag("redirect"), Audit: s.file("audit"), Policy: s.file("policy")}
	if u, err := url.Parse(c.URL); c.URL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil) {
		s.Bad("url", "want http://HOST[:PORT] or https://HOST[:PORT]")
	}
	c.S3 = readS3(s.section("s3"))
	tls := s.section("tls")
	c.Cert, c.Key = tls.file("certificate"), tls.file("key")
	if (c.Cert == "") != (c.Key == "") {
		s.Bad("tls", "want both certificate and key")
	}
	tls.End()
	c.Users = s.file("users")
	for _, r := range s.sections("robots") {
		c.Robots = append(c.Robots, readRobot(r))
	}
	c.Issuers = readIssuers(s)
	t := s.section("tokens")
	c.Tokens = Tokens{Off: t.Flag("off"), KeyFile: t.file("key"), Service: t.Text("service"), Life: t.Duration("life"), Refresh: t.Duration("refresh")}
	t.End()
	for _, r := range s.sections("rules") {
		c.Rules = append(c.Rules, readRule(r))
	}
	for _, m := range s.sections("immutable") {
		c.Immutable = append(c.Immutable, Tags{Repositories: m.patterns("repositories"), Tags: m.patterns("tags")})
		m.End()
	}
	c.Traces = readTraces(s.section("traces"))
	c.Limits = readLimits(s.section("limits"))
	w := s.section("sweep")
	c.Sweep = Sweep{Every: w.Duration("every"), SweepOptions: registry.SweepOptions{Grace: w.Duration("grace"), Log: w.Duration("history"),
		Untagged: w.Duration("untagged"), Uploads: w.Duration("uploads")}}
	if w.Values["every"] == nil {
		c.Sweep.Every = defaultSweep
	}
	w.End()
	for i, r := range c.Robots {
		if r.Name == access.OutsideUser && len(c.Issuers) > 0 {
			s.Bad("robots["+strconv.Itoa(i)+"].name", "%s is the name that tokens of issuers are given with", access.OutsideUser)
		}
	}
	readDeliveries(s, &c)
	c.Cache = readCaches(s.sections("cache"))
	c.Quotas, c.Retention = readQuotas(s.sections("quotas")), readRetention(s.sections("retention"))
	if len(c.Rules) > 0 && !c.Protected() {
		s.Bad("rules", "there are no users: name a file in users, or robots, or issuers")
	}
	s.End()
	return c
}

func readS3(s *section) S3 {
	c := S3{Endpoint: s.Text("endpoint"), Region: s.Text("region"), Bucket: s.Text("bucket"), Prefix: s.Text("prefix"), Virtual: s.Flag("virtual")}
	if len(s.Values) > 0 && c.Bucket == "" {
		s.Bad(s.Path, "bucket is missing")
	}
	if strings.Trim(c.Prefix, "/") != c.Prefix {
		s.Bad(s.Sub("prefix"), "want a folder without slashes around it")
	}
	s.End()
	return c
}

func readRobot(s *section) access.Robot {
	r := access.Robot{Name: s.Text("name"), Hash: s.Text("secret"), Expires: s.Moment("expires")}
	if r.Name == "" {
		s.Bad(s.Path, "name is missing")
	}
	if err := access.CheckHash(r.Hash); err != nil {
		s.Bad(s.Sub("secret"), "%w", err)
	}
	s.End()
	return r
}

func readRule(s *section) access.Rule {
	r := readRuleKeys(s)
	s.End()
	return r
}

// readRuleKeys reads who does what where.
func readRuleKeys(s *section) access.Rule {
	r := access.Rule{Repositories: s.patterns("repositories"), Users: s.Texts("users")}
	if len(r.Users) == 0 {
		s.Bad(s.Path, `users is missing: names, "*" for all of them, or "anonymous" for everybody`)
	}
	actions := s.Texts("actions")
	var err error
	if r.Actions, err = access.ParseActions(actions); err != nil {
		s.Bad(s.Sub("actions"), "%w", err)
	} else if r.Actions == 0 {
		s.Bad(s.Path, "actions is missing: pull, push, delete, admin")
	}
	return r
}
