package engine

import (
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
)

// searchFilter makes one test of docker's filters for search.
func searchFilter(filters []string) (func(SearchRow) bool, error) {
	var tests []func(SearchRow) bool
	for _, f := range filters {
		key, value, _ := strings.Cut(f, "=")
		if key == "stars" {
			n, err := strconv.Atoi(value)
			if err != nil {
				return nil, errdefs.Invalid("filter %q: %q is not a number", f, value)
			}
			tests = append(tests, func(r SearchRow) bool { return r.StarCount >= n })
			continue
		}
		want, err := strconv.ParseBool(value)
		switch {
		case key != "is-official" && key != "is-automated":
			return nil, errdefs.Invalid("filter %q: want stars=N, is-official=BOOL or is-automated=BOOL", f)
		case err != nil:
			return nil, errdefs.Invalid("filter %q: %q is neither true nor false", f, value)
		case key == "is-official":
			tests = append(tests, func(r SearchRow) bool { return r.IsOfficial == want })
		default:
			tests = append(tests, func(r SearchRow) bool { return r.IsAutomated == want })
		}
	}
	return func(r SearchRow) bool {
		for _, t := range tests {
			if !t(r) {
				return false
			}
		}
		return true
	}, nil
}
