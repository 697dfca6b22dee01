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
			s.bad(s.path, "the name %q is there twice", i.Name)
		}
		list = append(list, i)
	}
	return list
}

func readIssuer(s *section) oidc.Issuer {
	i := oidc.Issuer{Name: s.text("name"), URL: s.text("url"), Keys: s.text("keys"), CA: s.file("ca"), Credential: s.file("credential"),
		Audiences: s.texts("audience"), Algorithms: s.texts("algorithms"), User: s.text("user"), Prefix: s.text("prefix")}
	if i.Keys != "" && !strings.Contains(i.Keys, "://") {
		i.Keys = s.file("keys")
	}
	if s.values["prefix"] == nil { // no name of an issuer's users is that of one of ours, unless somebody wants it so
		i.Prefix = i.Name + ":"
	}
	m := s.section("match")
	for _, claim := range slices.Sorted(maps.Keys(m.values)) {
		i.Match = append(i.Match, oidc.Condition{Claim: claim, Patterns: m.patterns(claim)})
	}
	m.end()
	if i.User == access.Everybody {
		s.bad(s.sub("user"), "%s is everybody", access.Everybody)
	}
	if err := i.Check(); err != nil {
		s.bad(s.path, "%w", err)
	}
	s.end()
	return i
}
