package secret

// search finds many words in one pass over the bytes (Aho and Corasick), whatever the case of ASCII letters.
type search struct {
	class [256]byte
	// width is how many entries of next a state has. An entry is the next state, with hit set where words end.
	width int
	next  []uint16
	// ends has the words that end in a state.
	ends [][]uint16
	size []int
	// longest is the size of the longest word.
	longest int
	// words are what is looked for, rules what each is a keyword of.
	words []string
	rules [][]*rule
}

const hit = 1 << 15

// newSearch takes words of lower case, fewer than a state's number can count.
func newSearch(words []string) *search {
	s := &search{width: 1, size: make([]int, len(words))}
	for _, w := range words {
		for i := range len(w) {
			if c := w[i]; s.class[c] == 0 {
				s.class[c] = byte(s.width)
				s.width++
			}
		}
	}
	for c := byte('a'); c <= 'z'; c++ {
		s.class[c-'a'+'A'] = s.class[c]
	}
	grow := func() uint16 {
		s.next = append(s.next, make([]uint16, s.width)...)
		s.ends = append(s.ends, nil)
		return uint16(len(s.ends) - 1)
	}
	grow()
	for i, w := range words {
		s.size[i] = len(w)
		s.longest = max(s.longest, len(w))
		at := uint16(0)
		for j := range len(w) {
			k := int(at)*s.width + int(s.class[w[j]])
			if s.next[k] == 0 {
				n := grow()
				s.next[k] = n
			}
			at = s.next[k]
		}
		s.ends[at] = append(s.ends[at], uint16(i))
	}
	s.link()
	return s
}

// link fills in where a state goes on that has no such child: where its longest suffix does.
func (s *search) link() {
	fail := make([]uint16, len(s.ends))
	var queue []uint16
	for c := range s.width {
		if n := s.next[c]; n != 0 {
			queue = append(queue, n)
		}
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for c := range s.width {
			k, f := int(at)*s.width+c, s.next[int(fail[at])*s.width+c]
			n := s.next[k]
			if n == 0 {
				s.next[k] = f
				continue
			}
			fail[n] = f
			s.ends[n] = append(s.ends[n], s.ends[f]...)
			queue = append(queue, n)
		}
	}
	for i, n := range s.next {
		if len(s.ends[n]) > 0 {
			s.next[i] = n | hit
		}
	}
}

// each calls found with each word that ends in data[from:], and where it begins and ends. Words that begin before from are found when data has them.
func (s *search) each(data []byte, from int, found func(word, start, end int)) {
	state := 0
	for i := max(0, from-s.longest); i < len(data); i++ {
		n := s.next[state*s.width+int(s.class[data[i]])]
		state = int(n &^ hit)
		if n&hit != 0 && i >= from {
			for _, w := range s.ends[state] {
				found(int(w), i+1-s.size[w], i+1)
			}
		}
	}
}
