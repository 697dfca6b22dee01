package engine

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// serving starts a registry and returns where it is, and what ends it.
func serving(t *testing.T, opts ServeOptions) (Serving, func() error) {
	t.Helper()
	return servingWith(t, opts, func(err error) { t.Errorf("fault: %v", err) })
}

// servingWith is serving with somebody who is told of faults.
func servingWith(t *testing.T, opts ServeOptions, fault func(error)) (Serving, func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan Serving, 1), make(chan error, 1)
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	opts.Ready = func(s Serving) { ready <- s }
	opts.Fault = fault
	go func() { ended <- Serve(ctx, Config{}, opts) }()
	stop := func() error { cancel(); err := <-ended; ended <- nil; return err }
	t.Cleanup(func() { _ = stop() })
	select {
	case s := <-ready:
		return s, stop
	case err := <-ended:
		ended <- nil
		t.Fatalf("it does not serve: %v", err)
		return Serving{}, nil
	}
}

// get asks for something and returns status, body and headers.
func get(t *testing.T, c *http.Client, method, url, user string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if name, password, ok := strings.Cut(user, ":"); ok {
		req.SetBasicAuth(name, password)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

func TestServeKeepsWhatItWasGiven(t *testing.T) {
	data := t.TempDir()
	s, stop := serving(t, ServeOptions{Data: data})
	client := &http.Client{}
	defer client.CloseIdleConnections()
	d := digest.FromString("x").String()
	resp, err := client.Post(s.URL+"/v2/app/blobs/uploads/?digest="+d, "application/octet-stream", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for _, path := range []string{"/v2/", "/livez", "/readyz", "/v2/app/blobs/" + d} {
		if status, body, _ := get(t, client, "GET", s.URL+path, ""); status != 200 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, body, _ := get(t, client, "GET", s.URL+"/metrics", ""); status != 200 || !strings.Contains(body, `camada_registry_requests_total{kind="blob",method="GET",status="200"} 1`) {
		t.Errorf("metrics: %d %s", status, body)
	}
	if status, _, _ := get(t, client, "GET", s.URL+"/token", ""); status != 404 {
		t.Errorf("a token without users: %d", status)
	}
	if err := Serve(t.Context(), Config{}, ServeOptions{Data: data, Addr: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second one for the same directory: %v", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	s, _ = serving(t, ServeOptions{Data: data})
	if status, _, _ := get(t, client, "GET", s.URL+"/v2/app/blobs/"+d, ""); status != 200 {
		t.Errorf("after a restart: %d", status)
	}
}

// over speaks to a registry over pipes, as through ssh.
func over(t *testing.T, data, requests string) []int {
	t.Helper()
	in, client := io.Pipe()
	answers, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Serve(t.Context(), Config{}, ServeOptions{Data: data, In: in, Out: out}) }()
	var statuses []int
	r := bufio.NewReader(answers)
	for _, line := range strings.Split(requests, "\n") {
		if _, err := io.WriteString(client, line+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		statuses = append(statuses, resp.StatusCode)
	}
	client.Close()
	go func() { _, _ = io.Copy(io.Discard, answers) }()
	if err := <-ended; err != nil {
		t.Errorf("stdio: %v", err)
	}
	return statuses
}

func TestServeStdio(t *testing.T) {
	data := t.TempDir()
	requests := "GET /v2/\nPOST /v2/app/blobs/uploads/\nGET /v2/_catalog\nGET /v2/app/manifests/x"
	want := []int{200, 202, 200, 404}
	check := func(what string, got []int) {
		t.Helper()
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: %v, want %v", what, got, want)
				return
			}
		}
	}
	check("alone", over(t, data, requests))
	_, stop := serving(t, ServeOptions{Data: data})
	check("beside a registry that is served", over(t, data, requests))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	check("alone again", over(t, data, requests))
	// Several at once: one of them owns the directory, and the others speak through it.
	const many = 8
	done := make(chan []int, many)
	for range many {
		go func() { done <- over(t, data, requests) }()
	}
	for range many {
		check("at once", <-done)
	}
}

// certificate makes a certificate for 127.0.0.1 and writes it.
func certificate(t *testing.T, dir string, serial int64) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "registry"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestServeCertificate(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir, 1)
	file := filepath.Join(dir, "c.yaml")
	if err := os.WriteFile(file, []byte("tls: {certificate: cert.pem, key: key.pem}\ndata: data\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := serving(t, ServeOptions{ConfigFile: file})
	serial := func() int64 {
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
		conn, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(s.URL, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if n := serial(); n != 1 {
		t.Errorf("certificate %d", n)
	}
	certificate(t, dir, 2)
	for began := time.Now(); serial() != 2; time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("the new certificate is not used")
		}
	}
	// One that cannot be read leaves the old one in use, and is found beforehand.
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(certRecheck + 100*time.Millisecond)
	if n := serial(); n != 2 {
		t.Errorf("certificate %d", n)
	}
	if err := CheckServe(Config{}, ServeOptions{ConfigFile: file}); err == nil {
		t.Error("a key that cannot be read is not found")
	}
}

func TestServeUsers(t *testing.T) {
	dir := t.TempDir()
	// Nobody knows the password of alice.
	write := map[string]string{"htpasswd": "alice:$2b$04$aAvk3a0dsYBXa6QzZoTjfOy7Xh1GhKd7hJy5lQoLeDVZHUhQ0gOUC\n", "c.yaml": `
users: htpasswd
data: data
audit: audit.log
robots: [{name: bot, secret: "sha256:` + digest.FromString("hunter2").Encoded() + `"}]
rules:
  - {repositories: "team/**", users: bot, actions: [pull, push]}
  - {repositories: "public/**", users: anonymous, actions: pull}
`}
	for name, text := range write {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, _ := serving(t, ServeOptions{ConfigFile: filepath.Join(dir, "c.yaml")})
	client := &http.Client{}
	defer client.CloseIdleConnections()
	if status, _, h := get(t, client, "GET", s.URL+"/v2/", ""); status != 401 || !strings.HasPrefix(h.Get("Www-Authenticate"), `Bearer realm="`+s.URL+`/token"`) {
		t.Errorf("at the door: %d %s", status, h.Get("Www-Authenticate"))
	}
	for _, tc := range []struct {
		method, path, user string
		status             int
	}{
		{"GET", "/v2/", "bot:hunter2", 200}, {"GET", "/v2/", "bot:x", 401}, {"POST", "/v2/team/app/blobs/uploads/", "bot:hunter2", 202}, {"POST", "/v2/team/app/blobs/uploads/", "", 401},
		{"POST", "/v2/other/blobs/uploads/", "bot:hunter2", 403}, {"GET", "/v2/public/x/manifests/1", "", 404}, {"GET", "/v2/team/x/manifests/1", "", 401},
		{"POST", "/v2/_camada/registry/sweep", "bot:hunter2", 403}, {"POST", "/v2/_camada/registry/sweep", "", 401},
		{"GET", "/metrics", "bot:hunter2", 401}, {"GET", "/metrics", "", 401}, {"GET", "/livez", "", 200},
	} {
		if status, body, _ := get(t, client, tc.method, s.URL+tc.path, tc.user); status != tc.status {
			t.Errorf("%s %s as %q: %d %s, want %d", tc.method, tc.path, tc.user, status, body, tc.status)
		}
	}
	status, body, _ := get(t, client, "GET", s.URL+"/token?scope=repository:team/app:pull,push", "bot:hunter2")
	var reply struct{ Token string }
	if err := json.Unmarshal([]byte(body), &reply); err != nil || status != 200 || reply.Token == "" {
		t.Fatalf("token: %d %s", status, body)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "audit.log")); err != nil || !strings.Contains(string(b), `"who":"bot"`) || strings.Contains(string(b), "hunter2") {
		t.Errorf("the audit log: %s, %v", b, err)
	}
	if fi, err := os.Stat(filepath.Join(dir, "data", "token.key")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the key of tokens: %v", err)
	}
}
