package config

import (
	"time"

	"github.com/camada/camada/registry/access"
)

func readLimits(s *section) Limits {
	l := Limits{Blob: s.size("blob"), Patience: s.duration("patience"), Rate: s.number("rate"), Burst: int(s.number("burst")), Uploads: int(s.number("uploads"))}
	for _, r := range s.sections("rates") {
		l.Rates = append(l.Rates, readRate(r))
	}
	s.end()
	return l
}

func readRate(s *section) access.Limit {
	l := access.Limit{Count: int(s.number("count"))}
	rule := readRuleKeys(s)
	l.Repositories, l.Users, l.Actions = rule.Repositories, rule.Users, rule.Actions
	if l.Actions&^(access.Pull|access.Push|access.Delete) != 0 {
		s.bad(s.sub("actions"), "want pull, push or delete")
	}
	switch l.Every = s.duration("every"); {
	case l.Count > 0 && l.Every == 0:
		s.bad(s.path, "every is missing: the time in which so many are allowed")
	case l.Every > 0 && l.Every < time.Second:
		s.bad(s.sub("every"), "want a second at least")
	}
	s.end()
	return l
}

func readTraces(s *section) Traces {
	t := Traces{Endpoint: s.text("endpoint"), Ratio: -1}
	if s.values["ratio"] != nil {
		if t.Ratio = s.number("ratio"); t.Ratio > 1 {
			s.bad(s.sub("ratio"), "want a number from 0 to 1")
		}
	}
	s.end()
	return t
}
