package signtest

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/camada/camada/sign/bundle"
	"github.com/camada/camada/sign/keys"
	"github.com/digitorus/timestamp"
)

// Serve answers as the services do: fulcio at URL, rekor at URL, and the time stamping authority at URL/tsa. It ends with the test.
func (w *World) Serve() string {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v2/signingCert", w.serveCertificate)
	mux.HandleFunc("POST /api/v1/log/entries", w.serveLog)
	mux.HandleFunc("POST /tsa", w.serveClock)
	s := httptest.NewServer(mux)
	w.t.Cleanup(s.Close)
	return s.URL
}

// Token is an identity token that the authority believes: nobody signs it.
func Token(subject, issuer string) string {
	claims, err := json.Marshal(map[string]any{"iss": issuer, "sub": subject, "email": subject, "email_verified": true, "aud": "sigstore", "exp": 4102444800, "iat": 1700000000})
	if err != nil {
		panic(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return b64([]byte(`{"alg":"RS256","kid":"1"}`)) + "." + b64(claims) + "." + b64([]byte("signature"))
}

func (w *World) serveCertificate(res http.ResponseWriter, req *http.Request) {
	var ask struct {
		Request struct {
			Key struct {
				Content string `json:"content"`
			} `json:"publicKey"`
			Proof []byte `json:"proofOfPossession"`
		} `json:"publicKeyRequest"`
	}
	var claims struct {
		Issuer string `json:"iss"`
		Email  string `json:"email"`
	}
	parts := strings.Split(req.Header.Get("Authorization"), ".")
	if err := json.NewDecoder(req.Body).Decode(&ask); err != nil || len(parts) != 3 {
		http.Error(res, "bad request", http.StatusBadRequest)
		return
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	key, keyErr := keys.ParsePublic([]byte(ask.Request.Key.Content))
	if err != nil || keyErr != nil || key.Verify([]byte(claims.Email), ask.Request.Proof) != nil {
		http.Error(res, "the key is not proven to be there", http.StatusBadRequest)
		return
	}
	cert := w.Certify(key.Key(), claims.Email, claims.Issuer)
	var list []string
	for _, c := range []*x509.Certificate{cert, w.Authority, w.Root} {
		list = append(list, string(PEM(c)))
	}
	reply(res, http.StatusOK, map[string]any{"signedCertificateEmbeddedSct": map[string]any{"chain": map[string]any{"certificates": list}}})
}

func reply(res http.ResponseWriter, status int, v any) {
	res.Header().Set("Content-Type", "application/json")
	res.WriteHeader(status)
	_ = json.NewEncoder(res).Encode(v)
}

func (w *World) serveLog(res http.ResponseWriter, req *http.Request) {
	var ask struct {
		Kind string `json:"kind"`
		Spec struct {
			Content struct {
				Envelope  string   `json:"envelope"`
				Verifiers [][]byte `json:"verifiers"`
			} `json:"proposedContent"`
		} `json:"spec"`
	}
	if err := json.NewDecoder(req.Body).Decode(&ask); err != nil || ask.Kind != "dsse" || len(ask.Spec.Content.Verifiers) != 1 {
		http.Error(res, "bad request", http.StatusBadRequest)
		return
	}
	e, err := bundle.ParseEnvelope([]byte(ask.Spec.Content.Envelope))
	block, _ := pem.Decode(ask.Spec.Content.Verifiers[0])
	if err != nil || block == nil {
		http.Error(res, "bad request", http.StatusBadRequest)
		return
	}
	key, err := keys.ParsePublic(ask.Spec.Content.Verifiers[0])
	if err != nil || key.Verify(e.Signed(), e.Signatures[0].Sig) != nil {
		http.Error(res, "the signature does not hold", http.StatusBadRequest)
		return
	}
	entry, err := w.Add(req.Context(), e, ask.Spec.Content.Verifiers[0])
	if err != nil {
		http.Error(res, err.Error(), http.StatusInternalServerError)
		return
	}
	id := strings.Repeat("0", 16) + hex.EncodeToString(w.leaves[entry.Index])
	hashes := []string{}
	for _, h := range entry.Proof.Hashes {
		hashes = append(hashes, hex.EncodeToString(h))
	}
	res.Header().Set("ETag", id)
	res.Header().Set("Location", "/api/v1/log/entries/"+id)
	reply(res, http.StatusCreated, map[string]any{id: map[string]any{
		"body": entry.Body, "integratedTime": int64(entry.Time), "logID": hex.EncodeToString(entry.LogID.KeyID), "logIndex": int64(entry.Index),
		"verification": map[string]any{"signedEntryTimestamp": entry.Promise.Signature, "inclusionProof": map[string]any{
			"checkpoint": entry.Proof.Checkpoint.Envelope, "hashes": hashes, "logIndex": int64(entry.Proof.Index),
			"rootHash": hex.EncodeToString(entry.Proof.Root), "treeSize": int64(entry.Proof.Size)}},
	}})
}

func (w *World) serveClock(res http.ResponseWriter, req *http.Request) {
	data, err := io.ReadAll(io.LimitReader(req.Body, 1<<16))
	if err != nil {
		http.Error(res, err.Error(), http.StatusBadRequest)
		return
	}
	query, err := timestamp.ParseRequest(data)
	if err != nil {
		http.Error(res, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := w.answer(query)
	if err != nil {
		http.Error(res, err.Error(), http.StatusInternalServerError)
		return
	}
	res.Header().Set("Content-Type", "application/timestamp-reply")
	_, _ = res.Write(answer)
}
