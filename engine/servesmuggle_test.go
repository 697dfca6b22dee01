package engine

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/net/http2/hpack"
)

// raw sends bytes and returns the answers until the registry ends the connection.
func raw(t *testing.T, addr, text string) (statuses []int, bodies string) {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	go func() {
		// What is refused in the middle ends the connection, and this write with it.
		_, _ = io.WriteString(conn, text)
	}()
	r := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("the registry waits for more after %v", statuses)
			}
			return statuses, bodies
		}
		b, _ := io.ReadAll(resp.Body) // it may be cut off
		resp.Body.Close()
		statuses, bodies = append(statuses, resp.StatusCode), bodies+string(b)
	}
}

// What could be read in two ways is refused, or read as RFC 9112 says; what follows is then a request of its own, with its own rights.
func TestServeSmuggling(t *testing.T) {
	s, _ := serving(t, ServeOptions{Data: t.TempDir()})
	addr := strings.TrimPrefix(s.URL, "http://")
	const next = "GET /v2/smuggled/tags/list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	hello := "POST /v2/app/blobs/uploads/?digest=" + digest.FromString("hello").String() + " HTTP/1.1\r\nHost: x\r\n"
	refused, both := []int{400}, []int{201, 404}
	for name, tc := range map[string]struct {
		text string
		want []int
	}{
		"a length":                      {hello + "Content-Length: 5\r\n\r\nhello" + next, both},
		"the same length twice":         {hello + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello" + next, both},
		"two lengths":                   {hello + "Content-Length: 5\r\nContent-Length: 90\r\n\r\nhello" + next, refused},
		"two lengths in one":            {hello + "Content-Length: 5, 90\r\n\r\nhello" + next, refused},
		"a length with a sign":          {hello + "Content-Length: +5\r\n\r\nhello" + next, refused},
		"a negative length":             {hello + "Content-Length: -5\r\n\r\nhello" + next, refused},
		"a length of hex":               {hello + "Content-Length: 0x5\r\n\r\nhello" + next, refused},
		"an empty length":               {hello + "Content-Length: \r\n\r\nhello" + next, refused},
		"a huge length":                 {hello + "Content-Length: 99999999999999999999\r\n\r\nhello" + next, refused},
		"chunks":                        {hello + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + next, both},
		"a length and chunks":           {hello + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + next, both},
		"a wrong length and chunks":     {hello + "Content-Length: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + next, refused},
		"chunks twice":                  {hello + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + next, []int{501}},
		"chunks, then something":        {hello + "Transfer-Encoding: chunked, identity\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + next, []int{501}},
		"something, then chunks":        {hello + "Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + next, []int{501}},
		"an unknown coding":             {hello + "Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\nhello" + next, []int{501}},
		"a control character":           {hello + "Transfer-Encoding: \x0bchunked\r\nContent-Length: 5\r\n\r\nhello" + next, refused},
		"a space before the colon":      {hello + "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\nhello" + next, refused},
		"a space before the first":      {"GET /v2/ HTTP/1.1\r\n Host: x\r\n\r\n" + next, refused},
		"a folded line":                 {hello + "X: a\r\n Content-Length: 90\r\nContent-Length: 5\r\n\r\nhello" + next, both},
		"a bare CR":                     {hello + "X: a\rContent-Length: 90\r\nContent-Length: 5\r\n\r\nhello" + next, refused},
		"a zero":                        {hello + "X: a\x00\r\nContent-Length: 5\r\n\r\nhello" + next, refused},
		"a name with a space":           {hello + "Content Length: 90\r\nContent-Length: 5\r\n\r\nhello" + next, refused},
		"a line without a colon":        {hello + "Content-Length\r\nContent-Length: 5\r\n\r\nhello" + next, refused},
		"chunks of bare LF":             {hello + "Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n" + next, refused},
		"a chunk that is longer":        {hello + "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n" + next, refused},
		"a chunk with an extension":     {hello + "Transfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0;x\r\n\r\n" + next, both},
		"an extension with bare LF":     {hello + "Transfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n" + next, refused},
		"a long extension":              {hello + "Transfer-Encoding: chunked\r\n\r\n5;" + strings.Repeat("a", 100_000) + "\r\nhello\r\n0\r\n\r\n" + next, refused},
		"many extensions":               {hello + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("a", 4000)+"\r\nh\r\n", 100) + "0\r\n\r\n" + next, refused},
		"a chunk's size too big":        {hello + "Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n" + next, refused},
		"a chunk's size with a sign":    {hello + "Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n" + next, refused},
		"a chunk's size with 0x":        {hello + "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n" + next, refused},
		"no host":                       {"GET /v2/ HTTP/1.1\r\n\r\n" + next, refused},
		"two hosts":                     {"GET /v2/ HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" + next, refused},
		"a host with a path":            {"GET /v2/ HTTP/1.1\r\nHost: x/y\r\n\r\n" + next, refused},
		"a tab in the request line":     {"GET\t/v2/ HTTP/1.1\r\nHost: x\r\n\r\n" + next, refused},
		"two spaces":                    {"GET  /v2/ HTTP/1.1\r\nHost: x\r\n\r\n" + next, refused},
		"a method with a colon":         {"GE:T /v2/ HTTP/1.1\r\nHost: x\r\n\r\n" + next, refused},
		"HTTP/2 without TLS":            {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + next, []int{404}},
		"an upgrade":                    {"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + next, []int{200, 404}},
		"a head that is too long":       {"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 100_000) + "\r\n\r\n" + next, []int{431}},
		"expect something":              {hello + "Expect: 200-ok\r\nContent-Length: 5\r\n\r\nhello" + next, []int{417}},
		"a body of a GET":               {"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: " + "5\r\n\r\nhello" + next, []int{200, 404}},
		"chunks of HTTP/1.0, no length": {strings.Replace(hello, "1.1", "1.0", 1) + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + next, refused},
	} {
		if got, body := raw(t, addr, tc.text); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v: %s", name, got, tc.want, body)
		}
	}
}

// Names that could be read in two ways lead to nothing that one may not see.
func TestServePaths(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "c.yaml")
	if err := os.WriteFile(file, []byte("data: data\nrobots: ["+robot("bot")+"]\nrules:\n  - {repositories: '**', users: bot, actions: [pull, push]}\n  - {repositories: 'public/**', users: anonymous, actions: [pull, push]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := serving(t, ServeOptions{ConfigFile: file})
	client := &http.Client{}
	defer client.CloseIdleConnections()
	text := "hello"
	d := digest.FromString(text).String()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v2/secret/blobs/uploads/?digest="+d, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("bot", "hunter2")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("push: %d", resp.StatusCode)
	}
	blob := "secret/blobs/" + d
	for _, target := range []string{
		"/v2/" + blob, "/v2/public/../" + blob, "/v2/public/%2e%2e/" + blob, "/v2/public%2f..%2f" + blob, "/v2/public/..%2f" + blob, "/v2/public/..%5c" + blob, "/v2/public\\..\\" + blob, "/v2//" + blob,
		"/v2/./" + blob, "//v2/" + blob, "/v2/secret%2fblobs%2f" + d, "/v2/SECRET/blobs/" + d, "/v2/secret%00/blobs/" + d, "/v2/public/x/../../" + blob, "/v2/secret/blobs/" + d + "/", "/v2/secret/blobs/" + d + "%00",
		"/v2/secret/blobs/" + strings.ToUpper(d[7:]), "/v2/public/blobs/../../" + blob, "http://x/v2/" + blob, "/V2/" + blob, "/v2/public/;/../" + blob, "/v2/public/blobs/" + d, "/v2/%73ecret/blobs/" + d,
		"/v2/public/x/blobs/sha256:../../../../secret", "/v2/public/x/blobs/sha256:..%2f..%2f..%2fetc%2fpasswd", "/v2/public/x/blobs/uploads/..%2f..%2f..%2fetc", "/v2/public/x/manifests/..%2f..%2fsecret",
		"/v2/public/x/referrers/sha256:%2e%2e%2f", "/v2/_catalog", "/v2/public/x/_camada/history/..%2fx", "/v2/_camada/registry/../../" + blob, "/v2/public/x/blobs/uploads/?mount=" + d + "&from=secret",
	} {
		statuses, body := raw(t, strings.TrimPrefix(s.URL, "http://"), "GET "+target+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if len(statuses) != 1 || statuses[0] < 400 || statuses[0] >= 500 || strings.Contains(body, text) {
			t.Errorf("%s: %v %s", target, statuses, body)
		}
	}
	// A mount takes nothing out of what one may not read, whatever it is called.
	for _, from := range []string{"secret", "%73ecret", "public/../secret", "secret/", "", "SECRET", "secret%00"} {
		statuses, _ := raw(t, strings.TrimPrefix(s.URL, "http://"), "POST /v2/public/x/blobs/uploads/?mount="+d+"&from="+from+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if !slices.Equal(statuses, []int{202}) {
			t.Errorf("a mount from %q: %v", from, statuses)
		}
	}
	// Credentials after the body are none.
	late := "POST /v2/secret/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: Authorization\r\nConnection: close\r\n\r\n0\r\nAuthorization: Basic Ym90Omh1bnRlcjI=\r\n\r\n"
	if statuses, _ := raw(t, strings.TrimPrefix(s.URL, "http://"), late); !slices.Equal(statuses, []int{401}) {
		t.Errorf("credentials in a trailer: %v", statuses)
	}
	if matches, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(matches) != 2 {
		t.Errorf("files beside the data: %v, %v", matches, err)
	}
}

// HTTP/2 has the length of a body twice as well, and headers that mean nothing in it.
func TestServeSmugglingHTTP2(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir, 1)
	file := filepath.Join(dir, "c.yaml")
	if err := os.WriteFile(file, []byte("tls: {certificate: cert.pem, key: key.pem}\ndata: data\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := serving(t, ServeOptions{ConfigFile: file})
	for name, tc := range map[string]struct {
		header []string // pairs
		body   string
		good   bool
	}{
		"a length":              {[]string{"content-length", "5"}, "hello", true},
		"no length":             {nil, "hello", true},
		"a length that is less": {[]string{"content-length", "3"}, "hello", false},
		"a length that is more": {[]string{"content-length", "9"}, "hello", false},
		"two lengths":           {[]string{"content-length", "5", "content-length", "9"}, "hello", false},
		"chunks":                {[]string{"transfer-encoding", "chunked"}, "hello", false},
		"a connection":          {[]string{"connection", "content-length"}, "hello", false},
		"a line in a value":     {[]string{"x", "a\r\ncontent-length: 9"}, "hello", false},
		"a line in a name":      {[]string{"x\r\ny", "a"}, "hello", false},
		"capitals":              {[]string{"Content-Length", "5"}, "hello", false},
	} {
		if status := over2(t, strings.TrimPrefix(s.URL, "https://"), tc.header, tc.body); (status == "201") != tc.good {
			t.Errorf("%s: %s", name, status)
		}
	}
}

// over2 pushes a blob over HTTP/2 and returns the status, or how the stream ended.
func over2(t *testing.T, addr string, header []string, body string) string {
	t.Helper()
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}}
	conn, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	pairs := append([]string{":method", "POST", ":scheme", "https", ":authority", "x", ":path", "/v2/app/blobs/uploads/?digest=" + digest.FromString("hello").String()}, header...)
	for i := 0; i < len(pairs); i += 2 {
		if err := enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}); err != nil {
			t.Fatal(err)
		}
	}
	// RFC 9113, sections 3.4 and 4.1: settings, the header's block, which ends there (4), and the body, which ends the stream (1).
	text := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame2(4, 0, 0, nil) + frame2(1, 4, 1, block.Bytes()) + frame2(0, 1, 1, []byte(body))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	for {
		var head [9]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return err.Error()
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(conn, payload); err != nil {
			return err.Error()
		}
		switch head[3] {
		case 1: // HEADERS
			fields, err := hpack.NewDecoder(4096, nil).DecodeFull(payload)
			if err != nil || len(fields) == 0 {
				t.Fatalf("header: %v", err)
			}
			return fields[0].Value
		case 3, 7: // RST_STREAM, GOAWAY
			return "ended"
		}
	}
}

// frame2 is a frame of HTTP/2.
func frame2(kind, flags byte, stream uint32, payload []byte) string {
	n := len(payload)
	b := []byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}
	return string(append(binary.BigEndian.AppendUint32(b, stream), payload...))
}
