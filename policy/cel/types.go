package cel

import "strings"

// kind is what a value is.
type kind uint8

const (
	kindDyn kind = iota
	kindNull
	kindBool
	kindInt
	kindUint
	kindDouble
	kindString
	kindBytes
	kindTimestamp
	kindDuration
	kindList
	kindMap
	kindObject
)

// Type is what an expression can be. Types are not changed after they were made.
type Type struct {
	kind   kind
	name   string
	key    *Type
	elem   *Type
	fields map[string]*Type
}

// The types without parts. Dyn is anything: what it is, is found out by the evaluation.
var (
	Dyn       = &Type{kind: kindDyn, name: "dyn"}
	Null      = &Type{kind: kindNull, name: "null_type"}
	Bool      = &Type{kind: kindBool, name: "bool"}
	Int       = &Type{kind: kindInt, name: "int"}
	Uint      = &Type{kind: kindUint, name: "uint"}
	Double    = &Type{kind: kindDouble, name: "double"}
	String    = &Type{kind: kindString, name: "string"}
	Bytes     = &Type{kind: kindBytes, name: "bytes"}
	Timestamp = &Type{kind: kindTimestamp, name: "timestamp"}
	Duration  = &Type{kind: kindDuration, name: "duration"}
)

// ListOf is a list.
func ListOf(elem *Type) *Type { return &Type{kind: kindList, elem: elem} }

// MapOf is a map.
func MapOf(key, elem *Type) *Type { return &Type{kind: kindMap, key: key, elem: elem} }

// Struct is a map with these fields and no others.
func Struct(name string, fields map[string]*Type) *Type {
	return &Type{kind: kindObject, name: name, fields: fields}
}

// Elem is the type of the elements of a list, or of the values of a map; nil for others.
func (t *Type) Elem() *Type { return t.elem }

// Fields are those of a Struct.
func (t *Type) Fields() map[string]*Type { return t.fields }

// String is the type as CEL writes it.
func (t *Type) String() string {
	switch t.kind {
	case kindList:
		return "list(" + t.elem.String() + ")"
	case kindMap:
		return "map(" + t.key.String() + ", " + t.elem.String() + ")"
	}
	return t.name
}

// takes reports whether a value of type v can stand where t is wanted.
func (t *Type) takes(v *Type) bool {
	if t.kind == kindDyn || v.kind == kindDyn {
		return true
	}
	if t.kind != v.kind {
		return false
	}
	switch t.kind {
	case kindList:
		return t.elem.takes(v.elem)
	case kindMap:
		return t.key.takes(v.key) && t.elem.takes(v.elem)
	case kindObject:
		return t.name == v.name
	}
	return true
}

// comparable reports whether values of the types may be compared with ==.
func equatable(a, b *Type) bool {
	if a.kind == kindNull || b.kind == kindNull {
		return true
	}
	return a.takes(b)
}

// join is the type of both.
func join(a, b *Type) *Type {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.kind == kindDyn || b.kind == kindDyn || !a.takes(b):
		return Dyn
	}
	return a
}

func typeNames(types []*Type) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = t.String()
	}
	return strings.Join(names, ", ")
}
