// Package scanreport writes what a scan found in the forms that other programs read.
//
//	doc, err := scanreport.Encode("sarif", report, scanreport.Options{Version: "1.2"})
//
// The forms are sarif (OASIS, SARIF 2.1.0), cyclonedx (CycloneDX 1.6: all packages, with their vulnerabilities), spdx (SPDX 2.3: all packages, with advisories as
// references) and openvex (OpenVEX 0.2.0: what was decided, and what still is to be).
package scanreport

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/camada/camada/attest"
	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
)

// Options are what a document says of itself.
type Options struct {
	// Version of the program, Now when the document is made.
	Version string
	Now     time.Time
}

// Known reports whether there is a form of that name.
func Known(form string) bool {
	switch form {
	case "sarif", "cyclonedx", "spdx", "openvex":
		return true
	}
	return false
}

// Encode makes a document.
func Encode(form string, r *engine.ScanReport, o Options) ([]byte, error) {
	var doc any
	switch form {
	case "sarif":
		doc = sarifLog(r, o)
	case "cyclonedx":
		doc = cycloneDX(r, o)
	case "spdx":
		if r.Digest == "" {
			return nil, errdefs.Unsupported("%s is no image: only images have an SPDX document", r.Image)
		}
		doc = spdx(r, o)
	case "openvex":
		doc = openVEX(r, o)
	default:
		return nil, fmt.Errorf("no form %q", form)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// imagePURL names the image.
func imagePURL(r *engine.ScanReport) string {
	if r.Digest == "" {
		return r.Image // a directory, or an SBOM
	}
	return attest.ImagePURL(r.Image, digest.Digest(r.Digest), r.Platform)
}

// spdx is the SBOM of the image, in which each package refers to the advisories about it.
func spdx(r *engine.ScanReport, o Options) *attest.Document {
	d := attest.SPDX(attest.Image{Name: r.Image, Digest: digest.Digest(r.Digest), Platform: r.Platform}, r.Inventory(), attest.SPDXOptions{Version: o.Version, Created: o.Now})
	refs := map[string][]attest.ExternalRef{}
	for _, f := range r.Findings {
		url := f.URL
		if url == "" {
			url = "https://osv.dev/vulnerability/" + f.ID
		}
		refs[f.PURL] = append(refs[f.PURL], attest.ExternalRef{Category: "SECURITY", Type: "advisory", Locator: url})
	}
	for i := range d.Packages {
		p := &d.Packages[i]
		for _, ref := range p.ExternalRefs {
			if ref.Type == "purl" {
				p.ExternalRefs = append(p.ExternalRefs, refs[ref.Locator]...)
				break
			}
		}
	}
	return d
}

// short is a name made of the parts.
func short(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))[:32]
}
