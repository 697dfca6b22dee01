package inventory

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/camada/camada/errdefs"
)

var errSQLite = errors.New("a database of SQLite that is damaged")

// sqlite is a database file (sqlite.org, "Database File Format") that is only read, and only from the first to the last row of a table.
type sqlite struct {
	data []byte
	page int
	// usable is how much of a page is not reserved.
	usable int
	// left is how many pages and bytes may still be visited: a sound file has each once.
	pages int
	bytes int64
}

// rpmSQLite yields the headers in rpmdb.sqlite: the column blob of the table Packages.
func rpmSQLite(data []byte, yield func([]byte) error) error {
	if len(data) < 512 || string(data[:16]) != "SQLite format 3\x00" {
		return errSQLite
	}
	s := &sqlite{data: data, page: int(binary.BigEndian.Uint16(data[16:]))}
	if s.page == 1 {
		s.page = 64 << 10
	}
	s.usable = s.page - int(data[20])
	if s.page < 512 || s.page&(s.page-1) != 0 || s.usable < 480 || len(data)%s.page != 0 {
		return errSQLite
	}
	s.pages, s.bytes = 2*len(data)/s.page+2, 2*int64(len(data))
	root := 0
	err := s.table(1, 0, func(row [][]byte) error {
		if len(row) >= 4 && string(row[0]) == "table" && string(row[1]) == "Packages" {
			for _, c := range row[3] {
				root = root<<8 | int(c)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if root == 0 {
		return nil
	}
	return s.table(root, 0, func(row [][]byte) error {
		if len(row) < 2 {
			return errSQLite
		}
		return yield(row[1])
	})
}

// table visits the rows of a table's tree. Values are valid until fn returns.
func (s *sqlite) table(number, depth int, fn func(row [][]byte) error) error {
	if s.pages--; s.pages < 0 || depth > 32 || number < 1 || number > len(s.data)/s.page {
		return errSQLite
	}
	p := s.data[(number-1)*s.page:][:s.page]
	head := 0
	if number == 1 {
		head = 100
	}
	kind, count := p[head], int(binary.BigEndian.Uint16(p[head+3:]))
	size := 8
	if kind == 5 {
		size = 12
	}
	if kind != 5 && kind != 13 || head+size+2*count > len(p) {
		return errSQLite
	}
	for i := range count {
		at := int(binary.BigEndian.Uint16(p[head+size+2*i:]))
		if at+4 > len(p) {
			return errSQLite
		}
		var err error
		if kind == 5 {
			err = s.table(int(binary.BigEndian.Uint32(p[at:])), depth+1, fn)
		} else {
			err = s.cell(p[at:min(len(p), s.usable)], fn)
		}
		if err != nil {
			return err
		}
	}
	if kind == 5 {
		return s.table(int(binary.BigEndian.Uint32(p[head+8:])), depth+1, fn)
	}
	return nil
}

// cell reads one row, of which what does not fit lies on a chain of further pages ("Cell Payload Overflow Pages").
func (s *sqlite) cell(b []byte, fn func(row [][]byte) error) error {
	size, n := sqliteInt(b)
	_, m := sqliteInt(b[n:])
	if n == 0 || m == 0 {
		return errSQLite
	}
	if s.bytes -= size; size < 0 || s.bytes < 0 {
		return errSQLite
	}
	b = b[n+m:]
	here, most := size, int64(s.usable-35)
	if size > most {
		least := int64((s.usable-12)*32/255 - 23)
		if here = least + (size-least)%int64(s.usable-4); here > most {
			here = least
		}
	}
	if here > int64(len(b)) {
		return errSQLite
	}
	if here == size {
		return sqliteRow(b[:size], fn)
	}
	if here+4 > int64(len(b)) {
		return errSQLite
	}
	row, next := slices.Clone(b[:here]), int(binary.BigEndian.Uint32(b[here:]))
	for int64(len(row)) < size {
		if s.pages--; s.pages < 0 || next < 1 || next > len(s.data)/s.page {
			return errSQLite
		}
		p := s.data[(next-1)*s.page:][:s.usable]
		next = int(binary.BigEndian.Uint32(p))
		row = append(row, p[4:4+min(int64(len(p)-4), size-int64(len(row)))]...)
	}
	return sqliteRow(row, fn)
}

// sqliteRow splits a record ("Record Format") into its values; NULL and the numbers 0 and 1 are empty.
func sqliteRow(b []byte, fn func(row [][]byte) error) error {
	size, n := sqliteInt(b)
	if n == 0 || size < int64(n) || size > int64(len(b)) {
		return errSQLite
	}
	types, values := b[n:size], b[size:]
	var row [][]byte
	for len(types) > 0 {
		t, n := sqliteInt(types)
		if n == 0 || t < 0 {
			return errSQLite
		}
		types = types[n:]
		var length int64
		switch {
		case t >= 12:
			length = (t - 12) / 2
		case t <= 4:
			length = t
		case t == 5:
			length = 6
		case t <= 7:
			length = 8
		}
		if length > int64(len(values)) || len(row) > 100 {
			return errSQLite
		}
		row, values = append(row, values[:length]), values[length:]
	}
	return fn(row)
}

// sqliteInt reads a varint; its length is 0 when it is cut off.
func sqliteInt(b []byte) (v int64, n int) {
	for n < len(b) && n < 8 {
		c := b[n]
		n++
		v = v<<7 | int64(c&0x7f)
		if c < 0x80 {
			return v, n
		}
	}
	if n < 8 || n == len(b) {
		return 0, 0
	}
	return v<<8 | int64(b[n]), n + 1
}

// rpmNDB yields the headers in Packages.db, rpm's own format (its lib/backend/ndb): pages of slots, each with the place of one header in blocks of 16 bytes.
func rpmNDB(data []byte, yield func([]byte) error) error {
	const page, block = 4096, 16
	le := binary.LittleEndian
	if len(data) < page || string(data[:4]) != "RpmP" {
		return errors.New("a database of the kind ndb that is damaged")
	}
	slots := uint64(le.Uint32(data[12:])) * page
	if slots > uint64(len(data)) {
		return errors.New("a database of the kind ndb that is cut off")
	}
	left := 2 * int64(len(data))
	for at := uint64(2 * block); at+block <= slots; at += block {
		slot := data[at:]
		number, place := le.Uint32(slot[4:]), uint64(le.Uint32(slot[8:]))*block
		if string(slot[:4]) != "Slot" {
			return errors.New("a slot that is none")
		}
		if number == 0 {
			continue
		}
		if place+block > uint64(len(data)) || string(data[place:place+4]) != "BlbS" || le.Uint32(data[place+4:]) != number {
			return errors.New("a slot without its header")
		}
		size := uint64(le.Uint32(data[place+12:]))
		if size > uint64(len(data))-place-block {
			return errors.New("a header that is cut off")
		}
		if left -= int64(size); left < 0 {
			return errdefs.Limit("the headers have more bytes than the file")
		}
		if err := yield(data[place+block : place+block+size]); err != nil {
			return err
		}
	}
	return nil
}
