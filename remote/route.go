package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/reference"
)

const (
	// restTime is how long a site that failed is not asked while there are others.
	restTime = 30 * time.Second
	// siteTries is how often a site is asked when there is another one after it.
	siteTries = 2
)

// route is the way to a repository: the sites that are asked for it, in turn.
type route struct {
	c *Client
	// name is the host of references, repo the repository, which is "" when the host alone matters.
	name, repo string
	// direct asks where it is written alone: what a mirror has need not be there.
	direct bool

	once  sync.Once
	sites []*place
	err   error
}

// place is a site with its connection.
type place struct {
	Site
	host *host
}

// find asks for the sites, once.
func (r *route) find() ([]*place, error) {
	r.once.Do(func() {
		var sites []Site
		if r.c.opts.Sites != nil && !strings.HasPrefix(r.name, reference.SSH) {
			if sites, r.err = r.c.opts.Sites.Sites(r.name, r.repo); r.err != nil {
				return
			}
		}
		if len(sites) == 0 {
			r.sites = []*place{{Site{Repository: r.repo, Resolve: true, Pull: true, Push: true}, r.c.host(r.name)}}
		}
		for _, s := range sites {
			r.sites = append(r.sites, &place{s, r.c.siteHost(s)})
		}
	})
	return r.sites, r.err
}

// do makes a call at the first site that answers it, and returns the answer, whose body the caller closes.
func (r *route) do(ctx context.Context, c call) (*http.Response, error) {
	sites, err := r.find()
	if err != nil {
		return nil, fmt.Errorf("registry %s: %s: %w", r.name, c.what, err)
	}
	sites = r.able(sites, c)
	if len(sites) == 0 {
		return nil, errdefs.Permission("registry %s: %s: the configuration of the registry names no place for this", r.name, c.what)
	}
	if len(sites) == 1 {
		return sites[0].host.do(ctx, sites[0].call(c, r.repo))
	}
	var tried []string
	for i, p := range sites {
		last := i == len(sites)-1
		if !last && p.host.rests() && !c.once {
			tried = append(tried, p.host.name+": it failed a moment ago")
			continue
		}
		at := p.call(c, r.repo)
		if at.tries = siteTries; last {
			at.tries = 0
		}
		res, err := p.host.do(ctx, at)
		if err == nil || ctx.Err() != nil {
			return res, err
		}
		if last {
			return nil, fmt.Errorf("%w (asked before: %s)", err, strings.Join(tried, "; "))
		}
		if !errdefs.IsNotFound(err) {
			p.host.rest()
		}
		tried = append(tried, p.host.name+": "+inner(err).Error())
	}
	panic("unreachable") // the last one returns
}

// inner takes away what host.do puts before an error.
func inner(err error) error {
	if e := errors.Unwrap(err); e != nil {
		return e
	}
	return err
}

// able are the sites that may be asked. What has an address goes on where it began.
func (r *route) able(sites []*place, c call) []*place {
	if c.url != nil {
		for _, p := range sites {
			if p.leads(c.url) {
				return []*place{p}
			}
		}
	}
	want := needOf(c, r.repo)
	if r.direct {
		want = needPush
	}
	var able []*place
	for _, p := range sites {
		if !p.can(want) {
			continue
		}
		if able = append(able, p); want == needPush || c.url != nil {
			break // what is written is written in one place
		}
	}
	return able
}

// leads reports whether an address is one of this site's repository.
func (p *place) leads(u *url.URL) bool {
	return u.Host == p.host.api && strings.HasPrefix(u.Path, p.host.base+"/"+p.Repository)
}

// call is a call with the names that this site has.
func (p *place) call(c call, repo string) call {
	if rest, ok := strings.CutPrefix(c.path, repo+"/"); ok && c.url == nil { // what is not of a repository has no other name
		c.path = p.Repository + "/" + rest
	}
	if p.Namespace != "" && c.url == nil {
		sep := "?"
		if strings.Contains(c.path, "?") {
			sep = "&"
		}
		c.path += sep + "ns=" + url.QueryEscape(p.Namespace)
	}
	if p.Repository == repo {
		return c
	}
	scopes := make([]string, len(c.scopes))
	for i, s := range c.scopes {
		scopes[i] = s
		if actions, ok := strings.CutPrefix(s, "repository:"+repo+":"); ok {
			scopes[i] = "repository:" + p.Repository + ":" + actions
		}
	}
	c.scopes = scopes
	return c
}

// doubt is called with an answer that was wrong. It reports whether there is another site to ask, and lets this one rest.
func (r *route) doubt(res *http.Response) bool {
	sites, err := r.find()
	if err != nil || r.direct || res.Request == nil {
		return false
	}
	first := res.Request
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request // what led here
	}
	for i, p := range sites {
		if p.leads(first.URL) && i < len(sites)-1 && !p.host.rests() {
			p.host.rest()
			return true
		}
	}
	return false
}

// siteHost returns the connection to a site, always the same one.
func (c *Client) siteHost(s Site) *host {
	key := strings.Join([]string{s.Name, s.Address, s.Scheme, s.Source, fmt.Sprint(s.Insecure)}, "|")
	if s.Base != nil {
		key += "|" + *s.Base
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[key]
	if h == nil {
		h = c.newHost(s.Name)
		h.use(s)
		c.hosts[key] = h
	}
	return h
}

// use takes over what a site says of its connection.
func (h *host) use(s Site) {
	h.site = s
	if s.Address != "" {
		h.api = s.Address
	}
	if s.Base != nil {
		h.base = *s.Base
	}
	h.insecure = h.insecure || s.Insecure || s.Scheme == "http"
}

// rest keeps others from asking for a while.
func (h *host) rest() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.restUntil = time.Now().Add(restTime)
}

func (h *host) rests() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().Before(h.restUntil)
}
