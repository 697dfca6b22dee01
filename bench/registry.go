package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// server is a registry that the bench started.
type server struct {
	address string
	// auth is the header that lets in, with its line end; "" when everybody is let in.
	auth string
	// daemon is its name among the daemons.
	daemon string
}

// Who may use a registry that does not let in everybody.
const user, password = "bench", "a password of the bench"

// servers are the registries that are compared.
var servers = []string{"camada", "registry v3", "registry 2.8", "crane, in memory"}

// registry starts a registry with an empty directory. With an auth of "basic" it asks for user and password.
func (b *bench) registry(ctx context.Context, name, auth string) (*server, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{address: l.Addr().String()}
	l.Close()
	b.started++
	dir := b.path(fmt.Sprint("registry-", b.started))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	args, err := b.registryCommand(name, auth, s.address, dir)
	if err != nil {
		return nil, err
	}
	if auth != "" {
		s.auth = "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)) + "\r\n"
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // it is ended by stopDaemons, in order, not by a kill
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if b.daemons == nil {
		b.daemons = map[string]*daemon{}
	}
	s.daemon = fmt.Sprintf("%s %d", name, b.started)
	b.daemons[s.daemon] = &daemon{cmd: cmd, dir: dir}
	for range 200 {
		if c, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.address); err == nil {
			return s, c.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, errors.New(name + " does not answer")
}

// registryCommand writes a registry's configuration and returns its command line.
func (b *bench) registryCommand(name, auth, address, dir string) ([]string, error) {
	users := filepath.Join(dir, "htpasswd")
	if auth != "" {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(users, []byte(user+":"+string(hash)+"\n"), 0o600); err != nil {
			return nil, err
		}
	}
	config := filepath.Join(dir, "config.yml")
	var program, text string
	switch name {
	case "camada":
		args := []string{b.camada, "serve", "--addr", address, "--data", filepath.Join(dir, "data")}
		if auth == "" {
			return args, nil
		}
		text := "users: " + users + "\ntokens: {off: true}\n"
		return append(args, "--config", config), os.WriteFile(config, []byte(text), 0o600)
	case "crane, in memory":
		if auth != "" {
			return nil, errors.New("it knows no users")
		}
		return []string{"crane", "registry", "serve", "--address", address}, b.needs("crane")
	case "registry v3":
		program = "registry"
	case "registry 2.8":
		program = "docker-registry"
	}
	text = "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: " + filepath.Join(dir, "data") + "}}\nhttp: {addr: " + address + "}\n"
	if auth != "" {
		text += "auth: {htpasswd: {realm: bench, path: " + users + "}}\n"
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return []string{program, "serve", config}, b.needs(program)
}

// needs is an error when a program is not installed.
func (b *bench) needs(program string) error {
	_, err := exec.LookPath(program)
	return err
}

// registryContenders let each registry answer the same requests. prepare puts in what they ask for, run asks.
func registryContenders(auth string, prepare func(context.Context, *server) error, run func(ctx context.Context, s *server, round int) error) func(*bench) []contender {
	return func(b *bench) []contender {
		ctx := context.Background()
		var cs []contender
		for _, name := range servers {
			s, err := b.registry(ctx, name, auth)
			if err != nil {
				b.absent[name] = err.Error()
				continue
			}
			cs = append(cs, contender{name: name, daemon: s.daemon,
				before: once(func(ctx context.Context) error { return prepare(ctx, s) }),
				do:     func(ctx context.Context, round int) error { return run(ctx, s, round) }})
		}
		return cs
	}
}

// A small image, and what is asked of it.
const (
	manyGets   = 5_000
	manyPuts   = 500
	largeBlob  = 16 << 20
	manyLarge  = 50
	smallBlob  = 10 << 10
	loadAtOnce = 8
)

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// putImage puts an image of one small layer and one large blob into a registry.
func putImage(ctx context.Context, s *server) error {
	c, err := dialLoad(ctx, s)
	if err != nil {
		return err
	}
	defer c.close()
	config, layer := []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`), make([]byte, 4<<10)
	for _, blob := range [][]byte{config, layer, make([]byte, largeBlob)} {
		if err := c.putBlob(blob); err != nil {
			return err
		}
	}
	return c.putManifest("1", fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}]}`, manifestType, digestOf(config), len(config), digestOf(layer), len(layer)))
}

// getManifests asks for the manifest of a tag.
func getManifests(ctx context.Context, s *server, _ int) error {
	return load(ctx, s, manyGets, func(c *loadConn, _ int) error { return c.get("/v2/bench/manifests/1") })
}

// getBlobs asks for a small blob.
func getBlobs(ctx context.Context, s *server, _ int) error {
	path := "/v2/bench/blobs/" + digestOf(make([]byte, 4<<10))
	return load(ctx, s, manyGets, func(c *loadConn, _ int) error { return c.get(path) })
}

// getLarge asks for a large blob.
func getLarge(ctx context.Context, s *server, _ int) error {
	path := "/v2/bench/blobs/" + digestOf(make([]byte, largeBlob))
	return load(ctx, s, manyLarge, func(c *loadConn, _ int) error { return c.get(path) })
}

// putBlobs uploads small blobs, each another one.
func putBlobs(ctx context.Context, s *server, round int) error {
	return load(ctx, s, manyPuts, func(c *loadConn, i int) error {
		blob := make([]byte, smallBlob)
		copy(blob, fmt.Sprintf("%d %d", round, i))
		return c.putBlob(blob)
	})
}
