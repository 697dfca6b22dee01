package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/camada/camada/errdefs"
)

// hubIndex is where docker.io is searched.
const hubIndex = "index.docker.io"

// Found is a repository that docker.io found.
type Found struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Stars       int    `json:"star_count"`
	Official    bool   `json:"is_official"`
	Automated   bool   `json:"is_automated"`
}

// Search asks docker.io for repositories, at most limit, 1 to 100 (the search of Docker's registry API v1, which no other registry has).
func (c *Client) Search(ctx context.Context, term string, limit int) ([]Found, error) {
	h := c.newHost(hubIndex)
	if c.opts.Sites != nil {
		sites, err := c.opts.Sites.Sites(hubIndex, "")
		if err != nil {
			return nil, fmt.Errorf("registry %s: search: %w", hubIndex, err)
		}
		if len(sites) > 0 {
			h.use(sites[len(sites)-1])
		}
	}
	defer h.close()
	h.base, h.cred = "/v1", &Credential{}
	const what = "search"
	res, err := h.do(ctx, call{
		method: http.MethodGet, what: what, path: "search?" + url.Values{"q": {term}, "n": {strconv.Itoa(limit)}}.Encode(),
		header: http.Header{"Accept": {"application/json"}, "X-Docker-Token": {"true"}},
	})
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxList))
	if err != nil {
		return nil, errdefs.With(errdefs.ErrUnavailable, fmt.Errorf("registry %s: %s: %w", h.name, what, err))
	}
	var page struct {
		Results []Found `json:"results"`
	}
	if err := json.Unmarshal(data, &page); err != nil {
		return nil, errdefs.Corrupt("registry %s: %s: the answer cannot be read: %w", h.name, what, err)
	}
	found := page.Results[:min(len(page.Results), limit)]
	for i := range found {
		found[i].Name, found[i].Description = printable(found[i].Name), printable(found[i].Description)
	}
	return found, nil
}
