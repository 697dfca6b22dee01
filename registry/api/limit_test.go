package api_test

import (
	"net/http"
	"testing"

	"github.com/camada/camada/registry/access"
	"github.com/camada/camada/registry/api"
	"github.com/opencontainers/go-digest"
)

// limiting notes what it is asked, and refuses what it is told to.
type limiting struct {
	refuse bool
	uses   []access.Use
	ended  int
}

func (l *limiting) Begin(_ *http.Request, use access.Use, h http.Header) (func(), error) {
	l.uses = append(l.uses, use)
	h.Set("RateLimit-Remaining", "7;w=60")
	if l.refuse {
		return func() {}, &access.WaitError{Seconds: 9}
	}
	return func() { l.ended++ }, nil
}

func TestLimiter(t *testing.T) {
	l := &limiting{}
	each(t, api.Options{Limiter: l}, func(t *testing.T, c *client) {
		*l = limiting{}
		data, d := c.manifest("app", "x", nil)
		l.uses, l.ended = nil, 0
		c.put("app", "1", data).want(201, "RateLimit-Remaining", "7;w=60")
		c.do("GET", "/v2/app/manifests/1", nil).want(200, "RateLimit-Remaining", "7;w=60")
		c.do("HEAD", "/v2/app/manifests/"+d.String(), nil).want(200)
		c.do("DELETE", "/v2/app/manifests/1", nil).want(202)
		c.do("GET", "/v2/app/tags/list", nil).want(200)
		c.do("GET", "/v2/app/blobs/"+digest.FromString("layer of x").String(), nil).want(200)
		loc := c.upload("app")
		c.do("PATCH", loc, []byte("x")).want(202)
		c.do("PUT", loc+"?digest="+digest.FromString("x").String(), nil).want(201)
		want := []access.Use{{Repository: "app", Action: access.Push}, {Repository: "app", Action: access.Pull}, {Repository: "app", Action: access.Pull, Look: true},
			{Repository: "app", Action: access.Delete}, {Repository: "app"}, {Repository: "app"}, {Repository: "app"}, {Repository: "app", Upload: true}, {Repository: "app"}}
		if len(l.uses) != len(want) || l.ended != len(want) {
			t.Fatalf("%d uses, %d ends: %+v", len(l.uses), l.ended, l.uses)
		}
		for i := range want {
			if l.uses[i] != want[i] {
				t.Errorf("%d: %+v, want %+v", i, l.uses[i], want[i])
			}
		}
		l.refuse = true
		c.do("GET", "/v2/app/manifests/1", nil).want(429, "Retry-After", "9", "RateLimit-Remaining", "7;w=60").code("TOOMANYREQUESTS")
	})
}
