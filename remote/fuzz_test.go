package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
)

// plain reports whether a text commands no terminal.
func plain(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) < 0
}

func FuzzAnswers(f *testing.F) {
	f.Add(`Bearer realm="https://a",service="b"`, []byte(`{"token":"a","expires_in":-1}`))
	f.Add(`Basic realm="\"`, []byte(`{"errors":[{"code":"A","message":"b\u001b"}]}`))
	f.Add(`, ,=a="b"`, []byte(`{"expires_in":9223372036854775807,"access_token":"x"}`))
	f.Add(`a b=c, d, e f="\"", `, []byte(`{"errors":[{"message":"`+strings.Repeat("x", 400)+`"}]}`))
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		all := parseChallenges([]string{header, header})
		if len(all) > maxChallenges {
			t.Errorf("%d challenges", len(all))
		}
		for _, c := range all {
			if c.scheme == "" || c.scheme != strings.ToLower(c.scheme) || len(c.params) > maxChallenges {
				t.Errorf("challenge %+v", c)
			}
			for k := range c.params {
				if strings.IndexFunc(k, func(r rune) bool { return r >= 0x80 || !isToken(byte(r)) }) >= 0 {
					t.Errorf("parameter %q", k)
				}
			}
		}
		now := time.Unix(1e9, 0)
		tok, err := parseToken(body, now)
		if err == nil && (tok.value == "" || strings.ContainsAny(tok.value, "\r\n") || tok.until.Before(now) || tok.until.Sub(now) > 24*time.Hour) {
			t.Errorf("token %+v", tok)
		}
		if err != nil && !errdefs.IsInvalid(err) {
			t.Errorf("no class: %v", err)
		}
		if said := saying(body); !plain(said) || utf8.RuneCountInString(said) > maxSaying+1 {
			t.Errorf("%q is said", said)
		}
	})
}

// FuzzChallenge reads back what a server that quotes well asks for.
func FuzzChallenge(f *testing.F) {
	f.Add("https://a/b?c=d", `s, "t\`, "Basic")
	f.Add("", "=", "x y=z")
	f.Fuzz(func(t *testing.T, realm, service, before string) {
		quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
		header := `Bearer realm="` + quote.Replace(realm) + `" , SERVICE = "` + quote.Replace(service) + `"`
		for _, values := range [][]string{{header}, {before, header}} {
			all := parseChallenges(values)
			if len(all) == 0 || len(all) == maxChallenges {
				continue
			}
			if c := all[len(all)-1]; c.scheme != "bearer" || c.params["realm"] != realm || c.params["service"] != service {
				t.Errorf("%q: %+v", values, c)
			}
		}
		if len(parseChallenges([]string{header})) != 1 {
			t.Errorf("%q is no challenge", header)
		}
	})
}

// FuzzHeaders reads what else stands in headers of answers.
func FuzzHeaders(f *testing.F) {
	for _, s := range []string{"bytes 10-20/30", "0-9", "0-9223372036854775807", "bytes=0-18446744073709551615", "7", "Fri, 31 Dec 9999 23:59:59 GMT", `299 - "a\"b\x1b"`, `<a>; rel="next", <b>`, `<a>;rel=next;x="`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if start, total, ok := rangeStart(s); ok && start < 0 || total < -1 {
			t.Errorf("range %q: %d of %d", s, start, total)
		}
		if n, ok := received(s); n < 0 || !ok && n != 0 {
			t.Errorf("received %q: %d", s, n)
		}
		if retryAfter(s) < 0 {
			t.Errorf("after %q: %s", s, retryAfter(s))
		}
		size := 0
		for _, text := range warnings([]string{s, s, s}) {
			if size += len(text); text == "" || !plain(text) {
				t.Errorf("warning %q", text)
			}
		}
		if size > 3*maxWarnings {
			t.Errorf("warnings of %d bytes", size)
		}
		if next := nextLink([]string{s}); !strings.Contains(s, "<"+next+">") && next != "" {
			t.Errorf("%q leads to %q", s, next)
		}
		if strings.ContainsAny(s, `>`) {
			return
		}
		// What is an address is found, whatever stands before it that ends by itself.
		if got := nextLink([]string{`<x>; rel="prev"; title="` + strings.ReplaceAll(s, `"`, "") + `", <` + s + `>; rel="next"`}); got != s {
			t.Errorf("%q became %q", s, got)
		}
	})
}

// FuzzPlaces: wherever a registry or an image sends a client, it is not led from TLS to none, nor to what only this machine reaches.
func FuzzPlaces(f *testing.F) {
	for _, s := range []string{"https://example.org/x", "http://127.0.0.1:1/x", "//x/y", "/v2/a", "https://me:pw@x/", "ftp://x", "http://reg.far/x", "https://[::1%25lo]/", "https:///x"} {
		f.Add(s)
	}
	c := New(Options{})
	f.Fuzz(func(t *testing.T, s string) {
		r := c.Repository(reference.Reference{Host: "reg.far", Repository: "app"})
		if at, err := r.elsewhere(s); err == nil && (at.url.Scheme != "https" || at.url.User != nil || at.url.Host == "" || isInsecure(at.url.Host, nil)) {
			t.Errorf("%q leads to %s", s, at.url)
		}
		res := &http.Response{Header: http.Header{"Location": {s}}, Request: &http.Request{URL: &url.URL{Scheme: "https", Host: "reg.far", Path: "/v2/app/blobs/uploads/"}}}
		if at, err := r.location(res); err == nil && (at.Scheme != "https" || at.Host == "") {
			t.Errorf("an upload goes on at %s", at)
		}
	})
}

// answering is a registry that has one answer to everything.
type answering struct {
	status int
	header http.Header
	body   []byte
}

func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	res := &http.Response{StatusCode: a.status, Status: a.header.Get("Status"), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: a.header.Clone(), Request: r,
		ContentLength: int64(len(a.body)), Body: io.NopCloser(bytes.NewReader(a.body))}
	if r.Method == http.MethodHead {
		res.Body = http.NoBody
	}
	return res, nil
}

// FuzzRegistry asks a registry that answers anything for everything.
func FuzzRegistry(f *testing.F) {
	d := digest.FromString("{}").String()
	f.Add(uint8(0), "application/vnd.oci.image.index.v1+json", d, `</v2/app/tags/list?n=1>; rel="next"`, "", []byte(`{"schemaVersion":2,"manifests":[],"tags":["a","\u001b"],"repositories":["a"],"history":[{"to":"`+d+`","who":"\u001b"}],"results":[{"name":"\u0007"}]}`))
	f.Add(uint8(0), "application/vnd.oci.image.manifest.v1+json", d, "", "", []byte("{}"))
	f.Add(uint8(1), "", "", "", `Bearer realm="http://a/token"`, []byte(`{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`))
	f.Add(uint8(3), "text/plain", "sha256:x", "<x", "\x1b[2J", []byte("no"))
	f.Add(uint8(2), "", "", "", "Basic", []byte(`{"history":[]}`))
	// Others are waited for, or followed by net/http.
	statuses := []int{200, 401, 206, 404, 400, 403, 405, 416, 202, 299, 499}
	f.Fuzz(func(t *testing.T, status uint8, mediaType, dgst, link, challenge string, body []byte) {
		c := New(Options{Tries: 1, Backoff: time.Nanosecond})
		defer c.Close()
		header := http.Header{"Content-Type": {mediaType}, "Docker-Content-Digest": {dgst}, "Link": {link}, "Www-Authenticate": {challenge}, "Status": {challenge}, "Content-Range": {link}}
		h, r := c.host("reg.test"), c.Repository(reference.Reference{Host: "reg.test", Repository: "app"})
		h.client, h.scheme = &http.Client{Transport: &answering{statuses[int(status)%len(statuses)], header, body}, CheckRedirect: h.redirect}, "https"
		ctx := context.Background()
		check := func(what string, err error) {
			classes := []errdefs.Class{errdefs.ErrNotFound, errdefs.ErrInvalid, errdefs.ErrConflict, errdefs.ErrPermission, errdefs.ErrCorrupt, errdefs.ErrLimit, errdefs.ErrUnsupported, errdefs.ErrUnavailable}
			if err != nil && (!slices.ContainsFunc(classes, func(c errdefs.Class) bool { return errors.Is(err, c) }) || !plain(err.Error())) {
				t.Errorf("%s: %q", what, err)
			}
		}
		desc, err := r.Resolve(ctx, "latest")
		check("resolve", err)
		if err == nil && (content.CheckDigest(desc.Digest) != nil || desc.Size < 0) {
			t.Errorf("%+v", desc)
		}
		desc, data, err := r.Manifest(ctx, "latest")
		check("manifest", err)
		if err == nil && (desc.Digest.Algorithm().FromBytes(data) != desc.Digest || desc.Size != int64(len(data)) || desc.Size > image.MaxManifest) {
			t.Errorf("%+v of %q", desc, data)
		}
		want := digest.FromString("{}")
		if _, data, err = r.Manifest(ctx, want.String()); err == nil && string(data) != "{}" {
			t.Errorf("%q is not %s", data, want)
		}
		check("manifest by its digest", err)
		list, err := r.Referrers(ctx, want, "a/b")
		check("referrers", err)
		for _, d := range list {
			if d.ArtifactType != "a/b" || content.CheckDigest(d.Digest) != nil {
				t.Errorf("referrer %+v", d)
			}
		}
		tags, err := r.Tags(ctx, 10)
		check("tags", err)
		names, err := r.Catalog(ctx, 10)
		check("catalog", err)
		if len(tags) > 10 && err == nil || len(names) > 10 && err == nil {
			t.Errorf("%d tags, %d names", len(tags), len(names))
		}
		moves, err := r.History(ctx, "latest")
		check("history", err)
		for _, m := range moves {
			if !plain(m.Who+m.Verb) || m.To != "" && content.CheckDigest(m.To) != nil || m.From != "" && content.CheckDigest(m.From) != nil {
				t.Errorf("move %+v", m)
			}
		}
	})
}
