package access

import (
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

// Options of a Gate.
type Options struct {
	Users *Users
	Rules Rules
	// Issuer makes tokens; nil is without, then each request has name and password (RFC 7617).
	Issuer *Issuer
	// Outside believes tokens of others; nil is without. With it there are Users as well, maybe without any in them.
	Outside Outside
	// URL is where clients reach the registry, "https://host"; "" takes it from each request.
	URL string
	// Service is the name of the registry in tokens.
	Service string
	// TokenLife is how long a token is good; 0 means five minutes. RefreshLife is for those that others are got with; 0 means 30 days.
	TokenLife, RefreshLife time.Duration
	// Proxies are the addresses whose X-Forwarded-For and X-Forwarded-Proto are believed.
	Proxies []netip.Prefix
	// Rate is how many requests a second a client may send on the average, Burst how many at once; 0 is without a limit.
	Rate  float64
	Burst int
	// Limits are on manifests, Uploads on how many bodies of blobs one client sends at once; 0 is without a limit.
	Limits  []Limit
	Uploads int
	// Last is a gate whose place this one takes: what it counted goes on. nil is none.
	Last *Gate
}

// Gate lets people in. It is safe for use by many goroutines.
type Gate struct {
	opts     Options
	requests *buckets // by client
	failures *buckets // wrong passwords, by client
	limits   []*buckets
	uploads  *uploads
}

// The limit on wrong passwords: some at once, then one in some seconds.
const (
	failureRate  = 0.2
	failureBurst = 10
)

// NewGate makes a gate.
func NewGate(opts Options) *Gate {
	if opts.TokenLife == 0 {
		opts.TokenLife = 5 * time.Minute
	}
	if opts.RefreshLife == 0 {
		opts.RefreshLife = 30 * 24 * time.Hour
	}
	g := &Gate{opts: opts, failures: newBuckets(failureRate, failureBurst), uploads: newUploads()}
	if opts.Rate > 0 {
		g.requests = newBuckets(opts.Rate, max(opts.Burst, 1))
	}
	for _, l := range opts.Limits {
		g.limits = append(g.limits, l.buckets())
	}
	if last := opts.Last; last != nil {
		g.failures, g.uploads = last.failures, last.uploads
		if reflect.DeepEqual(last.opts.Limits, opts.Limits) {
			g.limits = last.limits
		}
		if g.requests != nil && last.opts.Rate == opts.Rate && last.opts.Burst == opts.Burst {
			g.requests = last.requests
		}
	}
	g.opts.Last = nil // which would keep all that were before
	return g
}

// Visitor is who sent a request.
type Visitor struct {
	name  string
	rules Rules
	// grants are those of a token; nil is without, then the rules alone count.
	grants []grant
	shown  bool // something was shown that says who he is, or that he is nobody
	open   bool // there are no users
}

// Name is "" for somebody unknown.
func (v *Visitor) Name() string { return v.name }

// May says whether he may do something.
func (v *Visitor) May(repository string, what Action) Verdict {
	if what&Enter != 0 {
		if !v.open && !v.shown || what&List != 0 && v.grants != nil && !covers(v.grants, "", List) {
			return Ask
		}
		return Yes
	}
	if v.open {
		return Yes
	}
	if !v.rules.Allow(v.name, repository, what) {
		if v.name == "" {
			return Ask
		}
		return No
	}
	if v.grants != nil && repository != "" && !covers(v.grants, repository, what) {
		return Ask
	}
	return Yes
}

// Enter says who sends a request. ErrPermission means that what he shows is wrong.
func (g *Gate) Enter(r *http.Request) (*Visitor, error) {
	if err := g.pace(r); err != nil {
		return nil, err
	}
	v := &Visitor{rules: g.opts.Rules, open: g.opts.Users == nil}
	auth := r.Header.Get("Authorization")
	if auth == "" || v.open {
		return v, nil
	}
	v.shown = true
	if token, ok := cutScheme(auth, "Bearer "); ok && (g.opts.Issuer != nil || g.opts.Outside != nil) {
		who, grants, err := g.bearer(r, strings.TrimSpace(token))
		if err != nil {
			return nil, err
		}
		v.name, v.grants = who.name, grants
		return v, nil
	}
	name, password, ok := r.BasicAuth()
	if !ok {
		return nil, errdefs.Permission("the credentials are of a kind that is not known")
	}
	who, err := g.prove(r, name, password)
	if err != nil {
		return nil, err
	}
	v.name = who.name
	return v, nil
}

// pace counts a request.
func (g *Gate) pace(r *http.Request) error {
	if g.requests == nil {
		return nil
	}
	return g.requests.take(clientAt(g.client(r)))
}

// login checks a password. Whoever was wrong too often has to wait.
func (g *Gate) login(r *http.Request, name, password string) error {
	if g.opts.Users.Remembers(name, password) {
		return nil // also beside somebody who guesses at the same address
	}
	client := clientAt(g.client(r))
	if err := g.failures.peek(client); err != nil {
		return err
	}
	ok, err := g.opts.Users.Verify(r.Context(), name, password)
	if err != nil {
		return err
	}
	if !ok {
		_ = g.failures.take(client) // the next one is told
		return errdefs.Permission("user or password is wrong")
	}
	return nil
}

// cutScheme cuts the scheme of credentials off, which has no case (RFC 9110, section 11.1).
func cutScheme(s, scheme string) (string, bool) {
	if len(s) < len(scheme) || !strings.EqualFold(s[:len(scheme)], scheme) {
		return "", false
	}
	return s[len(scheme):], true
}

// Challenge says how to prove who one is (RFC 6750, section 3; Docker's token specification).
func (g *Gate) Challenge(r *http.Request, repository string, what Action) string {
	if g.opts.Users == nil {
		return ""
	}
	if g.opts.Issuer == nil {
		return `Basic realm="` + quotable(g.service(r)) + `", charset="UTF-8"`
	}
	s := `Bearer realm="` + quotable(g.url(r)) + `/token",service="` + quotable(g.service(r)) + `"`
	if scope := scopeText(repository, what); scope != "" {
		s += `,scope="` + scope + `"`
	}
	if _, ok := cutScheme(r.Header.Get("Authorization"), "Bearer "); ok {
		if _, err := g.Enter(r); err != nil {
			return s + `,error="invalid_token"`
		}
		return s + `,error="insufficient_scope"`
	}
	return s
}

// service is the registry's name in challenges.
func (g *Gate) service(r *http.Request) string {
	if g.opts.Service != "" {
		return g.opts.Service
	}
	return r.Host
}

// url is where the client reached the registry.
func (g *Gate) url(r *http.Request) string {
	if g.opts.URL != "" {
		return strings.TrimRight(g.opts.URL, "/")
	}
	scheme := "http"
	if r.TLS != nil || g.trusted(remoteAddr(r)) && r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// quotable leaves out of a host what would end a quoted text.
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '"' || r == '\\' || r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
}

// client is the address of who sent a request; proxies that are trusted say it.
func (g *Gate) client(r *http.Request) netip.Addr {
	addr := remoteAddr(r)
	if !g.trusted(addr) {
		return addr
	}
	// The last ones were added by our proxies; what is before them can be anything.
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		a, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		if addr = a.Unmap(); !g.trusted(addr) {
			break
		}
	}
	return addr
}

func (g *Gate) trusted(a netip.Addr) bool {
	for _, p := range g.opts.Proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// remoteAddr is the other end of the connection.
func remoteAddr(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap()
}
