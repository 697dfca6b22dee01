package access

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

// maxForm bounds the body of a request for a token.
const maxForm = 64 << 10

// tokenReply is the answer to a request for a token.
type tokenReply struct {
	Token   string `json:"token"`
	Access  string `json:"access_token"`
	Expires int    `json:"expires_in"`
	Issued  string `json:"issued_at"`
	Refresh string `json:"refresh_token,omitempty"`
	Scope   string `json:"scope,omitempty"`
}

// ServeHTTP gives tokens: GET with a name and a password, or without for somebody unknown (Docker's token specification), and POST as OAuth 2 has it
// (RFC 6749, sections 4.3 and 6).
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.opts.Issuer == nil || g.opts.Users == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	var reply tokenReply
	var err error
	switch r.Method {
	case http.MethodGet:
		reply, err = g.tokenByGet(r)
	case http.MethodPost:
		reply, err = g.tokenByPost(r)
	default:
		w.Header().Set("Allow", "GET, POST")
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "want GET or POST")
		return
	}
	var wait *WaitError
	switch {
	case err == nil:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(reply) // a client that went away is told nothing
	case errors.As(err, &wait):
		w.Header().Set("Retry-After", strconv.Itoa(wait.Seconds))
		refuse(w, http.StatusTooManyRequests, "TOOMANYREQUESTS", err.Error())
	case errdefs.IsPermission(err):
		w.Header().Set("WWW-Authenticate", `Basic realm="`+quotable(g.service(r))+`", charset="UTF-8"`)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", err.Error())
	case errdefs.IsUnavailable(err):
		w.Header().Set("Retry-After", "10")
		refuse(w, http.StatusServiceUnavailable, "TOOMANYREQUESTS", err.Error())
	case errdefs.IsInvalid(err):
		refuse(w, http.StatusBadRequest, "UNSUPPORTED", err.Error())
	default:
		refuse(w, http.StatusInternalServerError, "UNSUPPORTED", "no token could be made")
	}
}

// refuse answers with an error, as the registry does.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string][]map[string]string{"errors": {{"code": code, "message": message}}})
}

// tokenByGet is ?service=…&scope=…&offline_token=true with name and password.
func (g *Gate) tokenByGet(r *http.Request) (tokenReply, error) {
	if err := g.pace(r); err != nil {
		return tokenReply{}, err
	}
	q := r.URL.Query()
	if err := g.checkService(r, q.Get("service")); err != nil {
		return tokenReply{}, err
	}
	var who person
	if r.Header.Get("Authorization") != "" {
		name, password, ok := r.BasicAuth()
		if !ok {
			return tokenReply{}, errdefs.Permission("want name and password")
		}
		var err error
		if who, err = g.prove(r, name, password); err != nil {
			return tokenReply{}, err
		}
	}
	offline, _ := strconv.ParseBool(q.Get("offline_token"))
	return g.issue(who, q["scope"], offline)
}

// tokenByPost is grant_type=password or grant_type=refresh_token.
func (g *Gate) tokenByPost(r *http.Request) (tokenReply, error) {
	if err := g.pace(r); err != nil {
		return tokenReply{}, err
	}
	if err := r.ParseForm(); err != nil {
		return tokenReply{}, errdefs.Invalid("the form cannot be read")
	}
	f := r.PostForm
	if err := g.checkService(r, f.Get("service")); err != nil {
		return tokenReply{}, err
	}
	switch f.Get("grant_type") {
	case "password":
		who, err := g.prove(r, f.Get("username"), f.Get("password"))
		if err != nil {
			return tokenReply{}, err
		}
		return g.issue(who, f["scope"], f.Get("access_type") == "offline")
	case "refresh_token":
		old := f.Get("refresh_token")
		c, err := g.opts.Issuer.parse(old, useRefresh)
		if err != nil {
			return tokenReply{}, err
		}
		if !g.opts.Users.Has(c.Subject) || c.Stamp != g.opts.Users.stamp(c.Subject) {
			return tokenReply{}, errdefs.Permission("the password was changed since")
		}
		reply, err := g.issue(person{name: c.Subject}, f["scope"], false)
		reply.Refresh = old
		return reply, err
	default:
		return tokenReply{}, errdefs.Invalid("grant_type: want password or refresh_token")
	}
}

// checkService refuses to make tokens for another registry. The name is a hint only: what is signed is the issuer's own.
func (g *Gate) checkService(r *http.Request, service string) error {
	if service != "" && service != g.service(r) {
		return errdefs.Invalid("service: this is another registry")
	}
	return nil
}

// issue makes a token with what the rules allow of what was asked for. That of an outsider ends with the one that he showed, and no other can be got
// with it: who vouches for him is asked anew.
func (g *Gate) issue(who person, scope []string, refresh bool) (tokenReply, error) {
	asked := parseScope(scope)
	granted := narrow(asked, g.opts.Rules, who.name)
	life := g.opts.TokenLife
	if !who.expires.IsZero() {
		life = min(life, max(who.expires.Sub(g.opts.Issuer.now()), time.Second))
	}
	token, err := g.opts.Issuer.sign(claims{Subject: who.name, Use: useAccess, Outside: who.stamp, Access: granted}, life)
	if err != nil {
		return tokenReply{}, err
	}
	reply := tokenReply{Token: token, Access: token, Expires: int(life / time.Second), Issued: g.opts.Issuer.now().UTC().Format(time.RFC3339)}
	var texts []string
	for _, s := range granted {
		texts = append(texts, s.Type+":"+s.Name+":"+strings.Join(s.Actions, ","))
	}
	reply.Scope = strings.Join(texts, " ")
	if refresh && who.name != "" && who.stamp == "" {
		reply.Refresh, err = g.opts.Issuer.sign(claims{Subject: who.name, Use: useRefresh, Stamp: g.opts.Users.stamp(who.name)}, g.opts.RefreshLife)
	}
	return reply, err
}
