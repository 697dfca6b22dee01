package keyless

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/sign/keys"
	"github.com/camada/camada/sign/trust"
)

const (
	// audience is whom tokens are for.
	audience = "sigstore"
	// tokenFile is where some clusters put a token (cosign's filesystem provider).
	tokenFile = "/var/run/sigstore/cosign/oidc-token"
	// maxToken bounds a token, in bytes.
	maxToken = 64 << 10
)

// Certificate makes a key for one signature, and gets a certificate for it from an authority, by an identity token (OpenID Connect). The
// token is shown to that authority alone.
func (c *Client) Certificate(ctx context.Context, fulcio, token string) (keys.Signer, []*x509.Certificate, error) {
	if err := checkURL(fulcio, true); err != nil {
		return nil, nil, err
	}
	subject, err := subjectOf(token)
	if err != nil {
		return nil, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	signer, err := keys.New(key)
	if err != nil {
		return nil, nil, err
	}
	proof, err := signer.Sign(ctx, []byte(subject))
	if err != nil {
		return nil, nil, err
	}
	var ask struct {
		Request struct {
			Key struct {
				Algorithm string `json:"algorithm"`
				Content   string `json:"content"`
			} `json:"publicKey"`
			Proof []byte `json:"proofOfPossession"`
		} `json:"publicKeyRequest"`
	}
	ask.Request.Key.Algorithm, ask.Request.Key.Content, ask.Request.Proof = "ECDSA", string(signer.Public().PEM()), proof
	body, err := json.Marshal(ask)
	if err != nil {
		return nil, nil, err
	}
	got, err := c.ask(ctx, request{service: "the certificate authority", method: http.MethodPost, url: strings.TrimSuffix(fulcio, "/") + "/api/v2/signingCert",
		kind: "application/json", accept: "application/json", authorization: "Bearer " + token, body: body})
	if err != nil {
		return nil, nil, err
	}
	cert, err := parseFulcio(got.body)
	if err != nil {
		return nil, nil, err
	}
	if pub, err := keys.NewPublic(cert.PublicKey); err != nil || !pub.Equal(signer.Public()) {
		return nil, nil, errdefs.Corrupt("the certificate authority gave a certificate for another key")
	}
	return signer, []*x509.Certificate{cert}, nil
}

// parseFulcio takes the certificate from an answer: the first of the chain.
func parseFulcio(data []byte) (*x509.Certificate, error) {
	type chain struct {
		Chain struct {
			Certificates []string `json:"certificates"`
		} `json:"chain"`
	}
	var res struct {
		Embedded chain `json:"signedCertificateEmbeddedSct"`
		Detached chain `json:"signedCertificateDetachedSct"`
	}
	if err := json.Unmarshal(data, &res); err != nil {
		return nil, errdefs.Corrupt("read the answer of the certificate authority: %w", err)
	}
	list := res.Embedded.Chain.Certificates
	if len(list) == 0 {
		list = res.Detached.Chain.Certificates
	}
	if len(list) == 0 {
		return nil, errdefs.Corrupt("the certificate authority gave no certificate")
	}
	certs, err := trust.ParseCertificates([]byte(list[0]))
	if err != nil {
		return nil, errdefs.Corrupt("the certificate authority: %w", err)
	}
	return certs[0], nil
}

// subjectOf is what the holder of a token proves to be: the address of mail, or else the subject (fulcio, CertificateIssuer). The token is not verified.
func subjectOf(token string) (string, error) {
	bad := errdefs.Invalid("the identity token is no JSON web token")
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > maxToken {
		return "", bad
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", bad
	}
	var claims struct {
		Subject string `json:"sub"`
		Email   string `json:"email"`
	}
	if err := json.Unmarshal(data, &claims); err != nil {
		return "", bad
	}
	if claims.Email != "" {
		return claims.Email, nil
	}
	if claims.Subject == "" {
		return "", errdefs.Invalid("the identity token has no subject")
	}
	return claims.Subject, nil
}

// Token finds an identity token: where is a file, "env:NAME" for a variable, or "" for what the surroundings offer: SIGSTORE_ID_TOKEN (GitLab),
// the token service of GitHub Actions, or a file that a cluster mounts. ErrNotFound when there is none.
func Token(ctx context.Context, c *Client, where string, getenv func(string) string) (string, error) {
	if name, ok := strings.CutPrefix(where, "env:"); ok {
		if token := strings.TrimSpace(getenv(name)); token != "" {
			return token, nil
		}
		return "", errdefs.NotFound("the identity token: the variable %s is empty", name)
	}
	if where == "" {
		if token := strings.TrimSpace(getenv("SIGSTORE_ID_TOKEN")); token != "" {
			return token, nil
		}
		if address, secret := getenv("ACTIONS_ID_TOKEN_REQUEST_URL"), getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN"); address != "" && secret != "" {
			return c.githubToken(ctx, address, secret)
		}
		if _, err := os.Stat(tokenFile); err != nil {
			return "", errdefs.NotFound("there is no identity token: give --identity-token FILE, or run in a CI system that has one (SIGSTORE_ID_TOKEN, GitHub Actions with \"id-token: write\")")
		}
		where = tokenFile
	}
	if strings.HasPrefix(where, "eyJ") && strings.Count(where, ".") == 2 { // cosign takes the token itself; what is said of a file that is not there would show it
		return "", errdefs.Invalid("the identity token itself is no argument, as others can read it there: give a file, or env:NAME")
	}
	data, err := keys.ReadFile(where)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(data)), nil
}

// githubToken asks the token service of GitHub Actions.
func (c *Client) githubToken(ctx context.Context, address, secret string) (string, error) {
	if err := checkURL(address, true); err != nil {
		return "", err
	}
	sep := "?"
	if strings.Contains(address, "?") {
		sep = "&"
	}
	got, err := c.ask(ctx, request{service: "the token service", method: http.MethodGet, url: address + sep + "audience=" + audience,
		accept: "application/json", authorization: "Bearer " + secret})
	if err != nil {
		return "", err
	}
	var res struct {
		Value string `json:"value"`
	}
	if err := json.Unmarshal(got.body, &res); err != nil || res.Value == "" {
		return "", errdefs.Corrupt("the token service gave no token")
	}
	return res.Value, nil
}
