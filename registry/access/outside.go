package access

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

// Outside believes tokens that others made: package registry/oidc is one.
type Outside interface {
	// Claims reports whether a token says that it is of somebody who is believed. It proves nothing yet.
	Claims(token string) bool
	// Verify says for whom a token speaks. ErrPermission means that it is not good, ErrUnavailable that it cannot be found out now.
	Verify(ctx context.Context, token string) (Outsider, error)
	// Knows reports whether what an Outsider had as Stamp is still so.
	Knows(stamp string) bool
}

// Outsider is a user whom somebody else vouches for.
type Outsider struct {
	Name string
	// Expires is when his token ends.
	Expires time.Time
	// Stamp stands for who vouches, and on which conditions.
	Stamp string
}

// OutsideUser is the name that a client gives with a token as its password: docker login -u oidc.
const OutsideUser = "oidc"

// person is somebody who proved who he is. Of one of our own users there is a name only.
type person struct {
	name    string
	stamp   string
	expires time.Time
}

// known reports whether the user of a token of ours is still one.
func (g *Gate) known(c *claims) bool {
	switch {
	case c.Outside != "":
		return g.opts.Outside != nil && g.opts.Outside.Knows(c.Outside)
	case c.Subject == "":
		return true // somebody unknown
	default:
		return g.opts.Users.Has(c.Subject)
	}
}

// bearer says whom a token speaks for: one of ours, or of somebody else. Which of them verifies it is chosen by what it says, and no second one is tried.
func (g *Gate) bearer(r *http.Request, token string) (person, []grant, error) {
	if g.opts.Outside != nil && g.opts.Outside.Claims(token) {
		who, err := g.opts.Outside.Verify(r.Context(), token)
		return person{name: who.Name}, nil, err
	}
	if g.opts.Issuer == nil {
		return person{}, nil, errdefs.Permission("the token is of nobody who is known here")
	}
	c, err := g.opts.Issuer.parse(token, useAccess)
	if err != nil {
		return person{}, nil, err
	}
	if !g.known(c) {
		return person{}, nil, errdefs.Permission("the user is not known any more")
	}
	grants := c.Access
	if grants == nil { // a token of ours allows what it says and no more
		grants = []grant{}
	}
	return person{name: c.Subject}, grants, nil
}

// prove checks a name and a password, or a token of somebody else instead of one.
func (g *Gate) prove(r *http.Request, name, password string) (person, error) {
	if name != OutsideUser || g.opts.Outside == nil {
		return person{name: name}, g.login(r, name, password)
	}
	who, err := g.opts.Outside.Verify(r.Context(), strings.TrimSpace(password))
	return person{who.Name, who.Stamp, who.Expires}, err
}
