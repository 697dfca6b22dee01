package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/camada/camada/registry/access"
	"github.com/camada/camada/registry/oidc"
)

// readIssuers reads whose tokens are believed.
func readIssuers(top *section) []oidc.Issuer {
	var list []oidc.Issuer
	for _, s := range top.sections("issuers") {
		i := readIssuer(s)
		if slices.ContainsFunc(list, func(o oidc.Issuer) bool { return o.Name == i.Name }) {
			s.Bad(s.Path, "the name %q is there twice", i.Name)
		}
		list = append(list, i)
	}
	return list
}

func readIssuer(s *section) oidc.Issuer {
	i := oidc.Issuer{Name: s.Text("name"), URL: s.Text("url"), Keys: s.Text("keys"), CA: s.file("ca"), Credential: s.file("credential"),
		Audiences: s.Texts("audience"), Algorithms: s.Texts("algorithms"), User: s.Text("user"), Prefix: s.Text("prefix")}
	if i.Keys != "" && !strings.Contains(i.Keys, "://") {
		i.Keys = s.file("keys")
	}
	if s.Values["prefix"] == nil { // no name of an issuer's users is that of one of ours, unless somebody wants it so
		i.Prefix = i.Name + ":"
	}
	m := s.section("match")
	for _, claim := range slices.Sorted(maps.Keys(m.Values)) {
		i.Match = append(i.Match, oidc.Condition{Claim: claim, Patterns: m.patterns(claim)})
	}
	m.End()
	if i.User == access.Everybody {
		s.Bad(s.Sub("user"), "%s is everybody", access.Everybody)
	}
	if err := i.Check(); err != nil {
		s.Bad(s.Path, "%w", err)
	}
	s.End()
	return i
}
