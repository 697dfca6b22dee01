package sbom

import (
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/inventory"
)

// maxGraph is how many licences, names of suppliers and relationships between them and packages are kept.
const maxGraph = 2 * inventory.MaxPackages

// graph is what a document of SPDX 3 says, before the elements that name each other are joined.
type graph struct {
	packages []graphPackage
	// expressions and agents are by their IDs, licenses and words by that of the package.
	expressions, agents, licenses, words map[string]string
}

type graphPackage struct {
	described
	id, agent string
}

// element is one element with the fields that matter.
type element struct {
	graphPackage
	typ              string
	from, to, how    string
	expression       string
	subject, said    string
	unread, urlAlone string
}

// spdx3 reads the elements of a graph, which come in any order (SPDX specification 3.0.1, "Serialization").
func (r *reader) spdx3() error {
	g := &graph{expressions: map[string]string{}, agents: map[string]string{}, licenses: map[string]string{}, words: map[string]string{}}
	err := r.Object(func(name string) error {
		if name != "@graph" {
			return nil
		}
		return r.Array(func() error {
			e, err := r.element()
			if err != nil {
				return err
			}
			return r.take(g, e)
		})
	})
	if err != nil {
		return err
	}
	for i := range g.packages {
		p := &g.packages[i]
		p.supplier = g.agents[p.agent]
		p.license, p.words = g.expressions[g.licenses[p.id]], g.words[p.id]
		switch p.purpose {
		case "operatingSystem":
			r.system(&p.described)
			fallthrough
		case "container", "file", "source":
			if p.purl == "" {
				continue
			}
		}
		if err := r.add(&p.described); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) element() (*element, error) {
	var e element
	return &e, r.Object(func(name string) error {
		switch name {
		case "type", "@type":
			e.typ = r.Text()
		case "spdxId", "@id":
			e.id = r.Text()
		case "name":
			e.name = r.Text()
		case "comment":
			s := r.Text()
			e.origin, _ = inventory.ParseOrigin(s)
			e.unread = s
		case "suppliedBy":
			e.agent = r.First()
		case "software_packageVersion":
			e.version = r.Text()
		case "software_packageUrl":
			e.urlAlone = r.Text()
		case "software_primaryPurpose":
			e.purpose = r.Text()
		case "software_sourceInfo":
			e.found, e.source, e.sourceVersion, _ = inventory.ParseWhere(r.Text())
		case "externalIdentifier":
			return r.Array(func() error { return r.purl(&e.described, "externalIdentifierType", "packageUrl", "identifier") })
		case "from":
			e.from = r.Text()
		case "to":
			e.to = r.First()
		case "relationshipType":
			e.how = r.Text()
		case "simplelicensing_licenseExpression":
			e.expression = r.Text()
		case "subject":
			e.subject = r.Text()
		case "statement":
			e.said = r.Text()
		}
		return nil
	})
}

// take keeps what an element says.
func (r *reader) take(g *graph, e *element) error {
	switch e.typ {
	case "SpdxDocument":
		r.Name, r.Unread = e.name, inventory.ParseUnread(e.unread)
	case "software_Package":
		if e.purl == "" {
			e.purl = e.urlAlone
		}
		g.packages = append(g.packages, e.graphPackage)
	case "Organization", "Person", "SoftwareAgent", "Agent":
		g.agents[e.id] = e.name
	case "simplelicensing_LicenseExpression":
		g.expressions[e.id] = e.expression
	case "Relationship":
		if e.how == "hasDeclaredLicense" {
			g.licenses[e.from] = e.to
		}
	case "Annotation":
		if said, ok := inventory.ParseLicenseText(e.said); ok {
			g.words[e.subject] = said
		}
	}
	if len(g.packages) > maxGraph || len(g.agents)+len(g.expressions)+len(g.licenses)+len(g.words) > maxGraph {
		return errdefs.Limit("read the SBOM: more than %d elements that tell of packages", maxGraph)
	}
	return nil
}
