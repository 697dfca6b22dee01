package engine

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/inventory"
	"github.com/opencontainers/go-digest"
)

// scanMagic begins what is remembered of an image.
const scanMagic = "CAMADASC"

// scanCoder writes or reads what is remembered of an image, by one description of it for both: scanned.code. All texts stand together before the rest, each once, so that to read is to cut one text; JSON
// took longer than all else that a scan of a known image does.
type scanCoder struct {
	reading bool
	// texts are in out's order; index has their places when writing.
	texts []string
	index map[string]int
	out   []byte
	in    []byte
	bad   bool
}

// number writes or reads one that is not below -1.
func (c *scanCoder) number(n *int) {
	if !c.reading {
		c.out = binary.AppendUvarint(c.out, uint64(*n+1))
		return
	}
	v, size := binary.Uvarint(c.in)
	if size <= 0 || v > 1<<31 {
		c.bad, c.in = true, nil
		return
	}
	*n, c.in = int(v)-1, c.in[size:]
}

// count is the length of a list, whose members take a byte at least.
func (c *scanCoder) count(n int) int {
	c.number(&n)
	if c.reading && (c.bad || n < 0 || n > len(c.in)) {
		c.bad = true
		return 0
	}
	return n
}

func (c *scanCoder) text(s *string) {
	if !c.reading {
		i, ok := c.index[*s]
		if !ok {
			i = len(c.texts)
			c.index[*s], c.texts = i, append(c.texts, *s)
		}
		c.number(&i)
		return
	}
	i := 0
	if c.number(&i); i < 0 || i >= len(c.texts) {
		c.bad = true
		return
	}
	*s = c.texts[i]
}

func (c *scanCoder) digest(d *digest.Digest) {
	s := string(*d)
	c.text(&s)
	*d = digest.Digest(s)
}

// list codes each member of a list, which is made when reading.
func list[T any](c *scanCoder, l *[]T, each func(*T)) {
	n := c.count(len(*l))
	if c.reading {
		*l = slices.Grow([]T(nil), n)[:n]
	}
	for i := range *l {
		if each(&(*l)[i]); c.bad {
			return
		}
	}
}

// code says what is remembered, in which order.
func (s *scanned) code(c *scanCoder) {
	d := &s.Inventory.Distribution
	for _, t := range []*string{&d.ID, &d.VersionID, &d.Codename, &d.PrettyName} {
		c.text(t)
	}
	list(c, &s.Inventory.Unread, c.text)
	n := c.count(len(s.Inventory.Packages))
	if c.reading {
		s.Inventory.Packages = slices.Grow(s.Inventory.Packages, n)[:n]
	}
	for i := range s.Inventory.Packages {
		p := &s.Inventory.Packages[i]
		c.text(&p.Type)
		c.text(&p.Name)
		c.text(&p.Version)
		c.text(&p.Arch)
		c.text(&p.Source)
		c.text(&p.SourceVersion)
		c.text(&p.License)
		c.text(&p.Supplier)
		c.text(&p.PURL)
		c.text(&p.Found)
	}
	list(c, &s.Layers, c.number)
	list(c, &s.Places, func(p *ScanPlace) {
		c.number(&p.Layer)
		c.text(&p.LayerDigest)
		c.text(&p.Instruction)
		c.text(&p.Dockerfile)
		c.number(&p.Line)
		c.text(&p.From)
	})
	type program struct {
		path  string
		layer digest.Digest
	}
	var programs []program
	for path, layer := range s.Programs {
		programs = append(programs, program{path, layer})
	}
	list(c, &programs, func(p *program) {
		c.text(&p.path)
		c.digest(&p.layer)
	})
	if c.reading && len(programs) > 0 {
		s.Programs = make(map[string]digest.Digest, len(programs))
		for _, p := range programs {
			s.Programs[p.path] = p.layer
		}
	}
}

// MarshalBinary implements encoding.BinaryMarshaler.
func (s *scanned) MarshalBinary() ([]byte, error) {
	c := &scanCoder{index: map[string]int{}}
	s.code(c)
	out := append([]byte(scanMagic), 0, 0, 0, 0)
	out = binary.AppendUvarint(out, uint64(len(c.texts)))
	for _, t := range c.texts {
		out = binary.AppendUvarint(out, uint64(len(t)))
	}
	for _, t := range c.texts {
		out = append(out, t...)
	}
	out = append(out, c.out...)
	copy(out[len(scanMagic):], scanSum(out[len(scanMagic)+4:]))
	return out, nil
}

// scanSum is the checksum of what follows it. It finds what was cut or damaged, not what someone changed who may write to the store.
func scanSum(body []byte) []byte {
	return binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(body))
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler. What is damaged is ErrCorrupt.
func (s *scanned) UnmarshalBinary(data []byte) error {
	damaged := errdefs.Corrupt("what is remembered of the image is damaged")
	const head = len(scanMagic) + 4
	if len(data) < head || string(data[:len(scanMagic)]) != scanMagic || string(data[len(scanMagic):head]) != string(scanSum(data[head:])) {
		return damaged
	}
	rest := data[head:]
	next := func() uint64 {
		n, size := binary.Uvarint(rest)
		if size <= 0 {
			rest = nil
			return uint64(len(data)) + 1 // more than there can be
		}
		rest = rest[size:]
		return n
	}
	n := next()
	if n > uint64(len(rest)) {
		return damaged
	}
	sizes := make([]int, n)
	total := 0
	for i := range sizes {
		size := next()
		if size > uint64(len(rest)-min(total, len(rest))) {
			return damaged
		}
		sizes[i] = int(size)
		total += sizes[i]
	}
	if total > len(rest) {
		return damaged
	}
	all := string(rest[:total])
	c := &scanCoder{reading: true, texts: make([]string, n), in: rest[total:]}
	for i, size := range sizes {
		c.texts[i], all = all[:size], all[size:]
	}
	*s = scanned{}
	s.Inventory.Packages = []inventory.Package{}
	if s.code(c); c.bad || len(c.in) > 0 || len(s.Layers) > 0 && len(s.Layers) != len(s.Inventory.Packages) {
		return damaged
	}
	return nil
}
