package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestAttestationsTravel pushes an attested image, lets oras find what is attached and crane read the image, and brings
// all of it into another store.
func TestAttestationsTravel(t *testing.T) {
	c, p := withPeers(t, "crane", "oras")
	dir := system(t, p.Path("ctx"))
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY rootfs /\nCOPY status /var/lib/dpkg/status\n",
		"status", "Package: libfoo\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n")
	name := p.StartRegistry() + "/attested:1"
	plain := c.run("build", "-q", "-t", name, dir)
	c.run("build", "-q", "--sbom", "--provenance=mode=max", "-t", name, dir)
	if got := c.run("images", "-q", "--no-trunc", name); got != plain {
		t.Errorf("attested the image is %s, and %s without", got, plain)
	}
	c.run("push", name)
	c.run("push", name) // again: what is there stays

	var found struct {
		Referrers []struct {
			ArtifactType, Digest string
			Annotations          map[string]string
		}
	}
	if err := json.Unmarshal([]byte(p.Run("oras", "discover", "--plain-http", "--format", "json", name)), &found); err != nil {
		t.Fatal(err)
	}
	if len(found.Referrers) != 2 {
		t.Fatalf("oras found %+v", found)
	}
	repository := name[:strings.LastIndexByte(name, ':')]
	for _, r := range found.Referrers {
		to := p.Path(r.Digest[len("sha256:"):][:12])
		p.Run("oras", "pull", "--plain-http", "-o", to, repository+"@"+r.Digest)
		file := map[string]string{"https://spdx.dev/Document": "sbom.json", "https://slsa.dev/provenance/v1": "provenance.json"}[r.Annotations["in-toto.io/predicate-type"]]
		data, err := os.ReadFile(filepath.Join(to, file))
		if err != nil {
			t.Fatal(err)
		}
		var s struct {
			Type    string `json:"_type"`
			Subject []struct{ Digest map[string]string }
		}
		if err := json.Unmarshal(data, &s); err != nil || s.Type != "https://in-toto.io/Statement/v1" || len(s.Subject) != 1 {
			t.Fatalf("%s: %v: %.300s", file, err, data)
		}
		if want := p.Run("crane", "digest", "--insecure", name); "sha256:"+s.Subject[0].Digest["sha256"] != strings.TrimSpace(want) {
			t.Errorf("%s is about %v, and the image is %s", file, s.Subject[0].Digest, want)
		}
	}

	other := &ours{t: t, bin: c.bin, root: p.Path("other")}
	other.run("pull", name)
	if out := other.run("referrers", "--format", "{{.Predicate}}", name); out != "" {
		t.Errorf("a pull brought %s", out)
	}
	out := other.run("referrers", "--fetch", "--format", "{{.Predicate}}", name)
	if !strings.Contains(out, "https://spdx.dev/Document") || !strings.Contains(out, "https://slsa.dev/provenance/v1") {
		t.Errorf("fetched: %q", out)
	}
	if got, want := other.run("provenance", name), c.run("provenance", name); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	other.run("gc", "--keep-entries", "0", "--cache-keep", "0s")
	if got := other.run("sbom", "--format", "{{.Name}}", name); got != "libfoo" {
		t.Errorf("after a collection the SBOM lists %q", got)
	}
}

// TestAttestationsInLayout builds into a layout, in which oras finds what is attached and skopeo the image.
func TestAttestationsInLayout(t *testing.T) {
	c, p := withPeers(t, "oras", "skopeo")
	dir := system(t, p.Path("ctx"))
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY rootfs /\nLABEL a=b\n")
	c.run("build", "-q", "-t", "plain:1", dir)
	layout := p.Path("layout")
	c.run("build", "-q", "--sbom", "--provenance", "-t", "app:1", "-o", "type=oci,tar=false,dest="+layout, dir)
	var found struct {
		Referrers []struct{ ArtifactType string }
	}
	want := c.run("images", "--format", "{{.Digest}}", "plain:1")
	if err := json.Unmarshal([]byte(p.Run("oras", "discover", "--oci-layout", "--format", "json", layout+"@"+want)), &found); err != nil {
		t.Fatal(err)
	}
	if len(found.Referrers) != 2 || found.Referrers[0].ArtifactType != "application/vnd.in-toto+json" {
		t.Errorf("oras found %+v", found)
	}
	got := strings.TrimSpace(p.Run("skopeo", "inspect", "--format", "{{.Digest}}", "oci:"+layout+":app:1"))
	if got != want {
		t.Errorf("skopeo finds the image %s, and without statements it is %s", got, want)
	}
}

// TestVerifyPackages builds an image with packages of the real archive twice. It needs the archive, and a network in steps.
func TestVerifyPackages(t *testing.T) {
	if !long() {
		t.Skip("CAMADA_TEST_LONG is not set: this makes a base image of the archive's packages")
	}
	if os.Geteuid() != 0 {
		t.Skip("steps with packages need root")
	}
	c, p := withPeers(t)
	if _, code := c.try("base", "debian", "--variant", "minbase", "-t", "debian"); code != 0 {
		t.Skip("no Debian archive that this machine's apt knows answers")
	}
	clean := "apt-get clean && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/log/alternatives.log /var/cache/ldconfig/aux-cache"
	write(t, p.Path("apt"), "Dockerfile", "FROM debian\nRUN apt-get update && apt-get install -y --no-install-recommends make && "+clean+"\n",
		"logs", "FROM debian\nRUN apt-get update && apt-get install -y --no-install-recommends make\n")
	if out := c.run("build", "--verify", "-t", "packages", p.Path("apt")); !regexp.MustCompile(`^reproducible: sha256:[0-9a-f]{64}, built twice`).MatchString(out) {
		t.Errorf("got %s", out)
	}
	out, _, code := c.talk("build", "--verify", "-f", p.Path("apt/logs"), p.Path("apt"))
	if code != 1 || !strings.Contains(out, "logs:2: [2/2] RUN apt-get") || !strings.Contains(out, "/var/log/dpkg.log") || !strings.Contains(out, "hint: a log with times") {
		t.Errorf("exit code %d, %s", code, out)
	}
}
