package attest

import (
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/inventory"
	"github.com/opencontainers/go-digest"
)

// Image is what an SBOM is of: an image, or a directory.
type Image struct {
	// Name is what people call it; it may be empty.
	Name string
	// Digest is of its manifest; empty for a directory.
	Digest digest.Digest
	// Platform is os/arch[/variant].
	Platform string
}

// SPDXOptions are what an SBOM says of itself.
type SPDXOptions struct {
	// Version of the program that makes it.
	Version string
	// Created is when it is made.
	Created time.Time
	// Origins tell for each package of the inventory, in its order, where it came from; nil when that is not known.
	Origins []inventory.Origin
}

// origin is that of package i.
func (o *SPDXOptions) origin(i int) inventory.Origin {
	if i >= len(o.Origins) {
		return inventory.Origin{}
	}
	return o.Origins[i]
}

// Document is an SPDX document (SPDX specification 2.3, JSON).
type Document struct {
	SPDXVersion   string         `json:"spdxVersion"`
	DataLicense   string         `json:"dataLicense"`
	SPDXID        string         `json:"SPDXID"`
	Name          string         `json:"name"`
	Namespace     string         `json:"documentNamespace"`
	Creation      Creation       `json:"creationInfo"`
	Comment       string         `json:"comment,omitempty"`
	Packages      []SPDXPackage  `json:"packages"`
	Relationships []Relationship `json:"relationships"`
}

// Creation is who made a document, and when.
type Creation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

// SPDXPackage is a package; the image is one too.
type SPDXPackage struct {
	SPDXID           string        `json:"SPDXID"`
	Name             string        `json:"name"`
	Version          string        `json:"versionInfo,omitempty"`
	Supplier         string        `json:"supplier,omitempty"`
	DownloadLocation string        `json:"downloadLocation"`
	FilesAnalyzed    bool          `json:"filesAnalyzed"`
	Checksums        []Checksum    `json:"checksums,omitempty"`
	SourceInfo       string        `json:"sourceInfo,omitempty"`
	Comment          string        `json:"comment,omitempty"`
	LicenseConcluded string        `json:"licenseConcluded"`
	LicenseDeclared  string        `json:"licenseDeclared"`
	LicenseComments  string        `json:"licenseComments,omitempty"`
	Copyright        string        `json:"copyrightText"`
	ExternalRefs     []ExternalRef `json:"externalRefs,omitempty"`
	Purpose          string        `json:"primaryPackagePurpose,omitempty"`
}

// Checksum is of the image's manifest.
type Checksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

// ExternalRef is a package URL.
type ExternalRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

// Relationship joins two elements.
type Relationship struct {
	Element string `json:"spdxElementId"`
	Type    string `json:"relationshipType"`
	Related string `json:"relatedSpdxElement"`
}

const (
	none       = "NOASSERTION"
	documentID = "SPDXRef-DOCUMENT"
	imageID    = "SPDXRef-Image"
	systemID   = "SPDXRef-OperatingSystem"
	// namespace begins the names of documents; the digest of what is in one makes it unique.
	namespace = BuilderID + "/spdx/"
)

// SPDX makes the SBOM of an image. It lists what an inventory does; files that no package owns are not in it.
func SPDX(img Image, inv inventory.Inventory, opts SPDXOptions) *Document {
	name := img.Name
	if name == "" {
		name = img.Digest.String()
	}
	d := &Document{
		SPDXVersion: "SPDX-2.3", DataLicense: "CC0-1.0", SPDXID: documentID, Name: name,
		Creation: Creation{Created: opts.Created.UTC().Format("2006-01-02T15:04:05Z"), Creators: []string{"Tool: camada-" + opts.Version}},
		Comment:  inv.UnreadText(),
	}
	d.image(name, img)
	d.system(inv.Distribution)
	for i := range inv.Packages {
		d.add(i, &inv.Packages[i], opts.origin(i))
	}
	about := "directory"
	if img.Digest != "" {
		about = img.Digest.Encoded()
	}
	d.Namespace = namespace + about + "-" + d.sum()
	return d
}

// sum is of what the document lists, so that two documents about one image have two names when they differ.
func (d *Document) sum() string {
	timeless := *d
	timeless.Creation.Created = ""
	data, err := encode(&timeless, "")
	if err != nil { // strings can be encoded
		return ""
	}
	return digest.FromBytes(data).Encoded()[:16]
}

// Encode returns the document as JSON.
func (d *Document) Encode() ([]byte, error) { return encode(d, "") }

func (d *Document) relate(element, how, related string) {
	d.Relationships = append(d.Relationships, Relationship{element, how, related})
}

func (d *Document) image(name string, img Image) {
	p := SPDXPackage{
		SPDXID: imageID, Name: name, Version: img.Digest.String(), DownloadLocation: none,
		LicenseConcluded: none, LicenseDeclared: none, Copyright: none, Purpose: "FILE",
	}
	if img.Digest != "" {
		p.Purpose = "CONTAINER"
		p.Checksums = []Checksum{{strings.ToUpper(img.Digest.Algorithm().String()), img.Digest.Encoded()}}
		p.ExternalRefs = []ExternalRef{purlRef(ImagePURL(name, img.Digest, img.Platform))}
	}
	d.Packages = append(d.Packages, p)
	d.relate(documentID, "DESCRIBES", imageID)
}

func (d *Document) system(sys inventory.Distribution) {
	if sys.ID == "" {
		return
	}
	d.Packages = append(d.Packages, SPDXPackage{
		SPDXID: systemID, Name: sys.ID, Version: sys.VersionID, DownloadLocation: none,
		LicenseConcluded: none, LicenseDeclared: none, Copyright: none, Purpose: "OPERATING_SYSTEM",
	})
	d.relate(imageID, "CONTAINS", systemID)
}

func (d *Document) add(i int, p *inventory.Package, from inventory.Origin) {
	s := SPDXPackage{
		SPDXID: "SPDXRef-Package-" + strconv.Itoa(i+1) + "-" + idString(p.Name), Name: p.Name, Version: p.Version,
		Supplier: supplier(p.Supplier), DownloadLocation: none, LicenseConcluded: none, LicenseDeclared: none, Copyright: none,
		SourceInfo: p.Where(), Comment: from.String(),
		ExternalRefs: []ExternalRef{purlRef(p.PURL)},
	}
	if p.License != "" {
		if expr, ok := expression(p.License); ok {
			s.LicenseDeclared = expr
		} else {
			s.LicenseComments = inventory.LicenseText(p.License)
		}
	}
	d.Packages = append(d.Packages, s)
	d.relate(imageID, "CONTAINS", s.SPDXID)
}

func purlRef(purl string) ExternalRef { return ExternalRef{"PACKAGE-MANAGER", "purl", purl} }

// supplier writes "Name <address>" as SPDX has it.
func supplier(s string) string {
	if s == "" {
		return ""
	}
	name, mail, ok := strings.Cut(s, "<")
	if name = strings.TrimSpace(name); ok && name != "" {
		return "Organization: " + name + " (" + strings.TrimSuffix(strings.TrimSpace(mail), ">") + ")"
	}
	return "Organization: " + s
}

// idString leaves of a name what an SPDX identifier can have: letters, digits, dots and dashes.
func idString(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, s)
}
