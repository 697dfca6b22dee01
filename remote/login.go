package remote

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/camada/camada/errdefs"
)

// Login proves to a registry who asks, with the given credential alone, and returns the credential to keep: a token server may give
// an identity token in place of the password, as docker asks it to. A credential that is refused is ErrPermission.
//
// A registry that lets in everybody accepts whatever it is shown.
func (c *Client) Login(ctx context.Context, name string, cred Credential) (Credential, error) {
	h := c.newHost(name)
	defer h.close()
	if h.pipe != nil {
		return Credential{}, errdefs.Invalid("registry %s: ssh lets in: there is nothing to log in to", name)
	}
	if c.opts.Sites != nil {
		sites, err := c.opts.Sites.Sites(name, "")
		if err != nil {
			return Credential{}, fmt.Errorf("registry %s: log in: %w", name, err)
		}
		slices.Reverse(sites) // the last one is the host itself
		if i := slices.IndexFunc(sites, func(s Site) bool { return s.Name == name }); i >= 0 {
			h.use(sites[i])
		}
	}
	h.cred, h.offline = &cred, true
	res, err := h.do(ctx, call{method: http.MethodGet, what: "log in"})
	if errdefs.IsNotFound(err) {
		return Credential{}, fmt.Errorf("%w; no registry of the distribution specification is there", err)
	}
	if err != nil {
		return Credential{}, err
	}
	res.Body.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	return *h.cred, nil
}
