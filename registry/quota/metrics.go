package quota

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// WriteMetrics writes what is used and allowed in the text format of Prometheus.
func (s *Storage) WriteMetrics(ctx context.Context, w io.Writer) error {
	list, err := s.Usage(ctx)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, family := range []struct {
		name, help string
		of         func(Used) Amount
	}{
		{"used", "What repositories with a quota hold.", func(u Used) Amount { return u.Used }},
		{"allowed", "What repositories with a quota may hold.", func(u Used) Amount { return u.Allowed }},
	} {
		fmt.Fprintf(&b, "# HELP camada_registry_quota_%s %s\n# TYPE camada_registry_quota_%s gauge\n", family.name, family.help, family.name)
		for _, u := range list {
			for _, v := range []struct {
				what       string
				n, allowed int64
			}{
				{"bytes", family.of(u).Bytes, u.Allowed.Bytes},
				{"manifests", family.of(u).Manifests, u.Allowed.Manifests},
				{"tags", family.of(u).Tags, u.Allowed.Tags},
			} {
				if v.allowed > 0 {
					fmt.Fprintf(&b, "camada_registry_quota_%s{repositories=%q,repository=%q,what=%q} %d\n", family.name, strings.Join(u.Repositories, ","), u.Repository, v.what, v.n)
				}
			}
		}
	}
	_, err = io.WriteString(w, b.String())
	return err
}
