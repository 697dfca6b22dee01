package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// loadConn is one connection of a client that costs as little as it can: what is measured is the server.
type loadConn struct {
	s    *server
	conn net.Conn
	in   *bufio.Reader
	text *textproto.Reader
}

func dialLoad(ctx context.Context, s *server) (*loadConn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(conn, 64<<10)
	return &loadConn{s: s, conn: conn, in: in, text: textproto.NewReader(in)}, nil
}

func (c *loadConn) close() { c.conn.Close() }

// load makes n requests over some connections.
func load(ctx context.Context, s *server, n int, request func(c *loadConn, i int) error) error {
	var next atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, loadAtOnce)
	for w := range loadAtOnce {
		all.Go(func() {
			c, err := dialLoad(ctx, s)
			if err != nil {
				errs[w] = err
				return
			}
			defer c.close()
			for ctx.Err() == nil {
				i := int(next.Add(1))
				if i > n {
					return
				}
				if err := request(c, i); err != nil {
					errs[w] = err
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(append(errs, ctx.Err())...)
}

// do sends a request and reads the answer; the body is thrown away. It returns status and Location.
func (c *loadConn) do(method, path, contentType string, body []byte) (status int, location string, err error) {
	head := method + " " + path + " HTTP/1.1\r\nHost: " + c.s.address + "\r\n" + c.s.auth
	if method == "GET" {
		head += "Accept: " + manifestType + "\r\n"
	} else {
		head += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	if contentType != "" {
		head += "Content-Type: " + contentType + "\r\n"
	}
	buffers := net.Buffers{[]byte(head + "\r\n"), body}
	if _, err := buffers.WriteTo(c.conn); err != nil {
		return 0, "", err
	}
	line, err := c.text.ReadLine()
	if err != nil {
		return 0, "", err
	}
	if _, err := fmt.Sscanf(line, "HTTP/1.1 %d", &status); err != nil {
		return 0, "", fmt.Errorf("answer %q: %w", line, err)
	}
	length := int64(-1)
	for {
		line, err := c.text.ReadLine()
		if err != nil {
			return 0, "", err
		}
		if line == "" {
			break
		}
		key, value, _ := strings.Cut(line, ": ")
		switch strings.ToLower(key) {
		case "content-length":
			if length, err = strconv.ParseInt(value, 10, 64); err != nil {
				return 0, "", err
			}
		case "location":
			location = value
		}
	}
	if length < 0 && status != 204 {
		return 0, "", fmt.Errorf("%s %s: an answer without a length", method, path)
	}
	_, err = io.CopyN(io.Discard, c.in, max(0, length))
	return status, location, err
}

func (c *loadConn) get(path string) error {
	status, _, err := c.do("GET", path, "", nil)
	if err == nil && status != 200 {
		err = fmt.Errorf("GET %s: status %d", path, status)
	}
	return err
}

// putBlob uploads a blob in the two requests that every registry knows.
func (c *loadConn) putBlob(blob []byte) error {
	status, location, err := c.do("POST", "/v2/bench/blobs/uploads/", "", nil)
	if err == nil && status != 202 {
		err = fmt.Errorf("begin an upload: status %d", status)
	}
	if err != nil {
		return err
	}
	u, err := url.Parse(location)
	if err != nil {
		return err
	}
	q := u.Query()
	q.Set("digest", digestOf(blob))
	status, _, err = c.do("PUT", u.Path+"?"+q.Encode(), "application/octet-stream", blob)
	if err == nil && status != 201 {
		err = fmt.Errorf("end an upload: status %d", status)
	}
	return err
}

func (c *loadConn) putManifest(tag string, data []byte) error {
	status, _, err := c.do("PUT", "/v2/bench/manifests/"+tag, manifestType, data)
	if err == nil && status != 201 {
		err = fmt.Errorf("put a manifest: status %d", status)
	}
	return err
}
