package engine

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/inventory"
	"github.com/opencontainers/go-digest"
)

// fill gives all that is exported a value of its own.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d", *n))
	case reflect.Int:
		v.SetInt(int64(*n))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), n)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range 3 {
			fill(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 3 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(key, n)
			fill(value, n)
			v.SetMapIndex(key, value)
		}
	default:
		panic(v.Type())
	}
}

// TestRememberAll: what is remembered comes back, all fields of it, also those that others add one day.
func TestRememberAll(t *testing.T) {
	var full scanned
	n := 0
	fill(reflect.ValueOf(&full).Elem(), &n)
	full.Layers[0] = -1
	for _, s := range []*scanned{&full, {Inventory: inventory.Inventory{Packages: []inventory.Package{}}}} {
		data, err := s.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var got scanned
		if err := got.UnmarshalBinary(data); err != nil || !reflect.DeepEqual(&got, s) {
			t.Errorf("got %+v, %v\nwant %+v", got, err, *s)
		}
		for i := range data {
			if err := got.UnmarshalBinary(data[:i]); !errdefs.IsCorrupt(err) {
				t.Errorf("%d bytes of it: %v", i, err)
			}
			data[i] ^= 1
			if err := got.UnmarshalBinary(data); !errdefs.IsCorrupt(err) {
				t.Errorf("with another byte %d: %v", i, err)
			}
			data[i] ^= 1
		}
	}
	store := &scanStore{t.TempDir()}
	id := digest.FromString("x")
	if store.get(id) != nil {
		t.Error("it remembers what it never saw")
	}
	if err := store.put(id, &full); err != nil {
		t.Fatal(err)
	}
	if got := store.get(id); got == nil || !reflect.DeepEqual(got, &full) {
		t.Errorf("got %+v", got)
	}
}

// FuzzRemembered changes what lies behind the checksum.
func FuzzRemembered(f *testing.F) {
	var full scanned
	n := 0
	fill(reflect.ValueOf(&full).Elem(), &n)
	data, err := full.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[len(scanMagic)+4:])
	f.Fuzz(func(t *testing.T, body []byte) {
		doc := append([]byte(scanMagic), scanSum(body)...)
		var s scanned
		if err := s.UnmarshalBinary(append(doc, body...)); err != nil {
			return
		}
		again, err := s.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var other scanned
		if err := other.UnmarshalBinary(again); err != nil || !reflect.DeepEqual(other, s) {
			t.Errorf("%+v became %+v, %v", s, other, err)
		}
	})
}
