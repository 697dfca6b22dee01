package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/local"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// TestServeMany serves a registry of many repositories, tags and blobs, and looks at what the server needs for it. It tells times and asserts none.
func TestServeMany(t *testing.T) {
	m := &many{T: t, bin: shipped(t), dir: t.TempDir(), repositories: 20, tags: 50, crowd: 200}
	if os.Getenv("CAMADA_TEST_LONG") != "" {
		m.repositories, m.tags, m.crowd = 1000, 1000, 5000
	}
	empty := t.TempDir()
	m.start("start, empty", empty)
	before := m.memory("RssAnon:")
	m.end()

	m.fill()
	m.evict()
	m.start("start, nothing of it in the page cache", m.dir)
	m.end()
	m.start("start", m.dir)
	m.grew("at rest", before)
	m.lists()
	m.grew("after the lists", before)
	m.step(fmt.Sprintf("%d pulls of a manifest by its tag and its blob", m.crowd), func() { m.all(m.pull) })
	m.grew("after the pulls", before)
	m.step(fmt.Sprintf("%d pushes", m.crowd), func() { m.all(func(i int) { m.push(i, "new") }) })
	m.grew("after the pushes", before)
	for _, what := range []string{"a sweep", "the next one"} {
		m.step(what, func() {
			var r registry.SweepReport
			ask(t, "http://"+m.s.host+"/v2/_camada/registry/sweep", &r)
			// Each image is a blob and a manifest; what is pushed is new.
			if want := 2 * (m.repositories*m.tags + m.crowd); r.Kept != want || r.Blobs != 0 || r.Manifests != 0 {
				t.Errorf("the sweep says %+v, want %d kept", r, want)
			}
		})
	}
	m.grew("after the sweeps", before)
	m.end()

	m.start("start again", m.dir)
	m.grew("at rest again", before)
	m.end()
	m.ruled()
}

// many is a registry of many things, and the server that serves it.
type many struct {
	*testing.T

	bin, dir           string
	repositories, tags int
	crowd              int // images that are pulled and pushed
	s                  *served
	client             http.Client
}

// repository is the name of one of them.
func (m *many) repository(i int) string {
	i %= m.repositories
	return fmt.Sprintf("team%d/app%d", i%50, i)
}

// fill puts everything into the directory, without a server. Each image is a blob of its own and a manifest that requires it.
func (m *many) fill() {
	m.Helper()
	store, err := local.Open(m.Context(), m.dir, local.Options{})
	if err != nil {
		m.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			m.Fatal(err)
		}
	}()
	begun := time.Now()
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			for r := w; r < m.repositories; r += 32 {
				for i := range m.tags {
					blob, doc := manyImage(fmt.Sprintf("%d of %d", i, r))
					desc := ocispec.Descriptor{Digest: digest.FromBytes(blob), Size: int64(len(blob))}
					parsed, err := registry.ParseManifest(ocispec.MediaTypeImageManifest, doc, digest.SHA256)
					if err == nil {
						err = store.PutBlob(m.Context(), m.repository(r), desc, bytes.NewReader(blob))
					}
					if err == nil {
						err = store.PutManifest(m.Context(), m.repository(r), parsed, registry.PutOptions{Tags: []string{"v" + strconv.Itoa(i)}})
					}
					if err != nil {
						m.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	m.Logf("%d images were put in in %v", m.repositories*m.tags, time.Since(begun).Round(time.Millisecond))
}

// manyImage is a small image.
func manyImage(text string) (blob, manifest []byte) {
	blob = []byte(text)
	return blob, fmt.Appendf(nil, `{"schemaVersion":2,"config":{"digest":%q,"size":%d}}`, digest.FromBytes(blob), len(blob))
}

// start starts a server, and tells how long it takes from its start to its first answer, and what it holds then.
func (m *many) start(what, dir string, flags ...string) {
	m.Helper()
	begun := time.Now()
	m.s = startServe(m.T, m.bin, dir, "127.0.0.1:0", flags...)
	m.client = http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	m.get("/v2/", nil)
	m.tell(what, time.Since(begun))
}

func (m *many) end() {
	m.client.CloseIdleConnections()
	m.s.end(syscall.SIGTERM)
}

// step tells how long something took, and the memory of the server: at most while it lasted, and afterwards.
func (m *many) step(what string, fn func()) {
	m.Helper()
	// Peaks are counted from here on (proc(5), clear_refs).
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", m.s.cmd.Process.Pid), []byte("5"), 0o600); err != nil {
		m.Log(err)
	}
	begun := time.Now()
	fn()
	m.tell(what, time.Since(begun))
}

func (m *many) tell(what string, took time.Duration) {
	m.Helper()
	m.Logf("%-60s %12v   at most %6d kB, then %6d kB, of which %6d kB are its own", what, took.Round(time.Microsecond), m.memory("VmHWM:"), m.memory("VmRSS:"), m.memory("RssAnon:"))
}

// memory is something that the kernel knows of the server's memory, in KiB (proc(5), status).
func (m *many) memory(name string) int {
	m.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.s.cmd.Process.Pid))
	if err != nil {
		m.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, name); ok {
			n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(v), " kB"))
			if err != nil {
				m.Fatal(err)
			}
			return n
		}
	}
	m.Fatalf("no %s", name)
	return 0
}

// grew checks that the server's own memory grew by few bytes for each tag. Some megabytes are for buffers and caches, which do not grow with tags.
func (m *many) grew(when string, before int) {
	m.Helper()
	grown, tags := (m.memory("RssAnon:")-before)<<10, m.repositories*m.tags
	m.Logf("%-60s %12d bytes a tag", when, grown/tags)
	if limit := 200*tags + 64<<20; grown > limit {
		m.Errorf("%s %d bytes more than an empty one are its own, want %d at most", when, grown, limit)
	}
}

// get asks for something that is there, and reads the answer as JSON unless v is nil.
func (m *many) get(path string, v any) {
	m.Helper()
	resp := m.do(http.MethodGet, path, "", nil)
	if resp.StatusCode != http.StatusOK {
		m.Errorf("%s: %s %.300s", path, resp.Status, resp.Body)
	} else if v != nil {
		if err := json.Unmarshal(resp.Body, v); err != nil {
			m.Errorf("%s: %v", path, err)
		}
	}
}

func (m *many) do(method, path, mediaType string, body []byte) answered {
	m.Helper()
	req, err := http.NewRequestWithContext(m.Context(), method, "http://"+m.s.host+path, bytes.NewReader(body))
	if err != nil {
		m.Error(err)
		return answered{}
	}
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	resp, err := m.client.Do(req)
	if err != nil {
		m.Errorf("%s %s: %v", method, path, err)
		return answered{}
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		m.Errorf("%s %s: %v", method, path, err)
	}
	return answered{resp.Status, resp.StatusCode, resp.ContentLength, resp.Header, b.Bytes()}
}

// lists asks for lists of all sizes. The first one reads the indexes of the tables.
func (m *many) lists() {
	var l struct{ Tags, Repositories []string }
	for _, c := range []struct {
		what, path string
		want       int
	}{
		{"20 tags after one", "/v2/team7/app7/tags/list?last=v30&n=20", 20},
		{"20 tags after one, again", "/v2/team8/app8/tags/list?last=v30&n=20", 20},
		{"all tags of a repository", "/v2/team9/app9/tags/list", m.tags},
		{"10 repositories after one", "/v2/_catalog?last=team0/app0&n=10", 10},
		{"all repositories", "/v2/_catalog?n=1000", m.repositories},
	} {
		m.step(c.what, func() {
			l.Tags, l.Repositories = nil, nil
			m.get(c.path, &l)
		})
		if got := len(l.Tags) + len(l.Repositories); got != c.want {
			m.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
}

// all does something for each image of the crowd, from eight clients.
func (m *many) all(fn func(i int)) {
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < m.crowd && !m.Failed(); i += 8 {
				fn(i)
			}
		})
	}
	wg.Wait()
}

// pull gets an image, each time another one.
func (m *many) pull(i int) {
	repository, n := i%m.repositories, i/m.repositories%m.tags
	blob, doc := manyImage(fmt.Sprintf("%d of %d", n, repository))
	base := "/v2/" + m.repository(repository)
	if resp := m.do(http.MethodGet, fmt.Sprintf("%s/manifests/v%d", base, n), "", nil); !bytes.Equal(resp.Body, doc) {
		m.Errorf("manifest: %s %.200s", resp.Status, resp.Body)
	}
	if resp := m.do(http.MethodGet, base+"/blobs/"+digest.FromBytes(blob).String(), "", nil); !bytes.Equal(resp.Body, blob) {
		m.Errorf("blob: %s %.200s", resp.Status, resp.Body)
	}
}

// push puts a new image into one of the repositories.
func (m *many) push(i int, name string) {
	blob, doc := manyImage(fmt.Sprintf("%s %d", name, i))
	base := "/v2/" + m.repository(i)
	if resp := m.do(http.MethodPost, base+"/blobs/uploads/?digest="+digest.FromBytes(blob).String(), "application/octet-stream", blob); resp.StatusCode != http.StatusCreated {
		m.Errorf("push of a blob: %s %.200s", resp.Status, resp.Body)
	}
	if resp := m.do(http.MethodPut, fmt.Sprintf("%s/manifests/%s%d", base, name, i), ocispec.MediaTypeImageManifest, doc); resp.StatusCode != http.StatusCreated {
		m.Errorf("push of a manifest: %s %.200s", resp.Status, resp.Body)
	}
}

// ruled serves it with a quota and with retention of all: both have to look at everything.
func (m *many) ruled() {
	m.Helper()
	file := filepath.Join(m.TempDir(), "registry.yaml")
	text := "quotas: [{repositories: '**', tags: 100000000}]\nretention: [{repositories: '**', keep: {newest: 1000000, pulled: 1h}}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		m.Fatal(err)
	}
	m.start("start, with a quota and retention", m.dir, "--config", file)
	defer m.end()
	m.step("the first push under a quota: all is counted", func() { m.push(0, "counted") })
	m.step("the next one", func() { m.push(1, "counted") })
	m.step("what would retention remove?", func() {
		var r struct{ Tags []struct{} }
		ask(m.T, "http://"+m.s.host+"/v2/_camada/registry/retain?dry-run=1", &r)
		if len(r.Tags) != 0 {
			m.Errorf("%d tags would go", len(r.Tags))
		}
	})
}

// evict throws the registry's files out of the page cache.
func (m *many) evict() {
	m.Helper()
	err := filepath.WalkDir(m.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
	})
	if err != nil {
		m.Error(err)
	}
}
