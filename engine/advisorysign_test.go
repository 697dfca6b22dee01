package engine

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/remote/remotetest"
	"github.com/camada/camada/sign"
	"github.com/camada/camada/sign/signtest"
)

// TestAdvisoriesSignedKeyless signs the database by an identity token. Another machine takes it when its environment names the owner of the certificate, and from nobody else.
func TestAdvisoriesSignedKeyless(t *testing.T) {
	const me, issuer = "release@example.com", "https://issuer.example.com"
	ctx, dir, w, reg := t.Context(), t.TempDir(), signtest.New(t), remotetest.Start(t)
	url := w.Serve()
	files := map[string]string{"CVE-1.json": anAdvisory, "token": signtest.Token(me, issuer), "root.json": string(w.TrustedRoot()), "theirs.json": string(signtest.New(t).TrustedRoot())}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e := machine(t)
	if _, err := e.UpdateAdvisories(ctx, AdvisoryOptions{From: []string{filepath.Join(dir, "CVE-1.json")}}, nil); err != nil {
		t.Fatal(err)
	}
	by := &SigningKey{IdentityToken: filepath.Join(dir, "token"), Fulcio: url, Rekor: url, Clock: url + "/tsa"}
	name := reg.Ref("db:1").String()
	if _, err := e.PushAdvisories(ctx, name, by, nil); err != nil {
		t.Fatal(err)
	}
	from := AdvisoryOptions{From: []string{"oci://" + name}}
	for _, c := range []struct {
		name, identity, issuer, roots string
		is                            func(error) bool
	}{
		{"another name", "other@example.com", issuer, "root.json", errdefs.IsPermission},
		{"another provider", me, "https://other.example.com", "root.json", errdefs.IsPermission},
		{"another authority", me, issuer, "theirs.json", errdefs.IsPermission},
		{"no provider", me, "", "root.json", errdefs.IsInvalid},
		{"no such file", me, issuer, "nosuch", errdefs.IsNotFound},
		{"who signed it", me, issuer, "root.json", func(err error) bool { return err == nil }},
	} {
		other := machine(t)
		env := map[string]string{envAdvisoriesIdentity: c.identity, envAdvisoriesIssuer: c.issuer, envAdvisoriesRoots: filepath.Join(dir, c.roots)}
		other.getenv = func(name string) string { return env[name] }
		_, err := other.UpdateAdvisories(ctx, from, nil)
		if !c.is(err) {
			t.Errorf("%s: %v", c.name, err)
		}
		mine, theirs := readMay(e.advisoriesPath()), readMay(other.advisoriesPath())
		if err == nil != bytes.Equal(mine, theirs) || err != nil && theirs != nil {
			t.Errorf("%s: there is a database of %d bytes, with %v", c.name, len(theirs), err)
		}
	}
	// Nobody in particular is no requirement.
	for _, none := range []SignerOptions{{}, {TrustedRoot: filepath.Join(dir, "root.json")}, {Identities: []sign.Identity{{Subject: me}}, Attestation: "vuln"}} {
		from.Signers = &none
		if _, err := machine(t).UpdateAdvisories(ctx, from, nil); !errdefs.IsInvalid(err) {
			t.Errorf("%+v: %v", none, err)
		}
	}
}

// readMay is what a file has; nil when it is not there.
func readMay(name string) []byte {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	return data
}
