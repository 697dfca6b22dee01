package config

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/internal/pattern"
	"github.com/camada/camada/reference"
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
	if !slices.Contains(w.Events, e.Kind) || !pattern.Any(w.Repositories, e.Repository) {
		return e, false
	}
	if len(w.Tags) == 0 {
		return e, true
	}
	e.Tags = slices.DeleteFunc(slices.Clone(e.Tags), func(tag string) bool { return !pattern.Any(w.Tags, tag) })
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
	return r.WantsRepository(repository) && pattern.Any(r.Tags, tag)
}

// WantsRepository reports whether something of a repository may be replicated.
func (r *Replication) WantsRepository(repository string) bool {
	return pattern.Any(r.Repositories, repository)
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
			s.Bad(s.Sub("name"), "there are two of the name %s", name)
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
	w := Webhook{Options: webhook.Options{Name: s.word("name"), URL: s.Text("url"), Format: webhook.Format(s.Text("format")), Secret: s.file("secret"),
		Authorities: s.files("authorities"), Timeout: s.Duration("timeout")},
		Repositories: s.patternsOr("repositories", "**"), Tags: s.patternsOr("tags"), GiveUp: s.Duration("give-up")}
	if u, err := url.Parse(w.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		s.Bad(s.Sub("url"), "want http://HOST/PATH or https://HOST/PATH; credentials belong into headers, from a file")
	}
	switch w.Format {
	case "", webhook.Structured, webhook.Binary, webhook.Docker:
	default:
		s.Bad(s.Sub("format"), "want %s, %s or %s", webhook.Structured, webhook.Binary, webhook.Docker)
	}
	for _, k := range s.Texts("events") {
		w.Events = append(w.Events, events.Kind(k))
		switch events.Kind(k) {
		case events.Push, events.Delete, events.Rollback, events.Tag:
		default:
			s.Bad(s.Sub("events"), "%.50q: want %s, %s, %s or %s", k, events.Push, events.Delete, events.Rollback, events.Tag)
		}
	}
	if len(w.Events) == 0 {
		w.Events = []events.Kind{events.Push, events.Delete, events.Rollback}
	}
	if w.Format == webhook.Docker && slices.Contains(w.Events, events.Tag) {
		s.Bad(s.Sub("events"), "the format docker has no event %s; a push names its tags", events.Tag)
	}
	for _, h := range s.sections("headers") {
		w.Headers = append(w.Headers, readHeader(h))
	}
	s.End()
	return w
}

// readHeader reads a header. What is secret belongs into a file.
func readHeader(s *section) webhook.Header {
	h := webhook.Header{Name: http.CanonicalHeaderKey(s.Text("name")), Value: s.Text("value"), File: s.file("file")}
	if h.Name == "" || strings.ContainsFunc(h.Name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r) }) {
		s.Bad(s.Sub("name"), "want the name of a header")
	}
	if (h.Value == "") == (h.File == "") {
		s.Bad(s.Path, "want a value, or a file that has it")
	}
	if strings.ContainsAny(h.Value, "\r\n\x00") {
		s.Bad(s.Sub("value"), "want one line")
	}
	s.End()
	return h
}

func readReplication(s *section) Replication {
	r := Replication{Name: s.word("name"), Repositories: s.patternsOr("repositories", "**"), Tags: s.patternsOr("tags", "**"), Deletions: s.Flag("deletions"),
		Credentials: s.file("credentials"), Username: s.Text("username"), PasswordFile: s.file("password"), Authorities: s.files("authorities"),
		Insecure: s.Flag("insecure"), Every: s.Duration("every"), GiveUp: s.Duration("give-up")}
	if (r.Username == "") != (r.PasswordFile == "") {
		s.Bad(s.Path, "want both username and password, which names a file")
	}
	if r.Username != "" && r.Credentials != "" {
		s.Bad(s.Path, "want either username or credentials")
	}
	if s.Values["every"] == nil {
		r.Every = defaultEvery
	}
	r.Host = s.Text("registry")
	if scheme, host, ok := strings.Cut(r.Host, "://"); ok {
		r.Scheme, r.Host = scheme, strings.TrimSuffix(host, "/")
	}
	ref, err := reference.Parse(r.Host + "/x")
	if err != nil || ref.Host != r.Host || r.Scheme != "" && r.Scheme != "http" && r.Scheme != "https" {
		s.Bad(s.Sub("registry"), "want HOST[:PORT], with http:// or https:// before it or not")
	}
	if r.To = s.Text("to"); r.To == "" {
		r.To = "{repository}"
	}
	if !strings.Contains(r.To, "{repository}") && !strings.Contains(r.To, "{name}") && strings.Contains(strings.Join(r.Repositories, ""), "*") {
		s.Bad(s.Sub("to"), "want {repository} or {name} in it: several repositories would become one")
	} else if !reference.ValidRepository(r.Destination("a")) {
		s.Bad(s.Sub("to"), "want the name of a repository, in which {repository} is its name here and {name} the last part of it")
	}
	s.End()
	return r
}

// word is a text of letters, digits, dots and dashes, which may not be empty.
func (s *section) word(key string) string {
	t := s.Text(key)
	if t == "" {
		s.Bad(s.Path, "%s is missing", key)
	} else if len(t) > 100 || strings.ContainsFunc(t, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	}) {
		s.Bad(s.Sub(key), "want a word of at most 100 letters, digits, dots and dashes")
	}
	return t
}

// files are paths.
func (s *section) files(key string) []string {
	var out []string
	for _, name := range s.Texts(key) {
		out = append(out, s.join(name))
	}
	return out
}

// patternsOr is a list of patterns, and others when there is none.
func (s *section) patternsOr(key string, others ...string) []string {
	if s.Values[key] == nil {
		_ = s.Get(key)
		return others
	}
	return s.patterns(key)
}
