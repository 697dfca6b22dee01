package test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/camada/camada/internal/peers"
	"github.com/opencontainers/go-digest"
)

// replicated starts an object store with a bucket, and returns a configuration of registries over it.
func replicated(t *testing.T, p *peers.Peers) (file string) {
	t.Helper()
	o := p.StartVersity()
	if err := os.Mkdir(filepath.Join(o.Dir, "registry"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", o.ID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", o.Secret)
	// By another name than the registry's, as it is elsewhere: clients keep their credentials to themselves then.
	endpoint := strings.Replace(o.Endpoint, "127.0.0.1", "localhost", 1)
	p.Write("registry.yaml", "s3: {endpoint: \""+endpoint+"\", bucket: registry}\nredirect: true\n")
	return p.Path("registry.yaml")
}

// answered is what came back for a request.
type answered struct {
	Status        string
	StatusCode    int
	ContentLength int64
	Header        http.Header
	Body          []byte
}

// exchange sends a request without following redirects.
func exchange(t *testing.T, method, url string, body []byte) answered {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{resp.Status, resp.StatusCode, resp.ContentLength, resp.Header, got}
}

// TestServeRedirects lets everybody's tools pull from a registry that sends them to the object store for blobs, and push to another replica.
func TestServeRedirects(t *testing.T) {
	t.Setenv("COSIGN_PASSWORD", "of the key")
	need := peers.Need(t, "busybox", "versitygw")
	bin := shipped(t)
	file := replicated(t, need)
	a := startServe(t, bin, t.TempDir(), "127.0.0.1:0", "--config", file)
	b := startServe(t, bin, t.TempDir(), "127.0.0.1:0", "--config", file)
	dir := system(t, need.Path("ctx"))
	write(t, dir, "Dockerfile", cachedDockerfile)
	first := &ours{t: t, bin: bin, root: filepath.Join(t.TempDir(), "first")}
	first.run("build", "-q", "--push", "-t", a.host+"/team/app:1", dir)

	blob := make([]byte, 100_000)
	_, _ = rand.Read(blob)
	d := digest.FromBytes(blob).String()
	exchange(t, "POST", "http://"+a.host+"/v2/team/app/blobs/uploads/?digest="+d, blob)
	resp := exchange(t, "GET", "http://"+b.host+"/v2/team/app/blobs/"+d, nil)
	place := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusTemporaryRedirect || !strings.HasPrefix(place, "http://localhost:") || resp.Header.Get("Docker-Content-Digest") != d {
		t.Fatalf("%s to %.100q", resp.Status, place)
	}
	if resp := exchange(t, "GET", place, nil); resp.StatusCode != http.StatusOK || !bytes.Equal(resp.Body, blob) {
		t.Errorf("where it leads: %s, %d bytes", resp.Status, len(resp.Body))
	}
	// What is asked of the registry itself is answered by it.
	if resp := exchange(t, "HEAD", "http://"+b.host+"/v2/team/app/blobs/"+d, nil); resp.StatusCode != http.StatusOK || resp.ContentLength != int64(len(blob)) {
		t.Errorf("HEAD: %s, %d bytes", resp.Status, resp.ContentLength)
	}
	if resp := exchange(t, "GET", "http://"+b.host+"/v2/other/blobs/"+d, nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("from a repository that has not got it: %s", resp.Status)
	}

	for _, c := range clients(dir) {
		t.Run(c.name, func(t *testing.T) {
			p := peers.Need(t, c.programs...)
			if c.start != nil {
				c.start(p)
			}
			to := b.host + "/" + c.name + "/app:1"
			c.through(p, b.host+"/team/app:1", to, "")
			last := &ours{t: t, bin: bin, root: p.Path("last")}
			if out := last.run("run", "--rm", "--network", "none", strings.Replace(to, b.host, a.host, 1)); out != "made\nran" {
				t.Errorf("what it pushed prints %q", out)
			}
		})
	}
}

// TestServeReplicaKilled kills a replica under pushes: the other one has all that was acknowledged, and goes on with uploads.
func TestServeReplicaKilled(t *testing.T) {
	p := peers.Need(t, "busybox", "crane", "versitygw")
	bin := shipped(t)
	file := replicated(t, p)
	b := startServe(t, bin, p.Path("b"), "127.0.0.1:0", "--config", file)
	dir := system(t, p.Path("ctx"))
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY rootfs /\nRUN head -c 12000000 /dev/urandom > /random\n")
	first := &ours{t: t, bin: bin, root: p.Path("first")}
	first.run("build", "-q", "--output", "type=oci,tar=false,dest="+p.Path("layout"), dir)

	rounds := 2
	if os.Getenv("CAMADA_TEST_LONG") != "" {
		rounds = 20
	}
	var acknowledged []string
	addr := "127.0.0.1:0"
	for round := range rounds {
		a := startServe(t, bin, p.Path("a"), addr, "--config", file)
		addr = a.host
		// An upload whose first half is acknowledged.
		data := make([]byte, 9<<20)
		_, _ = rand.Read(data)
		resp := exchange(t, "POST", "http://"+a.host+"/v2/half/blobs/uploads/", nil)
		place := resp.Header.Get("Location")
		if resp := exchange(t, "PATCH", "http://"+a.host+place, data[:7<<20]); resp.StatusCode != http.StatusAccepted {
			t.Fatalf("the first half: %s", resp.Status)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; ; i++ {
				name := fmt.Sprintf("/repo%d/app:%d", round, i)
				if _, _, err := p.Talk("crane", "push", "--insecure", p.Path("layout"), a.host+name); err != nil {
					return
				}
				acknowledged = append(acknowledged, name)
			}
		}()
		time.Sleep(time.Duration(1500+700*round) * time.Millisecond)
		a.end(syscall.SIGKILL)
		<-done
		if resp := exchange(t, "GET", "http://"+b.host+place, nil); resp.Header.Get("Range") != fmt.Sprintf("0-%d", 7<<20-1) {
			t.Fatalf("the upload on the other replica: %s, %q", resp.Status, resp.Header.Get("Range"))
		}
		resp = exchange(t, "PUT", "http://"+b.host+place+"?digest="+digest.FromBytes(data).String(), data[7<<20:])
		if resp.StatusCode != http.StatusCreated {
			t.Errorf("the second half: %s", resp.Status)
		}
		p.Run("crane", "push", "--insecure", p.Path("layout"), fmt.Sprintf("%s/repo%d/app:again", b.host, round))
		p.Run("crane", "validate", "--insecure", "--remote", fmt.Sprintf("%s/repo%d/app:again", b.host, round))
	}
	for _, name := range acknowledged {
		p.Run("crane", "validate", "--insecure", "--fast", "--remote", b.host+name)
	}
	var report struct {
		Tags, Problems int
		Found          []map[string]string
	}
	ask(t, "http://"+b.host+"/v2/_camada/registry/scrub", &report)
	if report.Problems != 0 || report.Tags < len(acknowledged)+rounds {
		t.Errorf("%d tags of %d; problems: %v", report.Tags, len(acknowledged)+rounds, report.Found)
	}
}
