package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/access"
	"github.com/camada/camada/registry/api"
	"github.com/opencontainers/go-digest"
)

// byName is a gate that believes the header User.
type byName struct{ rules access.Rules }

type visitor struct {
	name  string
	rules access.Rules
}

func (g byName) Enter(r *http.Request) (api.Caller, error) {
	switch name := r.Header.Get("User"); name {
	case "liar":
		return nil, errdefs.Permission("the password is wrong")
	case "busy":
		return nil, &access.WaitError{Seconds: 7}
	default:
		return visitor{name, g.rules}, nil
	}
}

func (g byName) Challenge(_ *http.Request, repository string, what access.Action) string {
	return fmt.Sprintf("Test %s %d", repository, what)
}

func (v visitor) Name() string { return v.name }

func (v visitor) May(repository string, what access.Action) access.Verdict {
	switch {
	case what&access.Enter != 0 || v.rules.Allow(v.name, repository, what):
		return access.Yes
	case v.name == "":
		return access.Ask
	default:
		return access.No
	}
}

// Who may not read a repository learns nothing of what is in it, and who may not write one changes nothing. 429 has Retry-After ("Error Codes").
func TestRights(t *testing.T) {
	rules := access.Rules{
		{Repositories: []string{"secret"}, Users: []string{"owner"}, Actions: access.Pull | access.Push | access.Delete},
		{Repositories: []string{"mine"}, Users: []string{"thief", "owner"}, Actions: access.Pull | access.Push},
		{Repositories: []string{"public"}, Users: []string{access.Everybody}, Actions: access.Pull},
		{Repositories: []string{"**"}, Users: []string{"root"}, Actions: access.Pull | access.Push | access.Delete | access.Admin},
	}
	more := map[string]http.Handler{"lights": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })}
	each(t, api.Options{Gate: byName{rules}, More: more, Immutable: func(_, tag string) bool { return tag == "fixed" }}, func(t *testing.T, c *client) {
		layer := []byte("a secret layer")
		d := digest.FromBytes(layer)
		c.do("POST", "/v2/secret/blobs/uploads/?digest="+d.String(), layer, "User", "owner").want(201)
		loc := c.do("POST", "/v2/secret/blobs/uploads/", nil, "User", "owner").want(202).Header.Get("Location")
		for _, tc := range []struct {
			method, path, user string
			status             int
		}{
			{"GET", "/v2/secret/blobs/" + d.String(), "thief", 403}, {"HEAD", "/v2/secret/blobs/" + d.String(), "", 401}, {"GET", "/v2/secret/tags/list", "thief", 403},
			{"GET", "/v2/secret/manifests/x", "thief", 403}, {"GET", "/v2/nowhere/manifests/x", "thief", 403}, {"GET", "/v2/secret/referrers/" + d.String(), "thief", 403},
			{"GET", "/v2/secret/_camada/history/x", "thief", 403}, {"POST", "/v2/secret/_camada/history/x", "thief", 403}, {"DELETE", "/v2/mine/blobs/" + d.String(), "thief", 403},
			{"PATCH", loc, "thief", 403}, {"GET", loc, "thief", 403}, {"DELETE", loc, "thief", 403}, {"PUT", loc + "?digest=" + d.String(), "", 401},
			{"PATCH", strings.Replace(loc, "/secret/", "/mine/", 1), "thief", 404}, // another's upload in a repository of one's own
			{"POST", "/v2/_camada/registry/sweep", "owner", 403}, {"POST", "/v2/_camada/registry/scrub", "", 401}, {"POST", "/v2/_camada/registry/scrub", "root", 200},
			{"GET", "/v2/_camada/registry/lights", "owner", 403}, {"GET", "/v2/_camada/registry/lights", "", 401}, {"GET", "/v2/_camada/registry/lights", "root", 204},
			{"GET", "/v2/_camada/registry/lamps", "root", 404}, {"GET", "/v2/_camada/registry/", "owner", 403},
			{"GET", "/v2/public/tags/list", "", 404}, {"POST", "/v2/public/blobs/uploads/", "", 401}, {"GET", "/v2/", "liar", 401}, {"GET", "/v2/", "busy", 429},
		} {
			a := c.do(tc.method, tc.path, nil, "User", tc.user).want(tc.status)
			if tc.status == 401 && a.Header.Get("Www-Authenticate") == "" {
				t.Errorf("%s %s: no challenge", tc.method, tc.path)
			}
		}
		c.do("GET", "/v2/", nil, "User", "busy").want(429, "Retry-After", "7").code("TOOMANYREQUESTS")
		c.do("GET", "/v2/secret/tags/list", nil).want(401, "Www-Authenticate", fmt.Sprintf("Test secret %d", access.Pull)).code("UNAUTHORIZED")
		c.do("GET", "/v2/secret/tags/list", nil, "User", "thief").want(403).code("DENIED")
		// A blob is not got at by its digest: not by a mount, with or without its repository, and not by a manifest.
		c.do("POST", "/v2/mine/blobs/uploads/?from=secret&mount="+d.String(), nil, "User", "thief").want(202)
		c.do("POST", "/v2/mine/blobs/uploads/?mount="+d.String(), nil, "User", "thief").want(202)
		manifest := `{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"` + d.String() + `","size":14}}`
		c.do("PUT", "/v2/mine/manifests/x", manifest, "User", "thief", "Content-Type", "application/vnd.oci.image.manifest.v1+json").want(404).code("MANIFEST_BLOB_UNKNOWN")
		c.do("GET", "/v2/mine/blobs/"+d.String(), nil, "User", "thief").want(404)
		c.do("POST", "/v2/mine/blobs/uploads/?from=secret&mount="+d.String(), nil, "User", "owner").want(201)
		// The catalog shows what one may pull.
		type catalog struct{ Repositories []string }
		for user, want := range map[string][]string{"thief": {"mine"}, "owner": {"mine", "secret"}, "": {}} {
			if got := decode[catalog](c.do("GET", "/v2/_catalog?n=1000", nil, "User", user)); !slices.Equal(got.Repositories, want) {
				t.Errorf("the catalog of %q: %v", user, got.Repositories)
			}
		}
		if got := decode[catalog](c.do("GET", "/v2/_catalog?n=1", nil, "User", "owner").want(200)); len(got.Repositories) != 1 {
			t.Errorf("a page of the catalog: %v", got.Repositories)
		}
		// Who moved a tag is in its log.
		c.do("PUT", "/v2/mine/manifests/fixed", manifest, "User", "owner", "Content-Type", "application/vnd.oci.image.manifest.v1+json").want(201)
		log, err := c.storage.TagLog(t.Context(), "mine", "fixed")
		if err != nil || len(log) != 1 || log[0].Who != "owner" {
			t.Errorf("log %+v, %v", log, err)
		}
		c.do("POST", "/v2/mine/_camada/history/fixed", nil, "User", "owner").want(403) // it does not move, but for an admin
		c.do("POST", "/v2/mine/_camada/history/fixed", nil, "User", "root").want(404)
	})
}

// A client that sends or takes nothing is cut off, and what came of its upload is kept.
func TestSlowClients(t *testing.T) {
	each(t, api.Options{Patience: 300 * time.Millisecond}, func(t *testing.T, c *client) {
		loc := c.upload("app")
		conn := c.dial()
		if _, err := io.WriteString(conn, "PATCH "+loc+" HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n0123456789"); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 408 ") {
			t.Errorf("a slow upload: %q, %v", b, err)
		}
		c.do("GET", loc, nil).want(204, "Range", "0-9")
		data, d := blob("x", 64<<20)
		c.push("app", data)
		conn = c.dial()
		if _, err := io.WriteString(conn, "GET /v2/app/blobs/"+d.String()+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // the buffers of the kernel are full long before
		n, err := io.Copy(io.Discard, conn)
		if err == nil && n >= int64(len(data)) {
			t.Errorf("a client that took nothing got %d bytes, %v", n, err)
		}
	})
}

// dial opens a connection that speaks what it is told.
func (c *client) dial() net.Conn {
	c.Helper()
	var d net.Dialer
	conn, err := d.DialContext(c.Context(), "tcp", strings.TrimPrefix(c.url, "http://"))
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		c.Fatal(err)
	}
	return conn
}

// What is cut off in the middle can be gone on with.
func TestCutUpload(t *testing.T) {
	each(t, api.Options{}, func(t *testing.T, c *client) {
		data, d := blob("0123456789", 100_000)
		loc := c.upload("app")
		conn := c.dial()
		if _, err := fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", loc, len(data)); err != nil {
			t.Fatal(err)
		}
		// The registry has opened the upload when it wants the bytes; who asks for it before could take it away from this request.
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
			t.Fatalf("%q, %v", line, err)
		}
		if _, err := conn.Write(data[:40_000]); err != nil {
			t.Fatal(err)
		}
		conn.Close()
		var a *answer
		for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			// Until the registry sees that the client is gone, the upload is taken.
			if a = c.do("GET", loc, nil); a.StatusCode == http.StatusNoContent || time.Since(began) > time.Minute {
				break
			}
			a.want(503, "Retry-After", "1")
		}
		_, last, _ := strings.Cut(a.want(204).Header.Get("Range"), "-")
		var have int
		if _, err := fmt.Sscan(last, &have); err != nil || have < 1 || have > 40_000 {
			t.Fatalf("range %q", last)
		}
		have++
		c.do("PATCH", loc, data[have:], "Content-Range", fmt.Sprintf("%d-%d", have, len(data)-1)).want(202)
		c.do("PUT", loc+"?digest="+d.String(), nil).want(201)
	})
}

// broken is a storage that fails.
type broken struct {
	registry.Storage
	err error
}

func (b broken) OpenBlob(context.Context, string, digest.Digest) (content.Reader, error) {
	return nil, b.err
}

// asked notes from where blobs are mounted.
type asked struct {
	registry.Storage
	from []string
}

func (a *asked) MountBlob(ctx context.Context, repository, from string, d digest.Digest) error {
	a.from = append(a.from, from)
	return a.Storage.MountBlob(ctx, repository, from, d)
}

// A storage is never asked for a repository whose name is none.
func TestMountNames(t *testing.T) {
	s := &asked{Storage: drivers["local"](t)}
	h := api.New(s, api.Options{})
	for _, from := range []string{"../secret", "a/../secret", "SECRET", "secret%00", "/secret", "secret/", "a b", "secret"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/v2/mine/blobs/uploads/?mount="+absent+"&from="+strings.ReplaceAll(from, " ", "+"), nil))
		if w.Code != http.StatusAccepted {
			t.Errorf("a mount from %q: %d", from, w.Code)
		}
	}
	if !slices.Equal(s.from, []string{"secret"}) {
		t.Errorf("the storage was asked for %q", s.from)
	}
}

// What goes wrong inside is told to whoever runs the registry, and not to the client.
func TestFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		err    error
		status int
		faults int
	}{
		"inside": {errors.New("read /srv/registry/db: input/output error"), 500, 1}, "away": {errdefs.Unavailable("the store /srv does not answer"), 503, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var faults []error
			var events []api.Event
			h := api.New(broken{err: tc.err}, api.Options{Fault: func(err error) { faults = append(faults, err) }, Done: func(e api.Event) { events = append(events, e) }})
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/v2/app/blobs/"+absent, nil))
			if w.Code != tc.status || strings.Contains(w.Body.String(), "/srv") || len(faults) != tc.faults {
				t.Errorf("%d %s, faults %v", w.Code, w.Body, faults)
			}
			if len(events) != 1 || events[0].Status != tc.status || events[0].Kind != "blob" || events[0].Repository != "app" || events[0].Sent != int64(w.Body.Len()) {
				t.Errorf("events %+v", events)
			}
		})
	}
}
