package engine

import (
	"bytes"
	"crypto/rand"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// onBoth serves a registry with a configuration, on both drivers.
func onBoth(t *testing.T, text string, test func(t *testing.T, s Serving)) {
	t.Helper()
	onEach(t, func(t *testing.T, storage string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "registry.yaml")
		if err := os.WriteFile(file, []byte("data: data\n"+storage+text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, _ := serving(t, ServeOptions{ConfigFile: file})
		test(t, s)
	})
}

func TestServeQuotas(t *testing.T) {
	onBoth(t, "quotas: [{repositories: team/**, size: 10KB, tags: 1}]\n", func(t *testing.T, s Serving) {
		pushed(t, s.URL, "team/app", "v1", 5000)
		layer := make([]byte, 5000)
		_, _ = rand.Read(layer)
		blob := s.URL + "/v2/team/app/blobs/uploads/?digest=" + digest.FromBytes(layer).String()
		if status, body := answered(t, "POST", blob, layer); status != 403 || !strings.Contains(body, `"DENIED"`) || !strings.Contains(body, " of 10000 bytes are used") {
			t.Errorf("what is too much: %d %s", status, body)
		}
		want(t, "HEAD", s.URL+"/v2/team/app/blobs/"+digest.FromBytes(layer).String(), 404)
		manifest := want(t, "GET", s.URL+"/v2/team/app/manifests/v1", 200)
		if status, body := answered(t, "PUT", s.URL+"/v2/team/app/manifests/v2", []byte(manifest)); status != 403 || !strings.Contains(body, "1 of 1 tags are used") {
			t.Errorf("one tag too many: %d %s", status, body)
		}
		pushed(t, s.URL, "other", "v1", 20_000)
		if body := want(t, "GET", s.URL+"/v2/_camada/registry/quotas", 200); !strings.Contains(body, `"allowed":{"bytes":10000,"manifests":0,"tags":1}`) || !strings.Contains(body, `"manifests":1,"tags":1`) {
			t.Errorf("quotas: %s", body)
		}
		if body := want(t, "GET", s.URL+"/metrics", 200); !strings.Contains(body, `camada_registry_quota_used{repositories="team/**",repository="",what="tags"} 1`) ||
			!strings.Contains(body, `camada_registry_quota_allowed{repositories="team/**",repository="",what="bytes"} 10000`) {
			t.Errorf("metrics: %s", body)
		}
		// What is deleted makes room.
		want(t, "DELETE", s.URL+"/v2/team/app/manifests/v1", 202)
		if status, body := answered(t, "PUT", s.URL+"/v2/team/app/manifests/v2", []byte(manifest)); status != 201 {
			t.Errorf("after a deletion: %d %s", status, body)
		}
	})
}

// answered sends a body, as an image's manifest when it is one.
func answered(t *testing.T, method, url string, body []byte) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPut {
		req.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	_, _ = b.ReadFrom(resp.Body)
	return resp.StatusCode, b.String()
}

func TestServeRetention(t *testing.T) {
	onBoth(t, "retention: [{repositories: team/**, keep: {tags: latest, versions: 1, pulled: 1h}}]\nimmutable: [{repositories: '**', tags: fixed}]\n", func(t *testing.T, s Serving) {
		// Nothing goes because nobody pulled it before it was noted; so another rule has to be at work.
		pushed(t, s.URL, "team/app", "v1", 10)
		if body := want(t, "POST", s.URL+"/v2/_camada/registry/retain?dry-run=1", 200); !strings.Contains(body, `"tags":[]`) || !strings.Contains(body, `"dryRun":true`) {
			t.Errorf("at once: %s", body)
		}
	})
	onBoth(t, "retention: [{repositories: team/**, keep: {tags: latest, versions: 1}}]\nimmutable: [{repositories: '**', tags: fixed}]\n", func(t *testing.T, s Serving) {
		for _, tag := range []string{"v1", "v2", "latest", "fixed", "old"} {
			pushed(t, s.URL, "team/app", tag, 10)
			pushed(t, s.URL, "else", tag, 10)
		}
		body := want(t, "POST", s.URL+"/v2/_camada/registry/retain?dry-run=1", 200)
		for _, tag := range []string{"v1", "old"} {
			if !strings.Contains(body, `"tag":"`+tag+`"`) {
				t.Errorf("%s would not go: %s", tag, body)
			}
		}
		if n := strings.Count(body, `"why":"it is not like latest; `); n != 2 {
			t.Errorf("%d would go: %s", n, body)
		}
		want(t, "POST", s.URL+"/v2/_camada/registry/sweep?dry-run=1", 200)
		want(t, "GET", s.URL+"/v2/team/app/manifests/v1", 200)
		want(t, "POST", s.URL+"/v2/_camada/registry/sweep", 200)
		if body := want(t, "GET", s.URL+"/v2/team/app/tags/list", 200); !strings.Contains(body, `["fixed","latest","v2"]`) {
			t.Errorf("tags: %s", body)
		}
		if body := want(t, "GET", s.URL+"/v2/else/tags/list", 200); !strings.Contains(body, `["fixed","latest","old","v1","v2"]`) {
			t.Errorf("tags that no rule is about: %s", body)
		}
		want(t, "POST", s.URL+"/v2/team/app/_camada/history/v1", 200)
		want(t, "GET", s.URL+"/v2/team/app/manifests/v1", 200)
	})
}
