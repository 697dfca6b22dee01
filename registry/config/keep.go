package config

import (
	"github.com/camada/camada/registry/quota"
	"github.com/camada/camada/registry/retain"
)

// readQuotas reads what repositories may hold.
func readQuotas(sections []*section) []quota.Limit {
	var list []quota.Limit
	for _, s := range sections {
		l := quota.Limit{Repositories: s.patterns("repositories"), Each: s.flag("each"),
			Allowed: quota.Amount{Bytes: s.size("size"), Manifests: int64(s.number("manifests")), Tags: int64(s.number("tags"))}}
		if l.Allowed == (quota.Amount{}) {
			s.bad(s.path, "want size, manifests or tags")
		}
		s.end()
		list = append(list, l)
	}
	return list
}

// readRetention reads which tags are kept.
func readRetention(sections []*section) []retain.Rule {
	var list []retain.Rule
	for _, s := range sections {
		r := retain.Rule{Repositories: s.patterns("repositories")}
		if s.get("tags") != nil {
			r.Tags = s.patterns("tags")
		}
		k := s.section("keep")
		if k.get("tags") != nil {
			r.Keep = k.patterns("tags")
		}
		r.Versions, r.Newest, r.Moved, r.Pulled = int(k.number("versions")), int(k.number("newest")), k.duration("moved"), k.duration("pulled")
		if len(r.Keep) == 0 && r.Versions == 0 && r.Newest == 0 && r.Moved == 0 && r.Pulled == 0 {
			s.bad(s.path, "keep is missing: without one of tags, versions, newest, moved, pulled nothing would be left")
		}
		k.end()
		s.end()
		list = append(list, r)
	}
	return list
}
