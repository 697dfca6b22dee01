package config

import (
	"github.com/camada/camada/registry/quota"
	"github.com/camada/camada/registry/retain"
)

// readQuotas reads what repositories may hold.
func readQuotas(sections []*section) []quota.Limit {
	var list []quota.Limit
	for _, s := range sections {
		l := quota.Limit{Repositories: s.patterns("repositories"), Each: s.Flag("each"),
			Allowed: quota.Amount{Bytes: s.Size("size"), Manifests: int64(s.Number("manifests")), Tags: int64(s.Number("tags"))}}
		if l.Allowed == (quota.Amount{}) {
			s.Bad(s.Path, "want size, manifests or tags")
		}
		s.End()
		list = append(list, l)
	}
	return list
}

// readRetention reads which tags are kept.
func readRetention(sections []*section) []retain.Rule {
	var list []retain.Rule
	for _, s := range sections {
		r := retain.Rule{Repositories: s.patterns("repositories")}
		if s.Get("tags") != nil {
			r.Tags = s.patterns("tags")
		}
		k := s.section("keep")
		if k.Get("tags") != nil {
			r.Keep = k.patterns("tags")
		}
		r.Versions, r.Newest, r.Moved, r.Pulled = int(k.Number("versions")), int(k.Number("newest")), k.Duration("moved"), k.Duration("pulled")
		if len(r.Keep) == 0 && r.Versions == 0 && r.Newest == 0 && r.Moved == 0 && r.Pulled == 0 {
			s.Bad(s.Path, "keep is missing: without one of tags, versions, newest, moved, pulled nothing would be left")
		}
		k.End()
		s.End()
		list = append(list, r)
	}
	return list
}
