package object

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

// MinPart is the least size of all parts but the last; MaxParts is how many there may be.
const (
	MinPart  = 5 << 20
	MaxParts = 10000
)

// Part is a part of an object that is not complete.
type Part struct {
	Number int    `json:"n"`
	ETag   string `json:"etag"`
	Size   int64  `json:"size"`
}

// CreateMultipart begins an object that is made of parts and returns the name of the work.
func (c *Client) CreateMultipart(ctx context.Context, key string) (string, error) {
	a, err := c.do(ctx, request{method: http.MethodPost, key: key, query: map[string][]string{"uploads": {""}}, body: []byte{}, whole: maxAnswer})
	if err != nil {
		return "", err
	}
	e, err := parseXML(a.data)
	if err != nil {
		return "", err
	}
	id := e.Get("UploadId")
	if id == "" {
		return "", errdefs.Corrupt("the object store gives no name for what is uploaded in parts")
	}
	return id, nil
}

// UploadPart uploads a part, numbered from 1. The same number again replaces it.
func (c *Client) UploadPart(ctx context.Context, key, upload string, number int, data []byte) (Part, error) {
	a, err := c.do(ctx, request{method: http.MethodPut, key: key, query: query("partNumber", strconv.Itoa(number), "uploadId", upload), body: data, whole: maxAnswer})
	if err != nil {
		return Part{}, err
	}
	return Part{Number: number, ETag: a.header.Get("ETag"), Size: int64(len(data))}, nil
}

// CompleteMultipart makes the object of its parts; ErrNotFound when the work is not there (any more), because it was completed before, too.
func (c *Client) CompleteMultipart(ctx context.Context, key, upload string, parts []Part) error {
	var body bytes.Buffer
	body.WriteString(`<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`)
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	for _, p := range parts {
		fmt.Fprintf(&body, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", p.Number, escape.Replace(p.ETag))
	}
	body.WriteString("</CompleteMultipartUpload>")
	for try := 1; ; try++ {
		a, err := c.do(ctx, request{method: http.MethodPost, key: key, query: query("uploadId", upload), body: body.Bytes(), whole: maxAnswer})
		if err != nil {
			return err
		}
		// It takes long: so the store may begin with "200 OK" and say later that it failed.
		if !bytes.Contains(a.data, []byte("<Error>")) {
			return nil
		}
		err = failure(http.StatusInternalServerError, bytes.NewReader(a.data))
		if try == 3 {
			return err
		}
		select {
		case <-time.After(time.Duration(try) * time.Second):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// AbortMultipart throws the parts away; work that is not there is no error.
func (c *Client) AbortMultipart(ctx context.Context, key, upload string) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, key: key, query: query("uploadId", upload), whole: maxAnswer})
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// Multipart is work that is not complete.
type Multipart struct {
	Key, Upload string
	Begun       time.Time
}

// ListMultiparts calls fn for all work that is not complete and whose key begins with the prefix.
func (c *Client) ListMultiparts(ctx context.Context, prefix string, fn func(Multipart) error) error {
	key, upload := "", ""
	for {
		q := query("prefix", prefix, "key-marker", key, "upload-id-marker", upload)
		q.Set("uploads", "")
		a, err := c.do(ctx, request{method: http.MethodGet, query: q, whole: maxAnswer})
		if err != nil {
			return fmt.Errorf("list uploads under %s: %w", prefix, err)
		}
		l, err := parseXML(a.data)
		if err != nil {
			return err
		}
		for _, u := range l.All("Upload") {
			at, err := time.Parse(time.RFC3339, u.Get("Initiated"))
			if err != nil || !strings.HasPrefix(u.Get("Key"), prefix) {
				continue
			}
			if err := fn(Multipart{u.Get("Key"), u.Get("UploadId"), at}); err != nil {
				return err
			}
		}
		nextKey, nextUpload := l.Get("NextKeyMarker"), l.Get("NextUploadIdMarker")
		if l.Get("IsTruncated") != "true" || nextKey == "" || nextKey == key && nextUpload == upload {
			return nil
		}
		key, upload = nextKey, nextUpload
	}
}
