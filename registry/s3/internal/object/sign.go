package object

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// timeFormat is how signatures write times.
const timeFormat = "20060102T150405Z"

// sign signs a request (AWS Signature Version 4); sum is the SHA-256 of its body, in hex.
func sign(req *http.Request, k Credentials, region, sum string, now time.Time) {
	at := now.UTC().Format(timeFormat)
	req.Header.Set("X-Amz-Date", at)
	req.Header.Set("X-Amz-Content-Sha256", sum)
	if k.Token != "" {
		req.Header.Set("X-Amz-Security-Token", k.Token)
	}
	names, headers := canonicalHeaders(req)
	text := strings.Join([]string{req.Method, req.URL.EscapedPath(), req.URL.RawQuery, headers, names, sum}, "\n")
	scope := at[:8] + "/" + region + "/s3/aws4_request"
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+k.ID+"/"+scope+", SignedHeaders="+names+", Signature="+signature(k, region, at, scope, text))
}

// presign makes an address that works for a while, for whoever knows it.
func presign(u *url.URL, k Credentials, region string, now time.Time, lasts time.Duration) string {
	at := now.UTC().Format(timeFormat)
	scope := at[:8] + "/" + region + "/s3/aws4_request"
	q := url.Values{
		"X-Amz-Algorithm": {"AWS4-HMAC-SHA256"}, "X-Amz-Credential": {k.ID + "/" + scope}, "X-Amz-Date": {at},
		"X-Amz-Expires": {strconv.Itoa(int(lasts.Seconds()))}, "X-Amz-SignedHeaders": {"host"},
	}
	if k.Token != "" {
		q.Set("X-Amz-Security-Token", k.Token)
	}
	query := canonicalQuery(q)
	text := strings.Join([]string{http.MethodGet, u.EscapedPath(), query, "host:" + u.Host + "\n", "host", "UNSIGNED-PAYLOAD"}, "\n")
	signed := *u
	signed.RawQuery = query + "&X-Amz-Signature=" + signature(k, region, at, scope, text)
	return signed.String()
}

// signature signs a canonical request.
func signature(k Credentials, region, at, scope, canonical string) string {
	sum := sha256.Sum256([]byte(canonical))
	text := "AWS4-HMAC-SHA256\n" + at + "\n" + scope + "\n" + hex.EncodeToString(sum[:])
	key := mac([]byte("AWS4"+k.Secret), at[:8])
	for _, s := range []string{region, "s3", "aws4_request"} {
		key = mac(key, s)
	}
	return hex.EncodeToString(mac(key, text))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// canonicalHeaders lists the headers that are signed: the host, and all that we set.
func canonicalHeaders(req *http.Request) (names, lines string) {
	values := map[string]string{"host": req.Host}
	for k, v := range req.Header {
		values[strings.ToLower(k)] = strings.TrimSpace(strings.Join(v, ","))
	}
	keys := make([]string, 0, len(values))
	for k := range values {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var b strings.Builder
	for _, k := range keys {
		b.WriteString(k + ":" + values[k] + "\n")
	}
	return strings.Join(keys, ";"), b.String()
}

// canonicalQuery writes a query as it is signed: sorted, and escaped as RFC 3986 has it.
func canonicalQuery(q url.Values) string {
	parts := make([]string, 0, len(q))
	for k, vs := range q {
		for _, v := range vs {
			parts = append(parts, escape(k, false)+"="+escape(v, false))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, "&")
}

// escape escapes all but the unreserved characters of RFC 3986, and slashes of paths.
func escape(s string, path bool) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~', c == '/' && path:
			b.WriteByte(c)
		default:
			b.WriteString(string([]byte{'%', digits[c>>4], digits[c&15]}))
		}
	}
	return b.String()
}
