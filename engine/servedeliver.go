package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/config"
	"github.com/camada/camada/registry/events"
	"github.com/camada/camada/registry/outbox"
	"github.com/camada/camada/registry/webhook"
)

// outboxName is the directory of what is to be sent to others, in that of the data.
const outboxName = "outbox"

// replicaUploads is the directory of what is known of uploads to replicas that were cut off.
const replicaUploads = "outbox-uploads"

// Targets of deliveries are called so.
const (
	hookPrefix    = "webhook/"
	replicaPrefix = "replication/"
)

// hookTarget is a webhook as a target of deliveries.
func hookTarget(w config.Webhook) (outbox.Target, error) {
	hook, err := webhook.New(w.Options)
	if err != nil {
		return outbox.Target{}, err
	}
	send := func(ctx context.Context, item outbox.Item) error {
		var e events.Event
		if err := json.Unmarshal(item.Body, &e); err != nil {
			return &outbox.RefusedError{Err: errdefs.Corrupt("a delivery cannot be read: %w", err)}
		}
		return hook.Send(ctx, e)
	}
	return outbox.Target{Name: hookPrefix + w.Name, Send: send, Patience: w.GiveUp}, nil
}

// watching puts into the context of a request that may change something what events tell of it.
func watching(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPut, http.MethodPost, http.MethodDelete:
			r = r.WithContext(events.WithRequest(r.Context(), r))
		}
		h.ServeHTTP(w, r)
	})
}

// more are the endpoints for those who look after the registry.
func (d *deliveries) more() map[string]http.Handler {
	return map[string]http.Handler{"deliveries": http.HandlerFunc(d.show), "replicate": http.HandlerFunc(d.replicate)}
}

// maxShown bounds how many items are listed of each target.
const maxShown = 1000

// show lists targets, and with n the items that wait for each: GET /v2/_camada/registry/deliveries?n=<integer>. POST with ?resume=<target> takes one up
// again that was given up.
func (d *deliveries) show(w http.ResponseWriter, r *http.Request) {
	box, _ := d.of()
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPost:
		if err := box.Resume(r.URL.Query().Get("resume")); err != nil {
			refuse(w, err)
			return
		}
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	n, _ := strconv.ParseUint(r.URL.Query().Get("n"), 10, 16) // what is no number lists none
	type row struct {
		outbox.Status
		Items []outbox.Waiting `json:"items,omitempty"`
	}
	rows := []row{}
	for _, s := range box.Status() {
		rows = append(rows, row{s, box.Waiting(s.Target, min(int(n), maxShown))})
	}
	answerJSON(w, http.StatusOK, map[string]any{"targets": rows})
}

// replicate brings replicas up to date with everything: POST /v2/_camada/registry/replicate?name=<name>; without a name all of them.
func (d *deliveries) replicate(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	name := r.URL.Query().Get("name")
	queued := []string{}
	box, replicas := d.of()
	for _, one := range replicas {
		if name != "" && name != one.rule.Name {
			continue
		}
		if err := box.Resume(replicaPrefix + one.rule.Name); err != nil {
			refuse(w, err)
			return
		}
		if err := box.Add(r.Context(), one.everything()); err != nil {
			refuse(w, err)
			return
		}
		queued = append(queued, one.rule.Name)
	}
	if len(queued) == 0 {
		refuse(w, errdefs.NotFound("there is no replication of the name %.100q", name))
		return
	}
	answerJSON(w, http.StatusAccepted, map[string]any{"queued": queued})
}

// refuse answers with an error, as the registry does.
func refuse(w http.ResponseWriter, err error) {
	status, message := http.StatusServiceUnavailable, http.StatusText(http.StatusServiceUnavailable)
	if errdefs.IsNotFound(err) {
		status, message = http.StatusNotFound, err.Error()
	}
	answerJSON(w, status, map[string]any{"errors": []map[string]string{{"code": "UNSUPPORTED", "message": message}}})
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // a client that went away is told nothing
}

// metrics writes counts in the text format of Prometheus.
func (d *deliveries) metrics(w io.Writer) {
	box, _ := d.of()
	if box == nil {
		return
	}
	list := box.Status()
	for _, m := range []struct {
		name, kind, help string
		value            func(outbox.Status) float64
	}{
		{"waiting", "gauge", "Deliveries that wait.", func(s outbox.Status) float64 { return float64(s.Waiting) }},
		{"oldest_seconds", "gauge", "How long the oldest delivery waits.", func(s outbox.Status) float64 {
			if s.Oldest == nil {
				return 0
			}
			return time.Since(*s.Oldest).Seconds()
		}},
		{"sent_total", "counter", "Deliveries that arrived.", func(s outbox.Status) float64 { return float64(s.Sent) }},
		{"failed_total", "counter", "Tries of deliveries that failed.", func(s outbox.Status) float64 { return float64(s.Failed) }},
		{"dropped_total", "counter", "Deliveries that were dropped: too many, too old, or for a target that was given up.", func(s outbox.Status) float64 { return float64(s.Dropped) }},
		{"failing", "gauge", "1 for a target that does not answer.", func(s outbox.Status) float64 { return truth(s.State == outbox.Failing || s.State == outbox.GivenUp) }},
		{"given_up", "gauge", "1 for a target that was given up.", func(s outbox.Status) float64 { return truth(s.State == outbox.GivenUp) }},
	} {
		name := "camada_registry_deliveries_" + m.name
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, m.help, name, m.kind)
		for _, s := range list {
			fmt.Fprintf(w, "%s{target=%q} %g\n", name, s.Target, m.value(s))
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// checkDeliveries reads the files that deliveries need, and says what is wrong with them.
func checkDeliveries(c *config.Config) error {
	for _, w := range c.Webhooks {
		hook, err := webhook.New(w.Options)
		if err == nil {
			err = hook.Check()
		}
		if err != nil {
			return err
		}
	}
	names := []string{}
	for _, r := range c.Replication {
		for _, f := range append([]string{r.Credentials, r.PasswordFile}, r.Authorities...) {
			if f != "" && !slices.Contains(names, f) {
				names = append(names, f)
			}
		}
	}
	for _, f := range names {
		if _, err := readServeConfig(f); err != nil {
			return fmt.Errorf("replication: %w", err)
		}
	}
	return nil
}
