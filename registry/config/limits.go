package config

import (
	"time"

	"github.com/camada/camada/registry/access"
)

func readLimits(s *section) Limits {
	l := Limits{Blob: s.Size("blob"), Patience: s.Duration("patience"), Rate: s.Number("rate"), Burst: int(s.Number("burst")), Uploads: int(s.Number("uploads"))}
	for _, r := range s.sections("rates") {
		l.Rates = append(l.Rates, readRate(r))
	}
	s.End()
	return l
}

func readRate(s *section) access.Limit {
	l := access.Limit{Count: int(s.Number("count"))}
	rule := readRuleKeys(s)
	l.Repositories, l.Users, l.Actions = rule.Repositories, rule.Users, rule.Actions
	if l.Actions&^(access.Pull|access.Push|access.Delete) != 0 {
		s.Bad(s.Sub("actions"), "want pull, push or delete")
	}
	switch l.Every = s.Duration("every"); {
	case l.Count > 0 && l.Every == 0:
		s.Bad(s.Path, "every is missing: the time in which so many are allowed")
	case l.Every > 0 && l.Every < time.Second:
		s.Bad(s.Sub("every"), "want a second at least")
	}
	s.End()
	return l
}

func readTraces(s *section) Traces {
	t := Traces{Endpoint: s.Text("endpoint"), Ratio: -1}
	if s.Values["ratio"] != nil {
		if t.Ratio = s.Number("ratio"); t.Ratio > 1 {
			s.Bad(s.Sub("ratio"), "want a number from 0 to 1")
		}
	}
	s.End()
	return t
}
