package keyless

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/sign/bundle"
	"github.com/camada/camada/sign/keys"
	"github.com/camada/camada/sign/timestamp"
)

// Rekor is a transparency log. It implements sign.Log.
type Rekor struct {
	client  *Client
	url     string
	version int
}

// Rekor is the log at an address; version is that of its API: 1 or 2.
func (c *Client) Rekor(address string, version int) *Rekor {
	return &Rekor{client: c, url: strings.TrimSuffix(address, "/"), version: version}
}

// Add implements sign.Log.
func (r *Rekor) Add(ctx context.Context, e *bundle.Envelope, verifier []byte) (bundle.LogEntry, error) {
	if err := checkURL(r.url, false); err != nil {
		return bundle.LogEntry{}, err
	}
	switch r.version {
	case 1:
		return r.addFirst(ctx, e, verifier)
	case 2:
		return r.addSecond(ctx, e, verifier)
	}
	return bundle.LogEntry{}, errdefs.Unsupported("the version %d of a transparency log: want 1 or 2", r.version)
}

// addFirst adds an entry of the kind dsse 0.0.1.
func (r *Rekor) addFirst(ctx context.Context, e *bundle.Envelope, verifier []byte) (bundle.LogEntry, error) {
	none := bundle.LogEntry{}
	envelope, err := json.Marshal(e)
	if err != nil {
		return none, err
	}
	body, err := json.Marshal(map[string]any{"apiVersion": "0.0.1", "kind": "dsse", "spec": map[string]any{
		"proposedContent": map[string]any{"envelope": string(envelope), "verifiers": [][]byte{verifier}},
	}})
	if err != nil {
		return none, err
	}
	ask := request{service: "the transparency log", method: http.MethodPost, url: r.url + "/api/v1/log/entries", kind: "application/json", accept: "application/json",
		body: body, conflictIsAllowed: true}
	got, err := r.client.ask(ctx, ask)
	if err == nil && got.location != "" { // an earlier try put it there
		id := got.location[strings.LastIndexByte(got.location, '/')+1:]
		ask.method, ask.url, ask.body, ask.kind, ask.conflictIsAllowed = http.MethodGet, r.url+"/api/v1/log/entries/"+url.PathEscape(id), nil, "", false
		got, err = r.client.ask(ctx, ask)
	}
	if err != nil {
		return none, err
	}
	return parseFirst(got.body)
}

// firstEntry is an entry as the first version of the API answers.
type firstEntry struct {
	Body         []byte     `json:"body"`
	Time         bundle.Int `json:"integratedTime"`
	LogID        string     `json:"logID"`
	Index        bundle.Int `json:"logIndex"`
	Verification struct {
		Promise []byte `json:"signedEntryTimestamp"`
		Proof   *struct {
			Checkpoint string     `json:"checkpoint"`
			Hashes     []string   `json:"hashes"`
			Index      bundle.Int `json:"logIndex"`
			Root       string     `json:"rootHash"`
			Size       bundle.Int `json:"treeSize"`
		} `json:"inclusionProof"`
	} `json:"verification"`
}

func parseFirst(data []byte) (bundle.LogEntry, error) {
	var res map[string]firstEntry
	if err := json.Unmarshal(data, &res); err != nil || len(res) != 1 {
		return bundle.LogEntry{}, errdefs.Corrupt("the answer of the transparency log cannot be read: %v", err)
	}
	for _, f := range res {
		return f.entry()
	}
	return bundle.LogEntry{}, nil
}

func (f firstEntry) entry() (bundle.LogEntry, error) {
	e := bundle.LogEntry{Index: f.Index, Time: f.Time, Body: f.Body}
	var kind struct {
		Version string `json:"apiVersion"`
		Kind    string `json:"kind"`
	}
	if err := json.Unmarshal(f.Body, &kind); err != nil {
		return e, errdefs.Corrupt("the entry of the transparency log: %w", err)
	}
	e.Kind = bundle.Kind{Kind: kind.Kind, Version: kind.Version}
	var err error
	if e.LogID.KeyID, err = hex.DecodeString(f.LogID); err != nil {
		return e, errdefs.Corrupt("the entry of the transparency log: %w", err)
	}
	if len(f.Verification.Promise) > 0 {
		e.Promise = &bundle.Promise{Signature: f.Verification.Promise}
	}
	p := f.Verification.Proof
	if p == nil {
		return e, errdefs.Corrupt("the transparency log gave no proof")
	}
	e.Proof = &bundle.InclusionProof{Index: p.Index, Size: p.Size, Checkpoint: bundle.Checkpoint{Envelope: p.Checkpoint}}
	if e.Proof.Root, err = hex.DecodeString(p.Root); err != nil {
		return e, errdefs.Corrupt("the proof of the transparency log: %w", err)
	}
	for _, text := range p.Hashes {
		h, err := hex.DecodeString(text)
		if err != nil {
			return e, errdefs.Corrupt("the proof of the transparency log: %w", err)
		}
		e.Proof.Hashes = append(e.Proof.Hashes, h)
	}
	return e, nil
}

// addSecond adds an entry of the kind hashedrekord 0.0.2, which has the hash of what was signed.
func (r *Rekor) addSecond(ctx context.Context, e *bundle.Envelope, verifier []byte) (bundle.LogEntry, error) {
	none := bundle.LogEntry{}
	key, err := keys.ParsePublic(verifier)
	if err != nil {
		return none, err
	}
	details, err := keyDetails(key)
	if err != nil {
		return none, err
	}
	block, _ := pem.Decode(verifier)
	who := map[string]any{"keyDetails": details}
	if block.Type == "CERTIFICATE" {
		who["x509Certificate"] = map[string]any{"rawBytes": block.Bytes}
	} else {
		who["publicKey"] = map[string]any{"rawBytes": block.Bytes}
	}
	h := key.Hash().New()
	h.Write(e.Signed())
	body, err := json.Marshal(map[string]any{"hashedRekordRequestV002": map[string]any{
		"digest": h.Sum(nil), "signature": map[string]any{"content": e.Signatures[0].Sig, "verifier": who},
	}})
	if err != nil {
		return none, err
	}
	got, err := r.client.ask(ctx, request{service: "the transparency log", method: http.MethodPost, url: r.url + "/api/v2/log/entries", kind: "application/json", accept: "application/json", body: body})
	if err != nil {
		return none, err
	}
	var entry bundle.LogEntry
	if err := json.Unmarshal(got.body, &entry); err != nil {
		return none, errdefs.Corrupt("the answer of the transparency log cannot be read: %w", err)
	}
	return entry, nil
}

// keyDetails is what sigstore calls the algorithm of a key (sigstore_common.proto, PublicKeyDetails).
func keyDetails(p *keys.Public) (string, error) {
	switch k := p.Key().(type) {
	case *ecdsa.PublicKey:
		n := k.Curve.Params().BitSize
		return fmt.Sprintf("PKIX_ECDSA_P%d_SHA_%d", n, p.Hash().Size()*8), nil
	case *rsa.PublicKey:
		return fmt.Sprintf("PKIX_RSA_PKCS1V15_%d_SHA256", k.N.BitLen()), nil
	}
	return "", errdefs.Unsupported("a log of the second version takes keys of ECDSA and RSA alone")
}

// Clock is a time stamping authority (RFC 3161). It implements sign.Clock.
type Clock struct {
	client *Client
	url    string
}

// Clock is the authority at an address.
func (c *Client) Clock(address string) *Clock { return &Clock{client: c, url: address} }

// Stamp implements sign.Clock.
func (t *Clock) Stamp(ctx context.Context, sig []byte) ([]byte, error) {
	if err := checkURL(t.url, false); err != nil {
		return nil, err
	}
	query, nonce, err := timestamp.Query(sig)
	if err != nil {
		return nil, err
	}
	got, err := t.client.ask(ctx, request{service: "the time stamping authority", method: http.MethodPost, url: t.url, kind: "application/timestamp-query",
		accept: "application/timestamp-reply", body: query})
	if err != nil {
		return nil, err
	}
	if err := timestamp.Answered(got.body, sig, nonce); err != nil {
		return nil, fmt.Errorf("the time stamping authority at %s: %w", shown(t.url), err)
	}
	return got.body, nil
}
