package api

import "github.com/camada/camada/errdefs"

// quotas answers with what repositories may hold and do: GET /v2/_camada/registry/quotas.
func (c *call) quotas() {
	if c.opts.Quotas == nil {
		c.fail(codeUnsupported, errdefs.NotFound("the registry has no quotas"))
		return
	}
	c.longer()
	list, err := c.opts.Quotas(c.r.Context())
	if err != nil {
		c.fail(codeUnsupported, err)
		return
	}
	c.json(struct {
		Quotas any `json:"quotas"`
	}{list})
}

// retain removes the tags that no rule keeps: POST /v2/_camada/registry/retain, with ?dry-run=1 none is removed.
func (c *call) retain() {
	if c.opts.Retain == nil {
		c.fail(codeUnsupported, errdefs.NotFound("the registry has no rules of retention"))
		return
	}
	c.longer()
	dry := c.dryRun()
	list, err := c.opts.Retain(c.r.Context(), dry)
	if err != nil {
		c.fail(codeUnsupported, err)
		return
	}
	c.json(struct {
		Tags   any  `json:"tags"`
		DryRun bool `json:"dryRun"`
	}{list, dry})
}

// dryRun reports whether a request wants nothing to be done.
func (c *call) dryRun() bool {
	switch c.r.URL.Query().Get("dry-run") {
	case "", "0", "false":
		return false
	default:
		return true
	}
}
