package webhook

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/camada/camada/registry/events"
	"github.com/opencontainers/go-digest"
)

// Media types of bodies.
const (
	typeCloudEvent = "application/cloudevents+json; charset=utf-8"
	typeJSON       = "application/json"
	// typeDocker is what the distribution registry sends and its receivers look for.
	typeDocker = "application/vnd.docker.distribution.events.v1+json"
)

// typePrefix begins the type of a CloudEvent.
const typePrefix = "io.camada.registry."

// cloudEvent is a CloudEvent in JSON (CloudEvents 1.0.2, JSON event format).
type cloudEvent struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject"`
	Time        time.Time `json:"time"`
	ContentType string    `json:"datacontenttype"`
	Data        eventData `json:"data"`
}

// eventData is the data of a CloudEvent.
type eventData struct {
	Repository   string        `json:"repository"`
	Digest       digest.Digest `json:"digest,omitempty"`
	MediaType    string        `json:"mediaType,omitempty"`
	Size         int64         `json:"size,omitempty"`
	Tags         []string      `json:"tags,omitempty"`
	Before       digest.Digest `json:"before,omitempty"`
	Subject      digest.Digest `json:"subject,omitempty"`
	ArtifactType string        `json:"artifactType,omitempty"`
	URL          string        `json:"url,omitempty"`
	Verb         string        `json:"verb,omitempty"`
	Actor        *actor        `json:"actor,omitempty"`
	Request      *request      `json:"request,omitempty"`
}

// envelope is what the distribution registry sends (its docs, "Work with notifications").
type envelope struct {
	Events []notification `json:"events"`
}

type notification struct {
	ID        string    `json:"id"`
	Timestamp time.Time `json:"timestamp"`
	Action    string    `json:"action"`
	Target    target    `json:"target"`
	Request   request   `json:"request"`
	Actor     actor     `json:"actor"`
	Source    source    `json:"source"`
}

type target struct {
	MediaType  string        `json:"mediaType,omitempty"`
	Size       int64         `json:"size,omitempty"`
	Digest     digest.Digest `json:"digest,omitempty"`
	Length     int64         `json:"length,omitempty"`
	Repository string        `json:"repository"`
	URL        string        `json:"url,omitempty"`
	Tag        string        `json:"tag,omitempty"`
}

type request struct {
	ID        string `json:"id,omitempty"`
	Addr      string `json:"addr,omitempty"`
	Host      string `json:"host,omitempty"`
	Method    string `json:"method,omitempty"`
	UserAgent string `json:"useragent,omitempty"`
}

type actor struct {
	Name string `json:"name,omitempty"`
}

type source struct {
	Addr string `json:"addr,omitempty"`
}

// encode makes the headers and the body of an event.
func (h *Hook) encode(e events.Event) (http.Header, []byte, error) {
	if h.opts.Format == Docker {
		body, err := json.Marshal(envelope{h.notifications(e)})
		return http.Header{"Content-Type": {typeDocker}}, body, err
	}
	c := h.cloudEvent(e)
	if h.opts.Format == Structured {
		body, err := json.Marshal(c)
		return http.Header{"Content-Type": {typeCloudEvent}}, body, err
	}
	header := http.Header{"Content-Type": {typeJSON}}
	for name, value := range map[string]string{"specversion": c.SpecVersion, "id": c.ID, "source": c.Source, "type": c.Type, "subject": c.Subject, "time": c.Time.Format(time.RFC3339Nano)} {
		header.Set("Ce-"+name, value)
	}
	body, err := json.Marshal(c.Data)
	return header, body, err
}

func (h *Hook) cloudEvent(e events.Event) cloudEvent {
	c := cloudEvent{SpecVersion: "1.0", ID: e.ID, Source: h.registry(e), Type: typePrefix + string(e.Kind), Subject: e.Repository, Time: e.Time, ContentType: typeJSON}
	switch {
	case len(e.Tags) == 1:
		c.Subject += ":" + e.Tags[0]
	case e.Digest != "":
		c.Subject += "@" + e.Digest.String()
	}
	c.Data = eventData{Repository: e.Repository, Digest: e.Digest, MediaType: e.MediaType, Size: e.Size, Tags: e.Tags, Before: e.Before, Subject: e.Subject,
		ArtifactType: e.ArtifactType, URL: h.url(e), Verb: e.Verb}
	if e.Who != "" {
		c.Data.Actor = &actor{e.Who}
	}
	if e.Request != (events.Request{}) {
		r := requestOf(e)
		c.Data.Request = &r
	}
	return c
}

// notifications are the events of an envelope, one for each tag. A tag that went back was pushed, as far as those know who read it.
func (h *Hook) notifications(e events.Event) []notification {
	action := string(e.Kind)
	if e.Kind == events.Rollback || e.Kind == events.Tag {
		action = string(events.Push)
	}
	n := notification{ID: e.ID, Timestamp: e.Time, Action: action, Request: requestOf(e), Actor: actor{e.Who}, Source: source{e.Request.Host},
		Target: target{MediaType: e.MediaType, Size: e.Size, Length: e.Size, Digest: e.Digest, Repository: e.Repository, URL: h.url(e)}}
	if e.Kind == events.Delete && len(e.Tags) > 0 {
		n.Target.Digest, n.Target.URL = "", "" // a manifest that is still there would seem to be deleted
	}
	if len(e.Tags) == 0 {
		return []notification{n}
	}
	list := make([]notification, len(e.Tags))
	for i, tag := range e.Tags {
		list[i] = n
		list[i].Target.Tag = tag
		if i > 0 {
			list[i].ID = n.ID + "-" + tag
		}
	}
	return list
}

func requestOf(e events.Event) request {
	return request{e.Request.ID, e.Request.Addr, e.Request.Host, e.Request.Method, e.Request.Agent}
}

// registry is where the registry is.
func (h *Hook) registry(e events.Event) string {
	switch {
	case h.opts.Registry != "":
		return strings.TrimRight(h.opts.Registry, "/")
	case e.Request.Base != "":
		return e.Request.Base
	default:
		return "urn:camada:registry"
	}
}

// url is where the manifest is; "" when that is not known.
func (h *Hook) url(e events.Event) string {
	at := h.registry(e)
	if e.Digest == "" || strings.HasPrefix(at, "urn:") {
		return ""
	}
	return at + "/v2/" + e.Repository + "/manifests/" + e.Digest.String()
}
