package test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/internal/peers"
	"github.com/camada/camada/sign/signtest"
)

// withCosign returns camada, cosign of the third version, and a registry of ours with an image in it.
func withCosign(t *testing.T) (c *ours, p *peers.Peers, cosign, name string) {
	t.Setenv("COSIGN_PASSWORD", "sesame")
	t.Setenv("CAMADA_PASSWORD", "sesame")
	c, p = withPeers(t)
	cosign = p.Cosign()
	dir := system(t, p.Path("ctx"))
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY rootfs /\n")
	host := startServe(t, c.bin, p.Path("registry"), "127.0.0.1:0").host
	name = host + "/team/app:1"
	c.run("build", "-q", "--provenance", "-t", name, dir)
	c.run("push", "-q", name)
	return c, p, cosign, name
}

// TestCosignKeys signs with either program, and verifies with the other one.
func TestCosignKeys(t *testing.T) {
	c, p, cosign, name := withCosign(t)
	digest := c.run("images", "--format", "{{.Digest}}", name)
	at := name[:strings.LastIndexByte(name, ':')] + "@" + digest
	ours, theirs := p.Path("ours"), p.Path("theirs")
	c.run("key", "generate", ours)
	p.Run(cosign, "generate-key-pair", "--output-key-prefix", theirs)

	// Ours, with our key and with theirs, which cosign verifies.
	for _, key := range []string{ours, theirs} {
		c.run("sign", "--key", key+".key", "docker://"+name)
		out := p.Run(cosign, "verify", "--key", key+".pub", "--insecure-ignore-tlog", "--allow-http-registry", at)
		if !strings.Contains(out, digest) {
			t.Errorf("cosign verify: %s", out)
		}
	}
	c.run("attest", "--key", ours+".key", "--provenance", name)
	c.run("push", "-q", name)
	p.Run(cosign, "verify-attestation", "--key", ours+".pub", "--insecure-ignore-tlog", "--allow-http-registry", "--type", "slsaprovenance1", at)
	if out, err := p.Try(cosign, "verify-attestation", "--key", theirs+".pub", "--insecure-ignore-tlog", "--allow-http-registry", "--type", "slsaprovenance1", at); err == nil {
		t.Errorf("cosign verifies with another key: %s", out)
	}

	// Theirs, in both forms, with our key.
	predicate := p.Path("predicate.json")
	if err := os.WriteFile(predicate, []byte(`{"reviewed":true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := system(t, p.Path("second"))
	for i, form := range [][]string{{"--new-bundle-format=true"}, {"--new-bundle-format=false"}} {
		write(t, dir, "Dockerfile", "FROM scratch\nCOPY rootfs /\nLABEL form="+form[0]+"\n")
		name := name[:strings.LastIndexByte(name, ':')] + ":form" + string(rune('0'+i))
		c.run("build", "-q", "-t", name, dir)
		c.run("push", "-q", name)
		if _, _, code := c.talk("verify", "--key", ours+".pub", "docker://"+name); code != 1 {
			t.Errorf("what is not signed: %d", code)
		}
		flags := append([]string{"--key", ours + ".key", "--use-signing-config=false", "--tlog-upload=false", "--allow-http-registry", "--yes"}, form...)
		p.Run(cosign, append(append([]string{"sign"}, flags...), name)...)
		p.Run(cosign, append(append([]string{"attest", "--type", "https://example.com/review/v1", "--predicate", predicate}, flags...), name)...)
		if got := c.run("verify", "--key", ours+".pub", "docker://"+name); !strings.Contains(got, "@sha256:") {
			t.Errorf("verify: %s", got)
		}
		if got := c.run("verify", "--key", ours+".pub", "--attestation", "https://example.com/review/v1", "--format", "{{range .Verified}}{{json .Statement.Predicate}}{{end}}", "docker://"+name); got != `{"reviewed":true}` {
			t.Errorf("verify --attestation: %s", got)
		}
		if _, said, code := c.talk("verify", "--key", theirs+".pub", "docker://"+name); code != 1 || !strings.Contains(said, "another key") {
			t.Errorf("another key: %d, %s", code, said)
		}
		// It is in the registry, and the image is in the store.
		if _, _, code := c.talk("verify", "--key", ours+".pub", name); code != 1 {
			t.Errorf("what the store has not: %d", code)
		}
		c.run("verify", "--remote", "--key", ours+".pub", name)
	}
}

// TestCosignKeyless signs by identity tokens with services of our own, with either program, and verifies with the other one.
func TestCosignKeyless(t *testing.T) {
	c, p, cosign, name := withCosign(t)
	w := signtest.New(t)
	url := w.Serve()
	token, root, config := p.Path("token"), p.Path("trusted_root.json"), p.Path("signing_config.json")
	const me, issuer = "me@example.com", "https://issuer.example.com"
	service := []map[string]any{{"url": url, "majorApiVersion": 1, "validFor": map[string]any{"start": "2024-01-01T00:00:00Z"}, "operator": "signtest"}}
	clock := []map[string]any{{"url": url + "/tsa", "majorApiVersion": 1, "validFor": map[string]any{"start": "2024-01-01T00:00:00Z"}, "operator": "signtest"}}
	services, err := json.Marshal(map[string]any{"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json", "caUrls": service, "rekorTlogUrls": service,
		"rekorTlogConfig": map[string]any{"selector": "ANY"}, "tsaUrls": clock, "tsaConfig": map[string]any{"selector": "ANY"}})
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{token: []byte(signtest.Token(me, issuer)), root: w.TrustedRoot(), config: services} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	identity := []string{"--certificate-identity", me, "--certificate-oidc-issuer", issuer, "--trusted-root", root}

	c.run("sign", "--identity-token", token, "--fulcio-url", url, "--rekor-url", url, "--timestamp-server-url", url+"/tsa", "docker://"+name)
	p.Run(cosign, append(append([]string{"verify", "--allow-http-registry"}, identity...), name)...)
	c.run(append(append([]string{"verify"}, identity...), "docker://"+name)...)

	dir := system(t, p.Path("second"))
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY rootfs /\nLABEL of=theirs\n")
	second := name[:strings.LastIndexByte(name, ':')] + ":2"
	c.run("build", "-q", "-t", second, dir)
	c.run("push", "-q", second)
	p.Run(cosign, "sign", "--yes", "--allow-http-registry", "--identity-token", strings.TrimSpace(signtest.Token(me, issuer)), "--signing-config", config, "--trusted-root", root, second)
	out := c.run(append(append([]string{"verify", "--format", "json"}, identity...), "docker://"+second)...)
	var report struct {
		Verified []struct {
			Identity, Issuer string
			Logged           bool
			Time             time.Time
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Verified) != 1 || report.Verified[0].Identity != me || report.Verified[0].Issuer != issuer || !report.Verified[0].Logged || report.Verified[0].Time.IsZero() {
		t.Errorf("%s", out)
	}
	for flag, value := range map[string]string{"--certificate-identity": "you@example.com", "--certificate-oidc-issuer": "https://evil.example.com"} {
		wrong := append([]string(nil), identity...)
		for i := range wrong {
			if wrong[i] == flag {
				wrong[i+1] = value
			}
		}
		if _, said, code := c.talk(append(append([]string{"verify"}, wrong...), "docker://"+second)...); code != 1 || !strings.Contains(said, "another identity") {
			t.Errorf("%s %s: %d, %s", flag, value, code, said)
		}
	}
	// Services of somebody else are not believed.
	other := p.Path("other_root.json")
	if err := os.WriteFile(other, signtest.New(t).TrustedRoot(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, said, code := c.talk("verify", "--certificate-identity", me, "--certificate-oidc-issuer", issuer, "--trusted-root", other, "docker://"+second); code != 1 {
		t.Errorf("another trusted root: %d, %s", code, said)
	}
}

// TestCosignReplayed attaches a signature that cosign made to another image, and a changed one.
func TestCosignReplayed(t *testing.T) {
	c, p, cosign, name := withCosign(t)
	key := p.Path("k")
	p.Run(cosign, "generate-key-pair", "--output-key-prefix", key)
	p.Run(cosign, "sign", "--yes", "--key", key+".key", "--use-signing-config=false", "--tlog-upload=false", "--allow-http-registry", name)
	c.run("verify", "--key", key+".pub", "docker://"+name)
	files := p.Path("taken")
	if err := os.Mkdir(files, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(files) // the name of a file in an artifact is a relative one
	c.run("copy", "--referrers", "docker://"+name, "oci:"+p.Path("layout")+":1")
	blobs, err := filepath.Glob(p.Path("layout/blobs/sha256/*"))
	if err != nil {
		t.Fatal(err)
	}
	var signature []byte
	for _, path := range blobs {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(`"dsseEnvelope"`)) {
			signature = data
		}
	}
	if signature == nil {
		t.Fatal("cosign attached no bundle")
	}
	dir := system(t, p.Path("second"))
	write(t, dir, "Dockerfile", "FROM scratch\nCOPY rootfs /\nLABEL of=evil\n")
	evil := name[:strings.LastIndexByte(name, ':')] + ":evil"
	c.run("build", "-q", "-t", evil, dir)
	c.run("push", "-q", evil)
	const kind = "application/vnd.dev.sigstore.bundle.v0.3+json"
	attach := func(data []byte) {
		t.Helper()
		if err := os.WriteFile("evil.json", data, 0o600); err != nil {
			t.Fatal(err)
		}
		c.run("artifact", "attach", "--artifact-type", kind, "--annotation", "dev.sigstore.bundle.predicateType=https://sigstore.dev/cosign/sign/v1", evil, "evil.json:"+kind)
	}
	attach(signature)
	if _, said, code := c.talk("verify", "--key", key+".pub", "docker://"+evil); code != 1 || !strings.Contains(said, "of another image") {
		t.Errorf("replayed: %d, %s", code, said)
	}
	// The same with our digest written over the one that was signed.
	b64 := func(s string) []byte { return []byte(base64.StdEncoding.EncodeToString([]byte(s))) }
	var doc map[string]any
	if err := json.Unmarshal(signature, &doc); err != nil {
		t.Fatal(err)
	}
	envelope := doc["dsseEnvelope"].(map[string]any)
	payload, err := base64.StdEncoding.DecodeString(envelope["payload"].(string))
	if err != nil {
		t.Fatal(err)
	}
	one := strings.TrimPrefix(c.run("images", "--format", "{{.Digest}}", name), "sha256:")
	two := strings.TrimPrefix(c.run("images", "--format", "{{.Digest}}", evil), "sha256:")
	if !bytes.Contains(payload, []byte(one)) {
		t.Fatalf("%s is not in %s", one, payload)
	}
	envelope["payload"] = string(b64(strings.ReplaceAll(string(payload), one, two)))
	changed, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	attach(changed)
	_, said, code := c.talk("verify", "--key", key+".pub", "docker://"+evil)
	if code != 1 || !strings.Contains(said, "another key") {
		t.Errorf("tampered: %d, %s", code, said)
	}
}
