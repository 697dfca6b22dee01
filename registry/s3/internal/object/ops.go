package object

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

// Condition of a write: it happens only when the condition holds, and is ErrConflict otherwise.
type Condition struct {
	absent bool
	etag   string
}

// Always writes whatever is there.
func Always() Condition { return Condition{} }

// IfAbsent writes when there is no such object.
func IfAbsent() Condition { return Condition{absent: true} }

// IfMatch writes over the object that has this ETag.
func IfMatch(etag string) Condition { return Condition{etag: etag} }

func (c Condition) header() http.Header {
	h := make(http.Header, 2)
	switch {
	case c.absent:
		h.Set("If-None-Match", "*")
	case c.etag != "":
		h.Set("If-Match", c.etag)
	}
	return h
}

// Info is what is known of an object. ETag is as it was sent, with its quotes.
type Info struct {
	Key      string
	ETag     string
	Size     int64
	Modified time.Time
}

// Object is an object that is read. Size is of the whole, also when a range was asked for.
type Object struct {
	Info
	Body io.ReadCloser
}

// GetOptions of a Get.
type GetOptions struct {
	// IfNoneMatch answers ErrConflict when the object still has this ETag.
	IfNoneMatch string
	// Offset and Length choose a range; a Length of 0 is all that follows.
	Offset, Length int64
}

// Get opens an object. Who reads its Body may meet ErrUnavailable anywhere.
func (c *Client) Get(ctx context.Context, key string, o GetOptions) (Object, error) {
	h := make(http.Header, 2)
	if o.IfNoneMatch != "" {
		h.Set("If-None-Match", o.IfNoneMatch)
	}
	ranged := o.Offset > 0 || o.Length > 0
	if ranged {
		last := ""
		if o.Length > 0 {
			last = strconv.FormatInt(o.Offset+o.Length-1, 10)
		}
		h.Set("Range", "bytes="+strconv.FormatInt(o.Offset, 10)+"-"+last)
	}
	a, err := c.do(ctx, request{method: http.MethodGet, key: key, header: h})
	if err != nil {
		return Object{}, err
	}
	info, err := infoOf(key, a.header)
	if err == nil && ranged {
		if a.status != http.StatusPartialContent {
			err = errdefs.Unsupported("the object store heeds no ranges")
		} else {
			info.Size, err = wholeSize(a.header.Get("Content-Range"))
		}
	}
	if err != nil {
		a.body.Close()
		return Object{}, fmt.Errorf("read %s: %w", key, err)
	}
	return Object{Info: info, Body: a.body}, nil
}

// ReadAll reads a small object whole, again when it breaks off: more than limit bytes are ErrLimit.
func (c *Client) ReadAll(ctx context.Context, key, ifNoneMatch string, limit int64) ([]byte, Info, error) {
	h := make(http.Header, 1)
	if ifNoneMatch != "" {
		h.Set("If-None-Match", ifNoneMatch)
	}
	a, err := c.do(ctx, request{method: http.MethodGet, key: key, header: h, whole: limit})
	if err != nil {
		return nil, Info{}, err
	}
	info, err := infoOf(key, a.header)
	if err != nil {
		return nil, Info{}, fmt.Errorf("read %s: %w", key, err)
	}
	return a.data, info, nil
}

// Head tells of an object.
func (c *Client) Head(ctx context.Context, key string) (Info, error) {
	a, err := c.do(ctx, request{method: http.MethodHead, key: key, whole: maxAnswer})
	if err != nil {
		return Info{}, err
	}
	return infoOf(key, a.header)
}

// Put writes an object and returns its ETag.
func (c *Client) Put(ctx context.Context, key string, data []byte, cond Condition) (string, error) {
	if data == nil {
		data = []byte{}
	}
	a, err := c.do(ctx, request{method: http.MethodPut, key: key, header: cond.header(), body: data, whole: maxAnswer})
	if err != nil {
		return "", err
	}
	return a.header.Get("ETag"), nil
}

// Delete removes an object; one that is not there is no error.
func (c *Client) Delete(ctx context.Context, key string) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, key: key, whole: maxAnswer})
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// Presign makes an address at which an object can be read for a while, by whoever knows the address.
func (c *Client) Presign(ctx context.Context, key string, lasts time.Duration) (string, error) {
	if c.creds == nil {
		return "", nil
	}
	k, err := c.creds.Get(ctx)
	if err != nil {
		return "", fmt.Errorf("credentials of the object store: %w", err)
	}
	u := *c.base
	u.Path += "/" + key
	u.RawPath = escape(u.Path, true)
	return presign(&u, k, c.region, c.Now(), lasts), nil
}

// BucketExists is nil when the bucket is there and may be listed.
func (c *Client) BucketExists(ctx context.Context) error {
	_, err := c.do(ctx, request{method: http.MethodHead, whole: maxAnswer})
	return err
}

// CreateBucket makes the bucket; one that is there already is no error.
func (c *Client) CreateBucket(ctx context.Context) error {
	_, err := c.do(ctx, request{method: http.MethodPut, body: []byte{}, whole: maxAnswer})
	if err == nil {
		return nil
	}
	if c.BucketExists(ctx) == nil {
		return nil
	}
	return err
}

// infoOf reads what the headers of an answer tell.
func infoOf(key string, h http.Header) (Info, error) {
	info := Info{Key: key, ETag: h.Get("ETag")}
	if info.ETag == "" {
		return info, errdefs.Unsupported("the object store gives no ETag")
	}
	if s := h.Get("Content-Length"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 {
			return info, errdefs.Corrupt("a Content-Length of %.40q", s)
		}
		info.Size = n
	}
	if t, err := http.ParseTime(h.Get("Last-Modified")); err == nil {
		info.Modified = t
	}
	return info, nil
}

// wholeSize reads the size of the whole from "bytes 0-1/234".
func wholeSize(s string) (int64, error) {
	_, size, ok := strings.Cut(s, "/")
	n, err := strconv.ParseInt(size, 10, 64)
	if !ok || err != nil || n < 0 {
		return 0, errdefs.Corrupt("a Content-Range of %.60q", s)
	}
	return n, nil
}

// query makes a query of names and values.
func query(pairs ...string) url.Values {
	q := make(url.Values, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}
