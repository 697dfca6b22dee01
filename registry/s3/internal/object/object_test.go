package object_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/peers"
	"github.com/camada/camada/registry/s3/internal/object"
)

// open starts a server and makes a bucket in it.
func open(t *testing.T) *object.Client {
	t.Helper()
	o := peers.Need(t, "versitygw").StartVersity()
	c, err := object.New(object.Config{Endpoint: o.Endpoint, Bucket: "registry", Credentials: object.Static{ID: o.ID, Secret: o.Secret}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.CreateBucket(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestStore(t *testing.T) {
	c := open(t)
	t.Run("objects", func(t *testing.T) { testObjects(t, c) })
	t.Run("conditions", func(t *testing.T) { testConditions(t, c) })
	t.Run("lists", func(t *testing.T) { testLists(t, c) })
	t.Run("parts", func(t *testing.T) { testParts(t, c) })
}

func testObjects(t *testing.T, c *object.Client) {
	ctx := t.Context()
	const key = "o/a)b-c.d!/k y+%"
	if _, _, err := c.ReadAll(ctx, key, "", 10); !errdefs.IsNotFound(err) {
		t.Fatalf("nothing is there: %v", err)
	}
	etag, err := c.Put(ctx, key, []byte("0123456789"), object.Always())
	if err != nil {
		t.Fatal(err)
	}
	data, info, err := c.ReadAll(ctx, key, "", 10)
	if err != nil || string(data) != "0123456789" || info.ETag != etag || info.Size != 10 || time.Since(info.Modified) > time.Hour {
		t.Fatalf("%q, %v, %v", data, info, err)
	}
	if _, _, err := c.ReadAll(ctx, key, "", 9); !errdefs.IsLimit(err) {
		t.Errorf("more than the limit: %v", err)
	}
	if _, _, err := c.ReadAll(ctx, key, etag, 10); !errdefs.IsConflict(err) {
		t.Errorf("the same as known: %v", err)
	}
	for _, r := range []struct {
		offset, length int64
		want           string
	}{{2, 3, "234"}, {7, 0, "789"}, {8, 10, "89"}, {0, 1, "0"}} {
		o, err := c.Get(ctx, key, object.GetOptions{Offset: r.offset, Length: r.length})
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(o.Body)
		if err != nil || string(data) != r.want || o.Size != 10 {
			t.Errorf("range %v: %q of %d, %v", r, data, o.Size, err)
		}
		o.Body.Close()
	}
	address, err := c.Presign(ctx, key, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if data, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK || string(data) != "0123456789" {
		t.Errorf("presigned: %d %q", res.StatusCode, data)
	}
	for range 2 {
		if err := c.Delete(ctx, key); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Head(ctx, key); !errdefs.IsNotFound(err) {
		t.Errorf("after it was removed: %v", err)
	}
}

func testConditions(t *testing.T, c *object.Client) {
	ctx := t.Context()
	etag, err := c.Put(ctx, "c/k", []byte("1"), object.IfAbsent())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(ctx, "c/k", []byte("2"), object.IfAbsent()); !errdefs.IsConflict(err) {
		t.Errorf("made twice: %v", err)
	}
	if _, err := c.Put(ctx, "c/k", []byte("2"), object.IfMatch(`"0123"`)); !errdefs.IsConflict(err) {
		t.Errorf("another ETag: %v", err)
	}
	if _, err := c.Put(ctx, "c/none", []byte("2"), object.IfMatch(etag)); !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
		t.Errorf("an ETag of nothing: %v", err)
	}
	// Of all who write at once, one is the next.
	for round := range 10 {
		var won atomic.Int32
		var next atomic.Value
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				e, err := c.Put(ctx, "c/k", fmt.Appendf(nil, "%d %d", round, i), object.IfMatch(etag))
				if err == nil {
					won.Add(1)
					next.Store(e)
				} else if !errdefs.IsConflict(err) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d writers won", won.Load())
		}
		etag = next.Load().(string)
	}
}

func testLists(t *testing.T, c *object.Client) {
	ctx := t.Context()
	keys := []string{"l/a!/1", "l/a!/2", "l/a)b!/1", "l/a.b!/1", "l/b", "l/c)!/x/y", "l/d d", "l/e+f"}
	for _, k := range keys {
		if _, err := c.Put(ctx, k, []byte(k), object.Always()); err != nil {
			t.Fatal(err)
		}
	}
	list := func(o object.ListOptions) (got []string) {
		o.Prefix = "l/" + o.Prefix
		err := c.List(ctx, o, func(e object.Entry) (bool, error) {
			got = append(got, e.Key)
			if !strings.HasSuffix(e.Key, "/") && (e.Size != int64(len(e.Key)) || e.ETag == "" || time.Since(e.Modified) > time.Hour) {
				t.Errorf("%v", e)
			}
			return true, nil
		})
		if err != nil {
			t.Error(err)
		}
		return got
	}
	for page := range 4 {
		if got := list(object.ListOptions{Page: page}); fmt.Sprint(got) != fmt.Sprint(keys) {
			t.Errorf("pages of %d: %v", page, got)
		}
		if got := list(object.ListOptions{Page: page, After: "l/a)b!/1"}); fmt.Sprint(got) != fmt.Sprint(keys[3:]) {
			t.Errorf("after, pages of %d: %v", page, got)
		}
		want := "[l/a!/ l/a)b!/ l/a.b!/ l/b l/c)!/ l/d d l/e+f]"
		if got := list(object.ListOptions{Folders: true, Page: page}); fmt.Sprint(got) != want {
			t.Errorf("folders, pages of %d: %v", page, got)
		}
		want = "[l/a)b!/ l/a.b!/ l/b l/c)!/ l/d d l/e+f]"
		if got := list(object.ListOptions{Folders: true, Page: page, After: "l/a!0"}); fmt.Sprint(got) != want {
			t.Errorf("folders after, pages of %d: %v", page, got)
		}
	}
	if got := list(object.ListOptions{Prefix: "a!/"}); fmt.Sprint(got) != "[l/a!/1 l/a!/2]" {
		t.Errorf("a prefix: %v", got)
	}
}

func testParts(t *testing.T, c *object.Client) {
	ctx := t.Context()
	id, err := c.CreateMultipart(ctx, "p/k")
	if err != nil {
		t.Fatal(err)
	}
	a, b := bytes.Repeat([]byte("a"), object.MinPart), []byte("b")
	var parts []object.Part
	for i, data := range [][]byte{a, b} {
		p, err := c.UploadPart(ctx, "p/k", id, i+1, data)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, p)
	}
	seen := 0
	if err := c.ListMultiparts(ctx, "p/", func(m object.Multipart) error {
		if m.Key == "p/k" && m.Upload == id && time.Since(m.Begun) < time.Hour {
			seen++
		}
		return nil
	}); err != nil || seen != 1 {
		t.Errorf("%d uploads, %v", seen, err)
	}
	if err := c.CompleteMultipart(ctx, "p/k", id, parts); err != nil {
		t.Fatal(err)
	}
	if err := c.CompleteMultipart(ctx, "p/k", id, parts); err != nil && !errdefs.IsNotFound(err) {
		t.Errorf("completed twice: %v", err)
	}
	if info, err := c.Head(ctx, "p/k"); err != nil || info.Size != object.MinPart+1 {
		t.Errorf("%v, %v", info, err)
	}
	id, err = c.CreateMultipart(ctx, "p/2")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.AbortMultipart(ctx, "p/2", id); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.UploadPart(ctx, "p/2", id, 1, b); !errdefs.IsNotFound(err) {
		t.Errorf("a part of what was aborted: %v", err)
	}
}

// transport answers in place of a server.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// said is an answer of such a server.
type said struct {
	status int
	body   string
	header []string
}

func reply(status int, body string, header ...string) said { return said{status, body, header} }

func (s said) response() *http.Response {
	h := http.Header{"Etag": {`"e"`}}
	for i := 0; i < len(s.header); i += 2 {
		h.Set(s.header[i], s.header[i+1])
	}
	return &http.Response{StatusCode: s.status, Header: h, Body: io.NopCloser(strings.NewReader(s.body))}
}

func TestTriesAgain(t *testing.T) {
	nobody := errors.New("an error of no class")
	for name, tt := range map[string]struct {
		answers []any
		tries   int
		class   error
	}{
		"works":          {[]any{reply(200, "")}, 1, nil},
		"slow down":      {[]any{reply(503, "<Error><Code>SlowDown</Code></Error>"), reply(200, "")}, 2, nil},
		"cut":            {[]any{io.ErrUnexpectedEOF, reply(200, "")}, 2, nil},
		"asked to wait":  {[]any{reply(429, "", "Retry-After", "0"), reply(200, "")}, 2, nil},
		"another write":  {[]any{reply(409, "<Error><Code>ConditionalRequestConflict</Code></Error>"), reply(200, "")}, 2, nil},
		"never":          {[]any{reply(500, ""), reply(500, "<x"), reply(500, "")}, 3, errdefs.ErrUnavailable},
		"condition":      {[]any{reply(412, "")}, 1, errdefs.ErrConflict},
		"not permitted":  {[]any{reply(403, "<Error><Code>AccessDenied</Code></Error>")}, 1, nobody},
		"no such bucket": {[]any{reply(404, "")}, 1, errdefs.ErrNotFound},
		"nonsense":       {[]any{reply(400, "")}, 1, nobody},
	} {
		t.Run(name, func(t *testing.T) {
			tries := 0
			c, err := object.New(object.Config{Bucket: "b", Tries: 3, Transport: transport(func(r *http.Request) (*http.Response, error) {
				data, _ := io.ReadAll(r.Body)
				if string(data) != "data" || r.URL.String() != "https://s3.us-east-1.amazonaws.com/b/k" {
					t.Errorf("%s: %q", r.URL, data)
				}
				a := tt.answers[tries]
				tries++
				if err, ok := a.(error); ok {
					return nil, err
				}
				return a.(said).response(), nil
			})})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Put(t.Context(), "k", []byte("data"), object.Always())
			if errors.Is(tt.class, nobody) {
				if err == nil || classed(err) || tries != tt.tries {
					t.Errorf("%d tries, %v", tries, err)
				}
			} else if !errors.Is(err, tt.class) || tries != tt.tries {
				t.Errorf("%d tries, %v", tries, err)
			}
		})
	}
}

// classed reports whether an error says something to whoever asks the registry.
func classed(err error) bool {
	return slices.ContainsFunc([]error{errdefs.ErrNotFound, errdefs.ErrAlreadyExists, errdefs.ErrInvalid, errdefs.ErrConflict, errdefs.ErrPermission, errdefs.ErrCorrupt,
		errdefs.ErrLimit, errdefs.ErrUnsupported, errdefs.ErrUnavailable}, func(class error) bool { return errors.Is(err, class) })
}

func TestNoSecretsInErrors(t *testing.T) {
	k := object.Credentials{ID: "id", Secret: "hush", Token: "hush"}
	if s := fmt.Sprintf("%v %+v %#v %s", k, k, k, k); strings.Contains(s, "hush") {
		t.Error(s)
	}
}

func TestConfig(t *testing.T) {
	for _, cfg := range []object.Config{
		{}, {Bucket: "a/b"}, {Bucket: "b", Endpoint: "host"}, {Bucket: "b", Endpoint: "https://u:p@host"}, {Bucket: "b", Endpoint: "https://host/path"}, {Bucket: "b", Endpoint: "ftp://host"},
	} {
		if _, err := object.New(cfg); !errdefs.IsInvalid(err) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
