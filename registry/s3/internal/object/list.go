package object

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

// ListOptions of a List.
type ListOptions struct {
	Prefix string
	// Folders lists what stands before the next slash after the prefix once, instead of all that begins with it.
	Folders bool
	// After is the key after which the list begins.
	After string
	// Page is how many keys are asked for at once; 0 is as many as the store gives.
	Page int
}

// Entry of a list is an object, or a folder: then its Key ends in a slash, and nothing else is known.
type Entry = Info

// List calls fn for each entry, in the order of the keys' bytes, until it returns false or an error.
func (c *Client) List(ctx context.Context, o ListOptions, fn func(Entry) (bool, error)) error {
	token, last := "", ""
	for {
		q := query("list-type", "2", "prefix", o.Prefix, "continuation-token", token, "encoding-type", "url")
		if o.Folders {
			q.Set("delimiter", "/")
		}
		if token == "" && o.After != "" {
			q.Set("start-after", o.After)
		}
		if o.Page > 0 {
			q.Set("max-keys", strconv.Itoa(min(o.Page, 1000)))
		}
		a, err := c.do(ctx, request{method: http.MethodGet, query: q, whole: maxAnswer})
		if err != nil {
			return fmt.Errorf("list %s: %w", o.Prefix, err)
		}
		entries, next, err := parseList(a.data)
		if err != nil {
			return fmt.Errorf("list %s: %w", o.Prefix, err)
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Key, o.Prefix) || e.Key <= last || e.Key <= o.After {
				continue // some stores begin with the key itself, or repeat a folder on the next page
			}
			last = e.Key
			if on, err := fn(e); err != nil || !on {
				return err
			}
		}
		if next == "" {
			return nil
		}
		if next == token {
			return errdefs.Corrupt("list %s: the object store does not come to an end", o.Prefix)
		}
		token = next
	}
}

// parseList parses a list (ListBucketResult of the protocol), objects and folders merged by their keys.
func parseList(data []byte) ([]Entry, string, error) {
	l, err := parseXML(data)
	if err != nil {
		return nil, "", err
	}
	escaped := l.Get("EncodingType") == "url"
	name := func(s string) (string, error) {
		if !escaped {
			return s, nil
		}
		u, err := url.QueryUnescape(s)
		if err != nil {
			return "", errdefs.Corrupt("the object store's list has the name %.100q", s)
		}
		return u, nil
	}
	var objects, folders []Entry
	for _, o := range l.All("Contents") {
		key, err := name(o.Get("Key"))
		if err != nil {
			return nil, "", err
		}
		size, err := strconv.ParseInt(o.Get("Size"), 10, 64)
		if err != nil || size < 0 {
			return nil, "", errdefs.Corrupt("the object store's list has the size %.40q", o.Get("Size"))
		}
		// A time that cannot be read would make everything look old.
		at, err := time.Parse(time.RFC3339, o.Get("LastModified"))
		if err != nil {
			return nil, "", errdefs.Corrupt("the object store's list has the time %.40q", o.Get("LastModified"))
		}
		objects = append(objects, Entry{Key: key, ETag: o.Get("ETag"), Size: size, Modified: at})
	}
	for _, p := range l.All("CommonPrefixes") {
		key, err := name(p.Get("Prefix"))
		if err != nil {
			return nil, "", err
		}
		folders = append(folders, Entry{Key: key})
	}
	next := ""
	if l.Get("IsTruncated") == "true" {
		next = l.Get("NextContinuationToken")
		if next == "" {
			return nil, "", errdefs.Corrupt("the object store's list is cut and does not say where it goes on")
		}
	}
	return merge(objects, folders), next, nil
}

// merge merges two sorted lists.
func merge(a, b []Entry) []Entry {
	all := make([]Entry, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0].Key < b[0].Key {
			all, a = append(all, a[0]), a[1:]
		} else {
			all, b = append(all, b[0]), b[1:]
		}
	}
	return append(append(all, a...), b...)
}
