package engine

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/remote/remotetest"
)

const anAdvisory = `{"id": "CVE-1", "modified": "2026-01-02T00:00:00Z", "affected": [{"package": {"ecosystem": "npm", "name": "a"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}]}]}]}`

// TestAdvisoriesElsewhere: a database goes to a registry and comes back as it was, and so do files of advisories; what is damaged on the way replaces nothing.
func TestAdvisoriesElsewhere(t *testing.T) {
	ctx := context.Background()
	e, other, reg := machine(t), machine(t), remotetest.Start(t)
	file := filepath.Join(t.TempDir(), "CVE-1.json")
	if err := os.WriteFile(file, []byte(anAdvisory), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := e.PushAdvisories(ctx, reg.Ref("db:1").String(), nil, nil); !errdefs.IsNotFound(err) {
		t.Errorf("push without a database: %v", err)
	}
	if _, err := e.UpdateAdvisories(ctx, AdvisoryOptions{From: []string{file}}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := e.PushAdvisories(ctx, reg.Ref("db:1").String(), nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := other.UpdateAdvisories(ctx, AdvisoryOptions{From: []string{"oci://" + reg.Ref("db:1").String()}}, nil); err != nil {
		t.Fatal(err)
	}
	mine, err1 := os.ReadFile(e.advisoriesPath())
	theirs, err2 := os.ReadFile(other.advisoriesPath())
	if err1 != nil || err2 != nil || !bytes.Equal(mine, theirs) {
		t.Errorf("the database has changed on its way: %v %v", err1, err2)
	}
	// Files of an artifact that are no database.
	name := stored(t, e, reg, "text", "a", "b")
	if _, err := other.UpdateAdvisories(ctx, AdvisoryOptions{From: []string{"oci://" + name}}, nil); !errdefs.IsNotFound(err) {
		t.Errorf("an artifact without advisories: %v", err)
	}
	// A web server that has damaged ones, or none.
	for doc, is := range map[string]func(error) bool{
		string(mine[:len(mine)-1]):                         errdefs.IsCorrupt,
		strings.Replace(string(mine), "CVE-1", "CVE-2", 1): errdefs.IsCorrupt,
		anAdvisory[:50]:                                    errdefs.IsInvalid,
		"":                                                 errdefs.IsNotFound,
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if doc == "" {
				http.NotFound(w, r)
				return
			}
			_, _ = w.Write([]byte(doc))
		}))
		_, err := other.UpdateAdvisories(ctx, AdvisoryOptions{From: []string{s.URL + "/advisories.db"}}, nil)
		s.Close()
		if !is(err) {
			t.Errorf("%d bytes from a web server: %v", len(doc), err)
		}
	}
	if now, err := os.ReadFile(other.advisoriesPath()); err != nil || !bytes.Equal(now, mine) {
		t.Errorf("a damaged source replaced the database: %v", err)
	}
	for _, dir := range []string{filepath.Join(other.root, "tmp"), filepath.Dir(other.advisoriesPath())} {
		left, _ := os.ReadDir(dir)
		for _, f := range left {
			if f.Name() != advisoriesFile && f.Name() != "lock" {
				t.Errorf("%s is left in %s", f.Name(), dir)
			}
		}
	}
}
