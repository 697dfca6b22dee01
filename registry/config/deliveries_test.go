package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/events"
	"github.com/camada/camada/registry/webhook"
)

const deliveriesText = `
url: https://registry.example.org
webhooks:
  - name: ci
    url: https://ci.example.org/hook
    repositories: ["team/**"]
    tags: "v*"
    events: [push, tag]
    format: cloudevents-binary
    headers:
      - {name: authorization, file: ci.token}
      - {name: X-Team, value: a}
    secret: ci.secret
    authorities: ca.pem
    timeout: 3s
    give-up: 1d
  - {name: old, url: "http://old.example.org/", format: docker}
replication:
  - name: backup
    registry: https://backup.example.org:5000
    to: mirror/{repository}
    repositories: [team/**]
    tags: ["v*", latest]
    deletions: true
    credentials: backup.json
    authorities: ca.pem
    insecure: true
    every: 0s
    give-up: 10d
  - {name: edge, registry: edge.example.org, username: robot, password: edge.password, authorities: [a.pem, b.pem]}
`

func TestParseDeliveries(t *testing.T) {
	c, err := Parse([]byte(deliveriesText), "/etc/camada")
	if err != nil {
		t.Fatal(err)
	}
	w := c.Webhooks[0]
	if w.Name != "ci" || w.URL != "https://ci.example.org/hook" || w.Format != webhook.Binary || w.Secret != "/etc/camada/ci.secret" || !slices.Equal(w.Authorities, []string{"/etc/camada/ca.pem"}) ||
		w.Timeout != 3*time.Second || w.GiveUp != 24*time.Hour ||
		!slices.Equal(w.Headers, []webhook.Header{{Name: "Authorization", File: "/etc/camada/ci.token"}, {Name: "X-Team", Value: "a"}}) {
		t.Errorf("%+v", w)
	}
	for _, tc := range []struct {
		hook int
		e    events.Event
		want bool
	}{
		{0, events.Event{Kind: events.Push, Repository: "team/app", Tags: []string{"latest", "v1"}}, true},
		{0, events.Event{Kind: events.Push, Repository: "team/app", Tags: []string{"latest"}}, false},
		{0, events.Event{Kind: events.Push, Repository: "team/app"}, false},
		{0, events.Event{Kind: events.Delete, Repository: "team/app", Tags: []string{"v1"}}, false},
		{0, events.Event{Kind: events.Tag, Repository: "other", Tags: []string{"v1"}}, false},
		{1, events.Event{Kind: events.Rollback, Repository: "other"}, true},
		{1, events.Event{Kind: events.Tag, Repository: "other"}, false},
	} {
		got, ok := c.Webhooks[tc.hook].Wants(tc.e)
		if ok != tc.want || tc.hook == 0 && ok && !slices.Equal(got.Tags, []string{"v1"}) {
			t.Errorf("%d wants of %+v: %+v, %v", tc.hook, tc.e, got, ok)
		}
	}
	want := Replication{Name: "backup", Host: "backup.example.org:5000", Scheme: "https", To: "mirror/{repository}", Repositories: []string{"team/**"}, Tags: []string{"v*", "latest"},
		Deletions: true, Credentials: "/etc/camada/backup.json", Insecure: true, GiveUp: 10 * 24 * time.Hour}
	got := c.Replication[0]
	if !slices.Equal(got.Tags, want.Tags) || got.Destination("team/app") != "mirror/team/app" || !got.Wants("team/app", "v1") || got.Wants("team/app", "x") || got.Wants("app", "v1") {
		t.Errorf("%+v", got)
	}
	got.Repositories, got.Tags, want.Repositories, want.Tags = nil, nil, nil, nil
	if got.Host != want.Host || got.Scheme != want.Scheme || got.Credentials != want.Credentials || got.Every != 0 || got.GiveUp != want.GiveUp || !got.Deletions || !got.Insecure {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := c.Replication[1]; got.Scheme != "" || got.To != "{repository}" || got.Every != defaultEvery || !got.Wants("a/b", "c") || got.Deletions ||
		got.Username != "robot" || got.PasswordFile != "/etc/camada/edge.password" || !slices.Equal(got.Authorities, []string{"/etc/camada/a.pem", "/etc/camada/b.pem"}) {
		t.Errorf("%+v", got)
	}
}

func TestParseDeliveriesRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"webhooks: [{url: 'http://a/'}]":                                                          "webhooks[0]: name is missing",
		"webhooks: [{name: 'a b', url: 'http://a/'}]":                                             "webhooks[0].name: want a word",
		"webhooks: [{name: a, url: 'http://u:hunter2@a/'}]":                                       "webhooks[0].url: want http://HOST/PATH",
		"webhooks: [{name: a, url: 'ftp://a/'}]":                                                  "want http://HOST/PATH",
		"webhooks: [{name: a}]":                                                                   "want http://HOST/PATH",
		"webhooks: [{name: a, url: 'http://a/', format: xml}]":                                    "format: want cloudevents",
		"webhooks: [{name: a, url: 'http://a/', events: pull}]":                                   `events: "pull": want push`,
		"webhooks: [{name: a, url: 'http://a/', format: docker, events: tag}]":                    "docker has no event tag",
		"webhooks: [{name: a, url: 'http://a/', headers: [{name: X, value: a, file: b}]}]":        "headers[0]: want a value, or",
		"webhooks: [{name: a, url: 'http://a/', headers: [{name: X}]}]":                           "headers[0]: want a value, or",
		"webhooks: [{name: a, url: 'http://a/', headers: [{name: 'X:', value: a}]}]":              "want the name of a header",
		"webhooks: [{name: a, url: 'http://a/', headers: [{name: X, value: \"a\\nb: c\"}]}]":      "want one line",
		"webhooks: [{name: a, url: 'http://a/', retries: 3}]":                                     "there is no such key",
		"webhooks: [{name: a, url: 'http://a/', repositories: 'a['}]":                             "pattern",
		"webhooks: [{name: a, url: 'http://a/'}, {name: a, url: 'http://b/'}]":                    "two of the name a",
		"replication: [{registry: a.example}]":                                                    "name is missing",
		"replication: [{name: a}]":                                                                "registry: want HOST",
		"replication: [{name: a, registry: a.example/path}]":                                      "registry: want HOST",
		"replication: [{name: a, registry: 'ssh://a.example'}]":                                   "registry: want HOST",
		"replication: [{name: a, registry: a.example, to: one}]":                                  "several repositories would become one",
		"replication: [{name: a, registry: a.example, to: 'X/{repository}'}]":                     "want the name of a repository",
		"replication: [{name: a, registry: a.example, every: soon}]":                              "want a time like",
		"replication: [{name: a, registry: a.example}, {name: a, registry: b.example:5000}]":      "two of the name a",
		"replication: [{name: a, registry: a.example, tags: []}]":                                 "tags is missing",
		"replication: [{name: a, registry: a.example, repositories: x, to: y, password: hun}]":    "want both username and password",
		"replication: [{name: a, registry: a.example, username: u, password: p, credentials: c}]": "want either username or credentials",
		"replication: [{name: a, registry: a.example, token: hunter2}]":                           "there is no such key",
	} {
		_, err := Parse([]byte(text), "/")
		if err == nil || !strings.Contains(err.Error(), want) || !errdefs.IsInvalid(err) {
			t.Errorf("%s: %v, want %q in it", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the secret is told: %v", err)
		}
	}
	// One repository may have any name there.
	if _, err := Parse([]byte("replication: [{name: a, registry: a.example, repositories: x/y, to: z}]"), "/"); err != nil {
		t.Error(err)
	}
}
