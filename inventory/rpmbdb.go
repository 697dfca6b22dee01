package inventory

import (
	"encoding/binary"
	"errors"
)

var errBDB = errors.New("a hash database of Berkeley DB that is damaged")

// bdb is a hash database of Berkeley DB (its dbinc/db_page.h): pages of pairs of a key and a value.
type bdb struct {
	data []byte
	page int
	order
	bytes int64
}

// order is little or big endian.
type order interface {
	Uint16(b []byte) uint16
	Uint32(b []byte) uint32
}

// The kinds of pages and items.
const (
	bdbHashUnsorted = 2
	bdbOverflow     = 7
	bdbHash         = 13
	bdbKeyData      = 1
	bdbOffPage      = 3
	bdbHead         = 26
)

// rpmBDB yields the headers in Packages. The pages are visited one after the other, whatever bucket they are of.
func rpmBDB(data []byte, yield func([]byte) error) error {
	if len(data) < 512 {
		return errBDB
	}
	b := &bdb{data: data, order: binary.LittleEndian, bytes: 2 * int64(len(data))}
	const magic = 0x061561
	if b.Uint32(data[12:]) != magic {
		if b.order = binary.BigEndian; b.Uint32(data[12:]) != magic {
			return errBDB
		}
	}
	if b.page = int(b.Uint32(data[20:])); b.page < 512 || b.page > 64<<10 || b.page&(b.page-1) != 0 || data[24] != 0 {
		return errBDB
	}
	// The first page says which is the last one: a file that was cut off has fewer.
	if last := int64(b.Uint32(data[32:])); len(data)%b.page != 0 || (last+1)*int64(b.page) > int64(len(data)) {
		return errBDB
	}
	for at := b.page; at+b.page <= len(data); at += b.page {
		p := data[at : at+b.page]
		if kind := p[25]; kind != bdbHash && kind != bdbHashUnsorted {
			continue
		}
		if err := b.pairs(p, yield); err != nil {
			return err
		}
	}
	return nil
}

func (b *bdb) pairs(p []byte, yield func([]byte) error) error {
	count := int(b.Uint16(p[20:]))
	if bdbHead+2*count > len(p) {
		return errBDB
	}
	end := len(p) // where the item before begins: they lie from the end of the page on
	for i := range count {
		at := int(b.Uint16(p[bdbHead+2*i:]))
		if at < bdbHead || at >= end {
			return errBDB
		}
		item := p[at:end]
		end = at
		if i%2 == 0 {
			continue // a key
		}
		value := item[1:]
		switch {
		case item[0] == bdbOffPage && len(item) >= 12:
			var err error
			if value, err = b.overflow(b.Uint32(item[4:]), int64(b.Uint32(item[8:]))); err != nil {
				return err
			}
		case item[0] != bdbKeyData:
			return errBDB
		}
		if len(value) == 4 { // the number that the next package gets
			continue
		}
		if err := yield(value); err != nil {
			return err
		}
	}
	return nil
}

// overflow reads a value that has pages of its own.
func (b *bdb) overflow(number uint32, size int64) ([]byte, error) {
	if b.bytes -= size; size < 0 || b.bytes < 0 {
		return nil, errBDB
	}
	out := make([]byte, 0, size)
	for int64(len(out)) < size {
		at := int64(number) * int64(b.page)
		if number == 0 || at+int64(b.page) > int64(len(b.data)) {
			return nil, errBDB
		}
		p := b.data[at : at+int64(b.page)]
		n := int(b.Uint16(p[22:]))
		if p[25] != bdbOverflow || n == 0 || bdbHead+n > len(p) {
			return nil, errBDB
		}
		out = append(out, p[bdbHead:bdbHead+n]...)
		number = b.Uint32(p[16:])
	}
	if int64(len(out)) != size {
		return nil, errBDB
	}
	return out, nil
}
