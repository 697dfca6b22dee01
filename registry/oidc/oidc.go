// Package oidc believes what other issuers say of who asks: JSON web tokens (RFC 7519) of OpenID Connect providers, of CI systems and of Kubernetes.
//
//	v, err := oidc.New(issuers, fault)
//	who, err := v.Verify(ctx, token) // who.Name is "github:acme/app"
//
// An issuer is believed only by its own keys, for tokens that were made for this registry, and for those of its users that the configuration names.
// What a token's header says chooses no key and no algorithm that the configuration does not have (RFC 8725).
package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/access"
)

// Issuer says whose tokens are believed, and for whom they speak.
type Issuer struct {
	// Name stands before the names of users, and in what is told of the issuer.
	Name string
	// URL is what tokens say in "iss", and where the issuer's metadata are (OpenID Connect Discovery, section 4).
	URL string
	// Keys is a file with a JWK set (RFC 7517, section 5), or a URL of one; "" asks the issuer's metadata.
	Keys string
	// CA is a file with the certificates, in PEM, that sign those of the issuer's server; "" means those of the system.
	CA string
	// Credential is a file with a token that is shown to the issuer's server; "" is none. A Kubernetes wants one.
	Credential string
	// Audiences are those that tokens may be made for; one of them is enough.
	Audiences []string
	// Algorithms that signatures may have; none means DefaultAlgorithms.
	Algorithms []string
	// Match are the conditions that all have to hold.
	Match []Condition
	// User is the name of the user, with {CLAIM} for what a token says; "" means "{sub}".
	User string
	// Prefix stands before it.
	Prefix string
}

// Condition is one on a claim.
type Condition struct {
	// Claim is a name, or a JSON pointer when it begins with a slash (RFC 6901).
	Claim string
	// Patterns are as pattern.Match has them; one is enough. Of a list, one value is enough.
	Patterns []string
}

// DefaultUser is the user of an issuer that names none.
const DefaultUser = "{sub}"

// DefaultAlgorithms are what nearly everybody signs with (RFC 7518, section 3.1; RFC 8037).
func DefaultAlgorithms() []string { return []string{"RS256", "ES256", "EdDSA"} }

const (
	// maxToken bounds a token, and maxName the name of a user.
	maxToken = 16 << 10
	maxName  = 255
	// leeway for the clocks of others.
	leeway = 30 * time.Second
)

// Check says what is wrong with an issuer.
func (i *Issuer) Check() error {
	switch {
	case i.Name == "" || strings.ContainsFunc(i.Name, func(r rune) bool { return !nameRune(r) || r == ':' || r == '/' }):
		return errdefs.Invalid("name: want a short name, such as github")
	case checkURL(i.URL) != nil:
		return errdefs.Invalid("url: %w", checkURL(i.URL))
	case isURL(i.Keys) && checkURL(i.Keys) != nil:
		return errdefs.Invalid("keys: %w", checkURL(i.Keys))
	case len(i.Audiences) == 0 || slices.Contains(i.Audiences, ""):
		return errdefs.Invalid("audience is missing: the name of this registry that tokens have to be made for")
	case len(i.Match) == 0:
		return errdefs.Invalid("match is missing: claims, and patterns of them, that say whose tokens are taken")
	}
	for _, a := range i.Algorithms {
		if _, ok := algorithmOf(a); !ok {
			return errdefs.Unsupported("algorithms: %.40q is none of %s", a, strings.Join(algorithmNames(), ", "))
		}
	}
	if i.User != "" {
		if _, err := parseTemplate(i.User); err != nil {
			return errdefs.Invalid("user: %w", err)
		}
	}
	return nil
}

func isURL(s string) bool { return strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://") }

// checkURL refuses what keys are not safely got from. Plain HTTP is for servers of this machine.
func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errdefs.Invalid("want https://HOST[/PATH]")
	}
	switch host := u.Hostname(); {
	case u.Scheme == "https":
	case u.Scheme == "http" && (host == "localhost" || host == "127.0.0.1" || host == "::1"):
	default:
		return errdefs.Invalid("want https://, since whoever is in between could give keys of his own")
	}
	return nil
}

// Verifier verifies tokens. It is safe for use by many goroutines.
type Verifier struct {
	issuers []*issuer
	now     func() time.Time
}

// issuer is one that is ready for use.
type issuer struct {
	Issuer

	stamp      string
	algorithms []algorithm
	user       template
	keys       keySource
}

// New returns a verifier. It asks nobody: an issuer that cannot be reached keeps no registry from its start. fault is told when keys cannot be
// got; nil drops it. Issuers with one URL are tried in their order.
func New(issuers []Issuer, fault func(error)) (*Verifier, error) {
	if fault == nil {
		fault = func(error) {}
	}
	v := &Verifier{now: time.Now}
	for _, i := range issuers {
		one, err := newIssuer(i, fault)
		if err != nil {
			return nil, fmt.Errorf("issuer %q: %w", i.Name, err)
		}
		v.issuers = append(v.issuers, one)
	}
	return v, nil
}

func newIssuer(i Issuer, fault func(error)) (*issuer, error) {
	if err := i.Check(); err != nil {
		return nil, err
	}
	text, err := json.Marshal(i)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	one := &issuer{Issuer: i, stamp: hex.EncodeToString(sum[:8])}
	names := i.Algorithms
	if len(names) == 0 {
		names = DefaultAlgorithms()
	}
	for _, name := range names {
		a, _ := algorithmOf(name) // Check knows all of them
		one.algorithms = append(one.algorithms, a)
	}
	if one.user, err = parseTemplate(firstOf(i.User, DefaultUser)); err != nil {
		return nil, err
	}
	one.keys, err = newKeySource(i, fault)
	return one, err
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// Claims reports whether a token says that it is of one of the issuers. Nothing of it is believed yet.
func (v *Verifier) Claims(token string) bool {
	t, err := parseToken(token)
	return err == nil && slices.ContainsFunc(v.issuers, func(i *issuer) bool { return t.text("iss") == i.URL })
}

// Knows reports whether the issuer of an Outsider is still what it was.
func (v *Verifier) Knows(stamp string) bool {
	return slices.ContainsFunc(v.issuers, func(i *issuer) bool { return i.stamp == stamp })
}

// Verify says for whom a token speaks. ErrPermission is a token that is not good here or now, ErrUnavailable an issuer whose keys cannot be got.
// Errors never show the token.
func (v *Verifier) Verify(ctx context.Context, token string) (access.Outsider, error) {
	t, err := parseToken(token)
	if err != nil {
		return access.Outsider{}, err
	}
	err = errdefs.Permission("the token is of an issuer that is not known")
	for _, i := range v.issuers {
		if i.URL != t.text("iss") {
			continue
		}
		var who access.Outsider
		if who, err = i.verify(ctx, t, v.now()); err == nil {
			return who, nil
		}
	}
	return access.Outsider{}, err
}

// verify checks a token that says that it is of the issuer.
func (i *issuer) verify(ctx context.Context, t *token, now time.Time) (access.Outsider, error) {
	n := slices.IndexFunc(i.algorithms, func(a algorithm) bool { return a.name == t.algorithm })
	if n < 0 {
		return access.Outsider{}, errdefs.Permission("the token is signed in a way that is not taken from %s", i.Name)
	}
	// What is cheap comes first: a token that ended makes nobody ask for keys.
	expires, err := t.live(now)
	if err != nil {
		return access.Outsider{}, err
	}
	if !slices.ContainsFunc(t.audiences(), func(a string) bool { return slices.Contains(i.Audiences, a) }) {
		return access.Outsider{}, errdefs.Permission("the token is for somebody else")
	}
	keys, err := i.keys.find(ctx, func(k *key) bool { return k.fits(t.key, i.algorithms[n]) })
	if err != nil {
		return access.Outsider{}, fmt.Errorf("the keys of %s: %w", i.Name, err)
	}
	if !slices.ContainsFunc(keys, func(k *key) bool { return i.algorithms[n].verify(k.public, t.signed, t.signature) }) {
		return access.Outsider{}, errdefs.Permission("the token was not signed by %s", i.Name)
	}
	for _, c := range i.Match {
		if !c.holds(t.claims) {
			return access.Outsider{}, errdefs.Permission("the token's %.100q is not what is asked for", c.Claim)
		}
	}
	name, err := i.user.expand(t.claims)
	if err != nil {
		return access.Outsider{}, err
	}
	name = i.Prefix + name
	if len(name) > maxName || name == access.Everybody || strings.ContainsFunc(name, func(r rune) bool { return !nameRune(r) }) {
		return access.Outsider{}, errdefs.Permission("what the token says of its user is no name")
	}
	return access.Outsider{Name: name, Expires: expires, Stamp: i.stamp}, nil
}

// nameRune reports whether a character may be in the name of a user: none that would be something else in a rule, a log or a header.
func nameRune(r rune) bool { return r > ' ' && r <= '~' && !strings.ContainsRune(`*?[]{}"\`, r) }
