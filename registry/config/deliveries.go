package config

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/reference"
	"github.com/camada/camada/registry/access"
	"github.com/camada/camada/registry/events"
	"github.com/camada/camada/registry/webhook"
)

// Webhook is somebody who is told what changes.
type Webhook struct {
	webhook.Options
	// Repositories and Tags are patterns; no Tags are all, and manifests without a tag.
	Repositories, Tags []string
	Events             []events.Kind
	// GiveUp is after what time without an answer it is not told any more; 0 is the default.
	GiveUp time.Duration
}

// Wants is what a webhook is told of an event: with those of its tags that it wants. False is nothing.
func (w *Webhook) Wants(e events.Event) (events.Event, bool) {
	if !slices.Contains(w.Events, e.Kind) || !access.MatchAny(w.Repositories, e.Repository) {
		return e, false
	}
	if len(w.Tags) == 0 {
		return e, true
	}
	e.Tags = slices.DeleteFunc(slices.Clone(e.Tags), func(tag string) bool { return !access.MatchAny(w.Tags, tag) })
	return e, len(e.Tags) > 0
}

// Replication is a registry that gets what this one has.
type Replication struct {
	Name string
	// Host is the registry, as in names of images; Scheme is http or https, or "" to find out.
	Host, Scheme string
	// To is what a repository is called there: "{repository}" is its name here, "{name}" the last part of it.
	To string
	// Repositories and Tags are patterns.
	Repositories, Tags []string
	// Deletions deletes there what is deleted here.
	Deletions bool
	// Credentials is a file as docker login makes it; "" is the user's own. Or Username, and a file with the password.
	Credentials, Username, PasswordFile string
	// Authorities are files of certificates besides the system's. Insecure does not check certificates.
	Authorities []string
	Insecure    bool
	// Every is how often everything is compared; 0 is never.
	Every time.Duration
	// GiveUp is after what time without an answer nothing is sent any more; 0 is the default.
	GiveUp time.Duration
}

// Wants reports whether a tag is replicated.
func (r *Replication) Wants(repository, tag string) bool {
	return r.WantsRepository(repository) && access.MatchAny(r.Tags, tag)
}

// WantsRepository reports whether something of a repository may be replicated.
func (r *Replication) WantsRepository(repository string) bool {
	return access.MatchAny(r.Repositories, repository)
}

// Destination is what a repository is called at the destination.
func (r *Replication) Destination(repository string) string {
	return strings.NewReplacer("{repository}", repository, "{name}", repository[strings.LastIndexByte(repository, '/')+1:]).Replace(r.To)
}

// defaultEvery is how often everything is compared when the text does not say it.
const defaultEvery = 24 * time.Hour

// readDeliveries reads what goes out of the registry.
func readDeliveries(s *section, c *Config) {
	names := map[string]bool{}
	check := func(s *section, kind, name string) {
		if name != "" && names[kind+name] {
			s.bad(s.sub("name"), "there are two of the name %s", name)
		}
		names[kind+name] = true
	}
	for _, w := range s.sections("webhooks") {
		hook := readWebhook(w)
		check(w, "webhook/", hook.Name)
		c.Webhooks = append(c.Webhooks, hook)
	}
	for _, r := range s.sections("replication") {
		rule := readReplication(r)
		check(r, "replication/", rule.Name)
		c.Replication = append(c.Replication, rule)
	}
}

func readWebhook(s *section) Webhook {
	w := Webhook{Options: webhook.Options{Name: s.word("name"), URL: s.text("url"), Format: webhook.Format(s.text("format")), Secret: s.file("secret"),
		Authorities: s.files("authorities"), Timeout: s.duration("timeout")},
		Repositories: s.patternsOr("repositories", "**"), Tags: s.patternsOr("tags"), GiveUp: s.duration("give-up")}
	if u, err := url.Parse(w.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		s.bad(s.sub("url"), "want http://HOST/PATH or https://HOST/PATH; credentials belong into headers, from a file")
	}
	switch w.Format {
	case "", webhook.Structured, webhook.Binary, webhook.Docker:
	default:
		s.bad(s.sub("format"), "want %s, %s or %s", webhook.Structured, webhook.Binary, webhook.Docker)
	}
	for _, k := range s.texts("events") {
		w.Events = append(w.Events, events.Kind(k))
		switch events.Kind(k) {
		case events.Push, events.Delete, events.Rollback, events.Tag:
		default:
			s.bad(s.sub("events"), "%.50q: want %s, %s, %s or %s", k, events.Push, events.Delete, events.Rollback, events.Tag)
		}
	}
	if len(w.Events) == 0 {
		w.Events = []events.Kind{events.Push, events.Delete, events.Rollback}
	}
	if w.Format == webhook.Docker && slices.Contains(w.Events, events.Tag) {
		s.bad(s.sub("events"), "the format docker has no event %s; a push names its tags", events.Tag)
	}
	for _, h := range s.sections("headers") {
		w.Headers = append(w.Headers, readHeader(h))
	}
	s.end()
	return w
}

// readHeader reads a header. What is secret belongs into a file.
func readHeader(s *section) webhook.Header {
	h := webhook.Header{Name: http.CanonicalHeaderKey(s.text("name")), Value: s.text("value"), File: s.file("file")}
	if h.Name == "" || strings.ContainsFunc(h.Name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r) }) {
		s.bad(s.sub("name"), "want the name of a header")
	}
	if (h.Value == "") == (h.File == "") {
		s.bad(s.path, "want a value, or a file that has it")
	}
	if strings.ContainsAny(h.Value, "\r\n\x00") {
		s.bad(s.sub("value"), "want one line")
	}
	s.end()
	return h
}

func readReplication(s *section) Replication {
	r := Replication{Name: s.word("name"), Repositories: s.patternsOr("repositories", "**"), Tags: s.patternsOr("tags", "**"), Deletions: s.flag("deletions"),
		Credentials: s.file("credentials"), Username: s.text("username"), PasswordFile: s.file("password"), Authorities: s.files("authorities"),
		Insecure: s.flag("insecure"), Every: s.duration("every"), GiveUp: s.duration("give-up")}
	if (r.Username == "") != (r.PasswordFile == "") {
		s.bad(s.path, "want both username and password, which names a file")
	}
	if r.Username != "" && r.Credentials != "" {
		s.bad(s.path, "want either username or credentials")
	}
	if s.values["every"] == nil {
		r.Every = defaultEvery
	}
	r.Host = s.text("registry")
	if scheme, host, ok := strings.Cut(r.Host, "://"); ok {
		r.Scheme, r.Host = scheme, strings.TrimSuffix(host, "/")
	}
	ref, err := reference.Parse(r.Host + "/x")
	if err != nil || ref.Host != r.Host || r.Scheme != "" && r.Scheme != "http" && r.Scheme != "https" {
		s.bad(s.sub("registry"), "want HOST[:PORT], with http:// or https:// before it or not")
	}
	if r.To = s.text("to"); r.To == "" {
		r.To = "{repository}"
	}
	if !strings.Contains(r.To, "{repository}") && !strings.Contains(r.To, "{name}") && strings.Contains(strings.Join(r.Repositories, ""), "*") {
		s.bad(s.sub("to"), "want {repository} or {name} in it: several repositories would become one")
	} else if !reference.ValidRepository(r.Destination("a")) {
		s.bad(s.sub("to"), "want the name of a repository, in which {repository} is its name here and {name} the last part of it")
	}
	s.end()
	return r
}

// word is a text of letters, digits, dots and dashes, which may not be empty.
func (s *section) word(key string) string {
	t := s.text(key)
	if t == "" {
		s.bad(s.path, "%s is missing", key)
	} else if len(t) > 100 || strings.ContainsFunc(t, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	}) {
		s.bad(s.sub(key), "want a word of at most 100 letters, digits, dots and dashes")
	}
	return t
}

// files are paths.
func (s *section) files(key string) []string {
	var out []string
	for _, name := range s.texts(key) {
		out = append(out, s.join(name))
	}
	return out
}

// patternsOr is a list of patterns, and others when there is none.
func (s *section) patternsOr(key string, others ...string) []string {
	if s.values[key] == nil {
		_ = s.get(key)
		return others
	}
	return s.patterns(key)
}
