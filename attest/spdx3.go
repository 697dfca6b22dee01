package attest

import (
	"strconv"
	"strings"

	"github.com/camada/camada/inventory"
	"github.com/opencontainers/go-digest"
)

// Graph is an SPDX document of version 3.0.1 (SPDX specification 3.0.1, "Serialization", JSON-LD).
type Graph struct {
	Context  string    `json:"@context"`
	Elements []Element `json:"@graph"`
}

// Element is one of a Graph: what it is tells which of the fields it has. Elements are named by IRIs, also where they name each other.
type Element struct {
	Type string `json:"type"`
	// Node names the CreationInfo, which is no element of its own and has no ID.
	Node         string `json:"@id,omitempty"`
	ID           string `json:"spdxId,omitempty"`
	CreationInfo string `json:"creationInfo,omitempty"`
	Name         string `json:"name,omitempty"`
	Comment      string `json:"comment,omitempty"`

	// Of the CreationInfo.
	SpecVersion  string   `json:"specVersion,omitempty"`
	Created      string   `json:"created,omitempty"`
	CreatedBy    []string `json:"createdBy,omitempty"`
	CreatedUsing []string `json:"createdUsing,omitempty"`

	// Of the document and the bill in it.
	Profiles []string `json:"profileConformance,omitempty"`
	Roots    []string `json:"rootElement,omitempty"`
	Members  []string `json:"element,omitempty"`
	Kinds    []string `json:"software_sbomType,omitempty"`

	// Of packages.
	SuppliedBy  string               `json:"suppliedBy,omitempty"`
	Hashes      []ElementHash        `json:"verifiedUsing,omitempty"`
	Identifiers []ExternalIdentifier `json:"externalIdentifier,omitempty"`
	Version     string               `json:"software_packageVersion,omitempty"`
	URL         string               `json:"software_packageUrl,omitempty"`
	Purpose     string               `json:"software_primaryPurpose,omitempty"`
	SourceInfo  string               `json:"software_sourceInfo,omitempty"`

	// Of relationships.
	From         string   `json:"from,omitempty"`
	To           []string `json:"to,omitempty"`
	Relationship string   `json:"relationshipType,omitempty"`
	Completeness string   `json:"completeness,omitempty"`

	// Of licences, and of annotations, which say the words of a licence that has no identifier.
	Expression string `json:"simplelicensing_licenseExpression,omitempty"`
	Annotation string `json:"annotationType,omitempty"`
	Subject    string `json:"subject,omitempty"`
	Statement  string `json:"statement,omitempty"`
}

// ElementHash is the digest of the image's manifest.
type ElementHash struct {
	Type      string `json:"type"`
	Algorithm string `json:"algorithm"`
	Value     string `json:"hashValue"`
}

// ExternalIdentifier is a package URL.
type ExternalIdentifier struct {
	Type       string `json:"type"`
	Kind       string `json:"externalIdentifierType"`
	Identifier string `json:"identifier"`
}

// grapher makes the elements of a Graph.
type grapher struct {
	g         *Graph
	namespace string
	// agents and licenses have the IDs of those that are there, by what they say.
	agents, licenses map[string]string
	// contained are the elements that the image has.
	contained []string
}

// SPDX3 makes the SBOM of an image as SPDX does, in version 3 of the specification.
func SPDX3(img Image, inv inventory.Inventory, opts SPDXOptions) *Graph {
	about := "directory"
	if img.Digest != "" {
		about = img.Digest.Encoded()
	}
	// The name of a document is made of what it lists, so that two about one image have two names when they differ.
	sum := ""
	if data, err := encode(newGraph("", img, inv, SPDXOptions{Version: opts.Version, Origins: opts.Origins}), ""); err == nil { // strings can be encoded
		sum = digest.FromBytes(data).Encoded()[:16]
	}
	return newGraph(namespace+about+"-"+sum+"#", img, inv, opts)
}

// Encode returns the document as JSON.
func (g *Graph) Encode() ([]byte, error) { return encode(g, "") }

func newGraph(namespace string, img Image, inv inventory.Inventory, opts SPDXOptions) *Graph {
	b := &grapher{g: &Graph{Context: "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"}, namespace: namespace, agents: map[string]string{}, licenses: map[string]string{}}
	name := orText(img.Name, img.Digest.String())
	b.g.Elements = append(b.g.Elements, Element{
		Type: "CreationInfo", Node: creation, SpecVersion: "3.0.1", Created: opts.Created.UTC().Format("2006-01-02T15:04:05Z"),
		CreatedBy: []string{b.id("camada")}, CreatedUsing: []string{b.id("tool")},
	})
	b.add("SoftwareAgent", "camada", Element{Name: "camada"})
	b.add("Tool", "tool", Element{Name: "camada-" + opts.Version})
	b.add("SpdxDocument", "document", Element{Name: name, Comment: inv.UnreadText(), Roots: []string{b.id("sbom")}, Profiles: []string{"core", "software", "simpleLicensing"}})
	bill := len(b.g.Elements)
	b.add("software_Sbom", "sbom", Element{Kinds: []string{"analyzed"}, Roots: []string{b.id("image")}})
	b.image(name, img)
	if sys := inv.Distribution; sys.ID != "" {
		b.contained = append(b.contained, b.add("software_Package", "operating-system", Element{Name: sys.ID, Version: sys.VersionID, Purpose: "operatingSystem"}))
	}
	for i := range inv.Packages {
		b.pkg(i, &inv.Packages[i], opts.origin(i))
	}
	b.g.Elements[bill].Members = append([]string{b.id("image")}, b.contained...)
	if len(b.contained) > 0 {
		whole := "complete"
		if len(inv.Unread) > 0 {
			whole = "incomplete"
		}
		b.add("Relationship", "contains", Element{From: b.id("image"), To: b.contained, Relationship: "contains", Completeness: whole})
	}
	return b.g
}

// creation is the only CreationInfo.
const creation = "_:creation"

func (b *grapher) id(name string) string { return b.namespace + name }

// add adds an element of a type, and returns its ID.
func (b *grapher) add(typ, name string, e Element) string {
	e.Type, e.ID, e.CreationInfo = typ, b.id(name), creation
	b.g.Elements = append(b.g.Elements, e)
	return e.ID
}

func (b *grapher) image(name string, img Image) {
	e := Element{Name: name, Purpose: "file"}
	if img.Digest != "" {
		e.Purpose, e.Version = "container", img.Digest.String()
		e.Hashes = []ElementHash{{"Hash", img.Digest.Algorithm().String(), img.Digest.Encoded()}}
		e.URL = ImagePURL(name, img.Digest, img.Platform)
		e.Identifiers = packageURL(e.URL)
	}
	b.add("software_Package", "image", e)
}

func packageURL(purl string) []ExternalIdentifier {
	return []ExternalIdentifier{{"ExternalIdentifier", "packageUrl", purl}}
}

func (b *grapher) pkg(i int, p *inventory.Package, from inventory.Origin) {
	name := "package-" + strconv.Itoa(i+1)
	e := Element{Name: p.Name, Version: p.Version, URL: p.PURL, Identifiers: packageURL(p.PURL), SourceInfo: p.Where(), Comment: from.String()}
	if p.Supplier != "" {
		if e.SuppliedBy = b.agents[p.Supplier]; e.SuppliedBy == "" {
			e.SuppliedBy = b.add("Organization", "supplier-"+strconv.Itoa(len(b.agents)+1), Element{Name: strings.TrimSpace(p.Supplier)})
			b.agents[p.Supplier] = e.SuppliedBy
		}
	}
	id := b.add("software_Package", name, e)
	b.contained = append(b.contained, id)
	if p.License == "" {
		return
	}
	expr, ok := expression(p.License)
	if !ok {
		b.add("Annotation", name+"-license", Element{Annotation: "other", Subject: id, Statement: inventory.LicenseText(p.License)})
		return
	}
	license := b.licenses[expr]
	if license == "" {
		license = b.add("simplelicensing_LicenseExpression", "license-"+strconv.Itoa(len(b.licenses)+1), Element{Expression: expr})
		b.licenses[expr] = license
	}
	b.add("Relationship", name+"-license", Element{From: id, To: []string{license}, Relationship: "hasDeclaredLicense"})
}
