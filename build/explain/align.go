package explain

import "strings"

// maxAlign bounds the table of an alignment; longer stretches are paired by place.
const maxAlign = 400

// align pairs the instructions of two versions of a stage: for each of b the place in a, or -1. Equal ones at the
// beginning and end are paired first, the rest so that as much as possible stays alike.
func align(a, b []string) []int {
	pairs := make([]int, len(b))
	for i := range pairs {
		pairs[i] = -1
	}
	lo := 0
	for lo < len(a) && lo < len(b) && a[lo] == b[lo] {
		pairs[lo] = lo
		lo++
	}
	ea, eb := len(a), len(b)
	for ea > lo && eb > lo && a[ea-1] == b[eb-1] {
		ea, eb = ea-1, eb-1
		pairs[eb] = ea
	}
	n, m := ea-lo, eb-lo
	switch {
	case n == 0 || m == 0:
	case n > maxAlign || m > maxAlign:
		for i := range min(n, m) {
			if score(a[lo+i], b[lo+i]) > 0 {
				pairs[lo+i] = lo + i
			}
		}
	default:
		for i, j := range table(a[lo:ea], b[lo:eb]) {
			if j >= 0 {
				pairs[lo+i] = lo + j
			}
		}
	}
	return pairs
}

// table finds the pairs with the greatest sum of scores that do not cross.
func table(a, b []string) []int {
	n, m := len(a), len(b)
	best := make([][]float64, n+1)
	for i := range best {
		best[i] = make([]float64, m+1)
	}
	scores := make([][]float64, n)
	for i := n - 1; i >= 0; i-- {
		scores[i] = make([]float64, m)
		for j := m - 1; j >= 0; j-- {
			scores[i][j] = score(a[i], b[j])
			best[i][j] = max(best[i+1][j], best[i][j+1])
			if s := scores[i][j]; s > 0 {
				best[i][j] = max(best[i][j], s+best[i+1][j+1])
			}
		}
	}
	pairs := make([]int, m)
	for j := range pairs {
		pairs[j] = -1
	}
	for i, j := 0, 0; i < n && j < m; {
		switch {
		case scores[i][j] > 0 && best[i][j] == scores[i][j]+best[i+1][j+1]:
			pairs[j] = i
			i, j = i+1, j+1
		case best[i][j] == best[i+1][j]:
			i++
		default:
			j++
		}
	}
	return pairs
}

// score says how much two instructions are alike: 0 for not at all, 4 for equal.
func score(a, b string) float64 {
	if a == b {
		return 4
	}
	va, ra, _ := strings.Cut(a, " ")
	vb, rb, _ := strings.Cut(b, " ")
	s := similarity(ra, rb)
	switch {
	case strings.EqualFold(va, vb):
		return 1 + 2*s
	case s > 0.5 && va != "FROM" && vb != "FROM":
		return s
	}
	return 0
}

// similarity is the share of words that two texts have in common, from 0 to 1.
func similarity(a, b string) float64 {
	wa, wb := strings.Fields(a), strings.Fields(b)
	if len(wa)+len(wb) == 0 {
		return 1
	}
	count := make(map[string]int, len(wa))
	for _, w := range wa {
		count[w]++
	}
	common := 0
	for _, w := range wb {
		if count[w] > 0 {
			count[w]--
			common++
		}
	}
	return 2 * float64(common) / float64(len(wa)+len(wb))
}

// lineDiff tells which lines of two texts differ, with at most one equal line around. Both are short.
func lineDiff(a, b string) []string {
	la, lb := strings.Split(strings.TrimRight(a, "\n"), "\n"), strings.Split(strings.TrimRight(b, "\n"), "\n")
	if len(la) > maxAlign || len(lb) > maxAlign {
		return nil
	}
	// The longest common subsequence.
	best := make([][]int, len(la)+1)
	for i := range best {
		best[i] = make([]int, len(lb)+1)
	}
	for i := len(la) - 1; i >= 0; i-- {
		for j := len(lb) - 1; j >= 0; j-- {
			if best[i][j] = max(best[i+1][j], best[i][j+1]); la[i] == lb[j] {
				best[i][j] = best[i+1][j+1] + 1
			}
		}
	}
	var out []string
	i, j := 0, 0
	for i < len(la) || j < len(lb) {
		switch {
		case i < len(la) && j < len(lb) && la[i] == lb[j]:
			out = append(out, " "+la[i])
			i, j = i+1, j+1
		case j == len(lb) || i < len(la) && best[i+1][j] >= best[i][j+1]:
			out = append(out, "-"+la[i])
			i++
		default:
			out = append(out, "+"+lb[j])
			j++
		}
	}
	return nearChanges(out)
}

// nearChanges leaves out equal lines that are not next to a changed one.
func nearChanges(lines []string) []string {
	changed := func(i int) bool { return i >= 0 && i < len(lines) && lines[i][0] != ' ' }
	var out []string
	for i, l := range lines {
		if changed(i-1) || changed(i) || changed(i+1) {
			out = append(out, l)
		}
	}
	return out
}
