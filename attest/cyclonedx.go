package attest

import (
	"strconv"
	"strings"

	"github.com/camada/camada/inventory"
	"github.com/opencontainers/go-digest"
)

// BOM is a CycloneDX document (CycloneDX specification 1.6, ECMA-424, JSON).
type BOM struct {
	Schema      string `json:"$schema"`
	Format      string `json:"bomFormat"`
	SpecVersion string `json:"specVersion"`
	// Serial is a URN of a UUID that is made of what the document lists.
	Serial       string          `json:"serialNumber,omitempty"`
	Version      int             `json:"version"`
	Metadata     BOMMetadata     `json:"metadata"`
	Components   []Component     `json:"components"`
	Dependencies []BOMDependency `json:"dependencies"`
}

// BOMMetadata is what the document is about, who made it, and when.
type BOMMetadata struct {
	Timestamp string `json:"timestamp,omitempty"`
	Tools     struct {
		Components []Component `json:"components"`
	} `json:"tools"`
	Component  Component     `json:"component"`
	Properties []BOMProperty `json:"properties,omitempty"`
}

// Component is a package; the image, its operating system and the tool are others.
type Component struct {
	Type       string        `json:"type"`
	Ref        string        `json:"bom-ref,omitempty"`
	Supplier   *BOMSupplier  `json:"supplier,omitempty"`
	Group      string        `json:"group,omitempty"`
	Name       string        `json:"name"`
	Version    string        `json:"version,omitempty"`
	Hashes     []BOMHash     `json:"hashes,omitempty"`
	Licenses   []BOMLicense  `json:"licenses,omitempty"`
	PURL       string        `json:"purl,omitempty"`
	Properties []BOMProperty `json:"properties,omitempty"`
	Evidence   *BOMEvidence  `json:"evidence,omitempty"`
}

// BOMSupplier is who maintains a package.
type BOMSupplier struct {
	Name string `json:"name"`
}

// BOMHash is the digest of the image's manifest.
type BOMHash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

// BOMLicense is an SPDX expression, or else a licence by the name that the package gives it.
type BOMLicense struct {
	License    *BOMLicenseName `json:"license,omitempty"`
	Expression string          `json:"expression,omitempty"`
}

// BOMLicenseName is a licence that has no SPDX identifier.
type BOMLicenseName struct {
	Name string `json:"name"`
}

// BOMProperty is a name and a value. Ours begin with "camada:".
type BOMProperty struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// BOMEvidence tells where a package was found.
type BOMEvidence struct {
	Occurrences []BOMOccurrence `json:"occurrences"`
}

// BOMOccurrence is a path in the image, or in the directory.
type BOMOccurrence struct {
	Location string `json:"location"`
}

// BOMDependency lists what an element has.
type BOMDependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

// CycloneDX makes the SBOM of an image as SPDX does, in the other format. Where a package came from is told in the properties camada:layer, camada:layer:digest,
// camada:instruction, camada:dockerfile and camada:dockerfile:line.
func CycloneDX(img Image, inv inventory.Inventory, opts SPDXOptions) *BOM {
	b := &BOM{Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", SpecVersion: "1.6", Version: 1}
	b.Metadata.Tools.Components = []Component{{Type: "application", Name: "camada", Version: opts.Version}}
	about := Component{Type: "container", Ref: "image", Name: orText(img.Name, img.Digest.String()), Version: img.Digest.String()}
	if img.Digest == "" {
		about.Type, about.Ref = "file", "directory"
	} else {
		about.PURL = ImagePURL(about.Name, img.Digest, img.Platform)
		about.Hashes = []BOMHash{{hashName(img.Digest), img.Digest.Encoded()}}
	}
	b.Metadata.Component = about
	for _, name := range inv.Unread {
		b.Metadata.Properties = append(b.Metadata.Properties, BOMProperty{"camada:unread", "/" + name})
	}
	b.Components = []Component{}
	if sys := inv.Distribution; sys.ID != "" {
		b.Components = append(b.Components, Component{Type: "operating-system", Ref: "operating-system", Name: sys.ID, Version: sys.VersionID})
	}
	for i := range inv.Packages {
		b.Components = append(b.Components, component(i, &inv.Packages[i], opts.origin(i)))
	}
	all := BOMDependency{Ref: about.Ref}
	for i := range b.Components {
		all.DependsOn = append(all.DependsOn, b.Components[i].Ref)
	}
	b.Dependencies = []BOMDependency{all}
	b.Serial = b.serial()
	b.Metadata.Timestamp = opts.Created.UTC().Format("2006-01-02T15:04:05Z")
	return b
}

// Encode returns the document as JSON.
func (b *BOM) Encode() ([]byte, error) { return encode(b, "") }

// serial is a UUID (RFC 9562, version 8) of what the document lists.
func (b *BOM) serial() string {
	data, err := encode(b, "")
	if err != nil { // strings can be encoded
		return ""
	}
	h := digest.FromBytes(data).Encoded()
	return "urn:uuid:" + h[:8] + "-" + h[8:12] + "-8" + h[13:16] + "-8" + h[17:20] + "-" + h[20:32]
}

// hashName is the algorithm as CycloneDX calls it.
func hashName(d digest.Digest) string {
	return strings.Replace(strings.ToUpper(d.Algorithm().String()), "SHA", "SHA-", 1)
}

func component(i int, p *inventory.Package, from inventory.Origin) Component {
	c := Component{Type: "library", Ref: "package-" + strconv.Itoa(i+1), Name: p.Name, Version: p.Version, PURL: p.PURL,
		Evidence: &BOMEvidence{[]BOMOccurrence{{"/" + p.Found}}}}
	switch p.Type {
	case "maven":
		if group, artifact, ok := strings.Cut(p.Name, ":"); ok {
			c.Group, c.Name = group, artifact
		}
	case "npm", "composer":
		if group, name, ok := strings.Cut(p.Name, "/"); ok {
			c.Group, c.Name = group, name
		}
	}
	if p.Supplier != "" {
		c.Supplier = &BOMSupplier{p.Supplier}
	}
	if expr, ok := expression(p.License); ok {
		c.Licenses = []BOMLicense{{Expression: expr}}
	} else if p.License != "" {
		c.Licenses = []BOMLicense{{License: &BOMLicenseName{p.License}}}
	}
	add := func(name, value string) {
		if value != "" {
			c.Properties = append(c.Properties, BOMProperty{"camada:" + name, value})
		}
	}
	add("type", p.Type)
	if p.OfSystem() {
		add("source", p.Source)
		add("source:version", p.SourceVersion)
	}
	if from.Layer > 0 {
		add("layer", strconv.Itoa(from.Layer))
		add("layer:digest", from.Digest)
		add("instruction", from.Instruction)
	}
	if from.Line > 0 {
		add("dockerfile", from.Dockerfile)
		add("dockerfile:line", strconv.Itoa(from.Line))
	}
	return c
}

func orText(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
