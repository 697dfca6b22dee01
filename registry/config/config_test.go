package config

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/access"
	"github.com/camada/camada/registry/oidc"
)

const whole = `
listen: 0.0.0.0:443
data: data
url: https://registry.example.org
proxies: [10.0.0.1, 192.168.0.0/16]
redirect: true
audit: log/audit
s3: {endpoint: "https://s3.example.org", region: eu-1, bucket: registry, prefix: a/b, virtual: true}
tls: {certificate: /etc/cert.pem, key: key.pem}
users: htpasswd
robots:
  - name: robot$ci
    secret: sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    expires: 2030-01-31
issuers:
  - name: github
    url: https://token.actions.githubusercontent.com
    audience: registry.example.org
    match: {repository: [acme/*, other/app], ref: refs/heads/main}
    user: "{repository}"
  - {name: kube, url: "https://kubernetes.default.svc", keys: kube.json, ca: ca.crt, credential: /run/token, audience: [a, b], algorithms: [RS256], match: {/kubernetes.io/namespace: ci}, prefix: ""}
tokens: {off: false, key: token.key, service: reg, life: 10m, refresh: 90d}
rules:
  - repositories: [team/**, "home/{user}/**"]
    users: [alice, "robot$ci"]
    actions: [pull, push]
  - {repositories: "**", users: anonymous, actions: pull}
immutable:
  - {repositories: "**", tags: "v[0-9]*"}
limits: {blob: 10GiB, patience: 30s, rate: 50, burst: 200, uploads: 8, rates: [{repositories: "**", users: anonymous, actions: pull, count: 100, every: 6h}]}
traces: {endpoint: "http://c:4318/v1/traces", ratio: 0.1}
sweep: {every: 12h, grace: 2h, history: 90d, untagged: 30d, uploads: 1d}
cache:
  - {host: docker.io, plain: "library/**", credentials: auth.json, fresh: 5m, unused: 30d, size: 10GB, mirrors: ["https://mirror.example.org/hub"]}
  - {host: "reg.example.org:5000", prefix: reg, upstream: "https://10.0.0.1", username: u, password: pw, authorities: ca.pem, absent: 0s}
quotas:
  - {repositories: "team/**", size: 50GiB, tags: 1000, manifests: 5000}
  - {repositories: ["home/*/**"], each: true, size: 1GB}
retention:
  - {repositories: "team/**", tags: "v*", keep: {tags: [latest, "v*.0"], versions: 10, newest: 5, moved: 30d, pulled: 90d}}
`

func TestParse(t *testing.T) {
	c, err := Parse([]byte(whole), "/etc/camada")
	if err != nil {
		t.Fatal(err)
	}
	if c.Addr != "0.0.0.0:443" || c.Data != "/etc/camada/data" || c.Cert != "/etc/cert.pem" || c.Key != "/etc/camada/key.pem" || c.Users != "/etc/camada/htpasswd" || !c.Redirect || c.Audit != "/etc/camada/log/audit" || len(c.Proxies) != 2 {
		t.Errorf("top: %+v", c)
	}
	if c.S3 != (S3{"https://s3.example.org", "eu-1", "registry", "a/b", true}) {
		t.Errorf("s3: %+v", c.S3)
	}
	if r := c.Robots[0]; r.Name != "robot$ci" || r.Expires.Year() != 2030 {
		t.Errorf("robot: %+v", r)
	}
	if len(c.Issuers) != 2 || !reflect.DeepEqual(c.Issuers[0], oidc.Issuer{Name: "github", URL: "https://token.actions.githubusercontent.com", Audiences: []string{"registry.example.org"},
		Match: []oidc.Condition{{Claim: "ref", Patterns: []string{"refs/heads/main"}}, {Claim: "repository", Patterns: []string{"acme/*", "other/app"}}}, User: "{repository}", Prefix: "github:"}) {
		t.Errorf("issuers: %+v", c.Issuers)
	}
	if k := c.Issuers[1]; k.Keys != "/etc/camada/kube.json" || k.CA != "/etc/camada/ca.crt" || k.Credential != "/run/token" || k.Prefix != "" || k.Match[0].Claim != "/kubernetes.io/namespace" {
		t.Errorf("issuer: %+v", k)
	}
	if c.Tokens.Life != 10*time.Minute || c.Tokens.Refresh != 90*24*time.Hour || c.Tokens.KeyFile != "/etc/camada/token.key" || c.Tokens.Service != "reg" {
		t.Errorf("tokens: %+v", c.Tokens)
	}
	if len(c.Rules) != 2 || c.Rules[0].Actions != access.Pull|access.Push || !c.Rules.Allow("alice", "home/alice/x", access.Push) || !c.Rules.Allow("", "x/y", access.Pull) {
		t.Errorf("rules: %+v", c.Rules)
	}
	if !c.IsImmutable("a/b", "v1.2") || c.IsImmutable("a/b", "latest") {
		t.Errorf("immutable: %+v", c.Immutable)
	}
	if !reflect.DeepEqual(c.Limits, Limits{Blob: 10 << 30, Patience: 30 * time.Second, Rate: 50, Burst: 200, Uploads: 8,
		Rates: []access.Limit{{Repositories: []string{"**"}, Users: []string{"anonymous"}, Actions: access.Pull, Count: 100, Every: 6 * time.Hour}}}) {
		t.Errorf("limits: %+v", c.Limits)
	}
	if c.Traces != (Traces{"http://c:4318/v1/traces", 0.1}) {
		t.Errorf("traces: %+v", c.Traces)
	}
	if c.Sweep.Every != 12*time.Hour || c.Sweep.Log != 90*24*time.Hour || c.Sweep.Uploads != 24*time.Hour {
		t.Errorf("sweep: %+v", c.Sweep)
	}
	if len(c.Cache) != 2 {
		t.Fatalf("cache: %+v", c.Cache)
	}
	if h := c.Cache[0]; h.Prefix != "docker.io" || h.Fresh != 5*time.Minute || h.Absent != defaultAbsent || h.Unused != 30*24*time.Hour || h.Size != 10e9 ||
		h.Credentials != "/etc/camada/auth.json" || h.Mirrors[0].Host != "mirror.example.org" || h.Mirrors[0].Path != "hub" || h.Plain[0] != "library/**" {
		t.Errorf("cache: %+v", h)
	}
	if h := c.Cache[1]; h.Prefix != "reg" || h.Upstream.Host != "10.0.0.1" || h.PasswordFile != "/etc/camada/pw" || h.Authorities[0] != "/etc/camada/ca.pem" || h.Fresh != defaultFresh || h.Absent != 0 {
		t.Errorf("cache: %+v", h)
	}
	if q := c.Quotas; len(q) != 2 || q[0].Allowed.Bytes != 50<<30 || q[0].Allowed.Tags != 1000 || q[0].Allowed.Manifests != 5000 || q[0].Each || !q[1].Each {
		t.Errorf("quotas: %+v", q)
	}
	if r := c.Retention; len(r) != 1 || r[0].Tags[0] != "v*" || len(r[0].Keep) != 2 || r[0].Versions != 10 || r[0].Newest != 5 || r[0].Moved != 30*24*time.Hour || r[0].Pulled != 90*24*time.Hour {
		t.Errorf("retention: %+v", r)
	}
	if c, err := Parse(nil, "/"); err != nil || c.Protected() || c.Sweep.Every != defaultSweep {
		t.Errorf("nothing: %+v, %v", c, err)
	}
	if c, err := Parse([]byte("sweep: {every: 0s}"), "/"); err != nil || c.Sweep.Every != 0 {
		t.Errorf("no sweeps: %+v, %v", c, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"a: 1":                   "line 1: a: there is no such key",
		"tls:\n  certificate: x": "line 1: tls: want both",
		"tls:\n  certificat: x":  "line 2: tls.certificat: there is no such key",
		"\nlimits: {rate: -1}":   "line 2: limits.rate: want a number",
		"limits: {rates: [{repositories: a, users: b, actions: pull, count: 1}]}":             "every is missing",
		"limits: {rates: [{repositories: a, users: b, actions: admin, count: 1, every: 1m}]}": "limits.rates[0].actions: want pull, push or delete",
		"limits: {rates: [{repositories: a, actions: pull}]}":                                 "users is missing",
		"traces: {ratio: 2}":          "line 1: traces.ratio: want a number from 0 to 1",
		"limits: {blob: 10XB}":        "limits.blob: want a size",
		"s3: {region: x}":             "line 1: s3: bucket is missing",
		"s3: {bucket: b, prefix: /x}": "want a folder",
		"limits: 1":                   "limits: want a map",
		"sweep: {grace: soon}":        "want a time like",
		"rules: [{}]":                 "repositories is missing",
		"rules:\n - a":                "line 2: rules[0]: want a map",
		"users: x\nrules:\n - {repositories: a, users: b, actions: [fly]}":                                                                "fly",
		"rules: [{repositories: a, users: b, actions: pull}]":                                                                             "there are no users",
		"robots: [{name: a, secret: plain}]":                                                                                              "neither of bcrypt nor",
		"robots: [{secret: x, expires: tomorrow}]":                                                                                        "want a date",
		"immutable: [{repositories: 'a[', tags: x}]":                                                                                      "immutable[0].repositories: pattern",
		"issuers:\n  - {name: a, url: 'http://example.org', audience: x, match: {sub: x}}":                                                "line 2: issuers[0]: url: want https://",
		"issuers: [{name: a, url: 'https://x', match: {sub: x}}]":                                                                         "audience is missing",
		"issuers: [{name: a, url: 'https://x', audience: x}]":                                                                             "match is missing",
		"issuers: [{name: 'a:b', url: 'https://x', audience: x, match: {sub: x}}]":                                                        "name: want a short name",
		"issuers: [{name: a, url: 'https://x', audience: x, match: {sub: x}, algorithms: HS256}]":                                         "algorithms: \"HS256\" is none of",
		"issuers: [{name: a, url: 'https://x', audience: x, match: {sub: x}, algorithms: none}]":                                          "is none of",
		"issuers: [{name: a, url: 'https://x', audience: x, match: {sub: x}, user: '{'}]":                                                 "user: want {CLAIM}",
		"issuers: [{name: a, url: 'https://x', keys: 'http://x/k', audience: x, match: {sub: x}}]":                                        "keys: want https://",
		"issuers: [{name: a, url: 'https://x', audience: x, match: {sub: 'a['}}]":                                                         "issuers[0].match.sub: pattern",
		"issuers: [{name: a, url: 'https://x', audience: x, match: {sub: x}}, {name: a, url: 'https://y', audience: x, match: {sub: x}}]": "is there twice",
		"url: registry.example.org":                                                                                                       "url: want http",
		"proxies: [x]":                                                                                                                    "neither an address nor a network",
		"quotas: [{repositories: a}]":                                                                                                     "want size, manifests or tags",
		"quotas: [{size: 1GB}]":                                                                                                           "repositories is missing",
		"retention: [{repositories: a, keep: {}}]":                                                                                        "keep is missing",
		"retention: [{repositories: a, keep: {newst: 1}}]":                                                                                "there is no such key",
		"redirect: maybe":          "want true or false",
		"- a":                      "want a map",
		"a: 1\n---\nb: 1":          "more than one document",
		"a: [":                     "line 1",
		"cache: [{prefix: a}]":     "host is missing",
		"cache: [{host: 'a.b:5'}]": "name another one",
		"cache: [{host: a.b, upstream: 'ftp://x'}]":        "want https://HOST",
		"cache: [{host: a.b, mirrors: ['https://u:p@x']}]": "want https://HOST",
		"cache: [{host: a.b}, {host: c.d, prefix: a.b}]":   "another one's",
		"cache: [{host: a.b, username: x}]":                "want both username and password",
	} {
		_, err := Parse([]byte(text), "/")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", text, err, want)
		}
		if err != nil && !errdefs.IsInvalid(err) {
			t.Errorf("%q: %v is of another class", text, err)
		}
	}
	// All that is wrong is told at once, and no secret is.
	_, err := Parse([]byte("robots: [{name: a, secret: hunter2}]\nx: 1\ny: 2\n"), "/")
	for _, s := range []string{"line 1", "line 2", "line 3"} {
		if err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("%v, want %s in it", err, s)
		}
	}
	if err != nil && strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the secret is told: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(deliveriesText))
	f.Add([]byte("rules: [{repositories: [a, 1], users: {a: b}}]\nlimits: {blob: 1e99}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data, "/d")
		if err == nil && (c.Limits.Blob < 0 || c.Sweep.Every < 0 || len(c.Rules) > 0 && !c.Protected()) {
			t.Errorf("%+v", c)
		}
	})
}
