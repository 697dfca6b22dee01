package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
)

// MaxHistory is how many moves of a tag are asked for at most.
const MaxHistory = 1000

// unknownManifest is the code of errors about what is not there; other registries answer in another way to what they do not know of.
const unknownManifest = "MANIFEST_UNKNOWN"

// Move is what happened to a tag.
type Move struct {
	Time time.Time `json:"time"`
	// From and To are what it pointed to; "" is nothing.
	From digest.Digest `json:"from"`
	To   digest.Digest `json:"to"`
	// Verb is what was done: "push", "delete", "rollback", "restore". Who did it is "" when nobody in particular.
	Verb string `json:"verb"`
	Who  string `json:"who"`
}

// History lists what a tag pointed to, the newest move first, MaxHistory at most. It is a registry of camada that keeps it: any other one is
// ErrUnsupported.
func (r *Repository) History(ctx context.Context, tag string) ([]Move, error) {
	what := "read the history of " + r.called(tag)
	data, err := r.history(ctx, call{method: http.MethodGet, what: what, scopes: []string{r.scope("pull")},
		path: r.name + "/_camada/history/" + tag + "?n=" + strconv.Itoa(MaxHistory)})
	if err != nil {
		return nil, err
	}
	var page struct {
		History []Move `json:"history"`
	}
	if err := json.Unmarshal(data, &page); err != nil || page.History == nil {
		return nil, r.noHistory(what)
	}
	moves := page.History[:min(len(page.History), MaxHistory)]
	for i := range moves {
		m := &moves[i]
		for _, d := range []digest.Digest{m.From, m.To} {
			if d != "" && content.CheckDigest(d) != nil {
				return nil, errdefs.Corrupt("registry %s: %s: %.100q is no digest", r.Host(), what, d)
			}
		}
		m.Verb, m.Who = printable(m.Verb), printable(m.Who)
	}
	return moves, nil
}

// MoveBack points a tag to something that it was before. now is what it points to, "" for one that was removed: ErrConflict when somebody moved it
// meanwhile.
func (r *Repository) MoveBack(ctx context.Context, tag string, to, now digest.Digest) error {
	header := http.Header{"If-None-Match": {"*"}}
	if now != "" {
		header = http.Header{"If-Match": {`"` + now.String() + `"`}}
	}
	_, err := r.history(ctx, call{method: http.MethodPost, what: "move " + r.called(tag) + " back", scopes: []string{r.scope("pull,push")}, header: header,
		path: r.name + "/_camada/history/" + tag + "?to=" + url.QueryEscape(to.String()), once: true})
	return err
}

// history makes a call about a tag's history at the registry itself, and returns the answer.
func (r *Repository) history(ctx context.Context, c call) ([]byte, error) {
	c.want = []int{http.StatusOK, http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed}
	res, err := r.direct().host.do(ctx, c)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxList))
	res.Body.Close()
	switch {
	case err != nil:
		return nil, errdefs.With(errdefs.ErrUnavailable, fmt.Errorf("registry %s: %s: %w", r.Host(), c.what, err))
	case res.StatusCode == http.StatusOK:
		return data, nil
	}
	var body errorBody
	if json.Unmarshal(data, &body) != nil || len(body.Errors) != 1 || body.Errors[0].Code != unknownManifest {
		return nil, r.noHistory(c.what)
	}
	return nil, errdefs.New(classOf(res.StatusCode), "registry %s: %s: %s", r.Host(), c.what, saying(data))
}

func (r *Repository) noHistory(what string) error {
	return errdefs.Unsupported("registry %s: %s: it keeps none; registries of camada serve do", r.Host(), what)
}
