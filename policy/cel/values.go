package cel

import (
	"bytes"
	"cmp"
	"math"
	"math/big"
	"strings"
	"time"
)

// equal is == (langdef.md, "Equality"): numbers are the same whatever they are held in, and values of different kinds are not. What is in lists and maps, and long texts, have a cost: once
// the bound is reached, the answer counts for nothing.
func (e *evaluation) equal(a, b any) bool {
	switch x := a.(type) {
	case nil:
		return b == nil
	case bool:
		y, ok := b.(bool)
		return ok && x == y
	case string:
		y, ok := b.(string)
		return ok && len(x) == len(y) && e.spend(len(x)/16) == nil && x == y
	case []byte:
		y, ok := b.([]byte)
		return ok && len(x) == len(y) && e.spend(len(x)/16) == nil && bytes.Equal(x, y)
	case time.Time:
		y, ok := b.(time.Time)
		return ok && x.Equal(y)
	case time.Duration:
		y, ok := b.(time.Duration)
		return ok && x == y
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) || e.spend(len(x)) != nil {
			return false
		}
		for i := range x {
			if !e.equal(x[i], y[i]) {
				return false
			}
		}
		return true
	}
	if isMap(a) && isMap(b) {
		return e.equalMaps(a, b)
	}
	c, ok := compareNumbers(a, b)
	return ok && c == 0
}

func (e *evaluation) equalMaps(a, b any) bool {
	if weight(a) != weight(b) || e.spend(weight(a)) != nil {
		return false
	}
	keys, _ := elements(a)
	for _, k := range keys {
		x, _ := lookUp(a, k)
		y, ok := lookUp(b, k)
		if !ok || !e.equal(x, y) {
			return false
		}
	}
	return true
}

// compare orders two values of a kind, or two numbers; ok is false when they have no order.
func compare(a, b any) (c int, ok bool) {
	switch x := a.(type) {
	case bool:
		if y, ok := b.(bool); ok {
			return number(x) - number(y), true
		}
		return 0, false
	case string:
		y, ok := b.(string)
		return strings.Compare(x, y), ok
	case []byte:
		y, ok := b.([]byte)
		return bytes.Compare(x, y), ok
	case time.Time:
		y, ok := b.(time.Time)
		return x.Compare(y), ok
	case time.Duration:
		y, ok := b.(time.Duration)
		return cmp.Compare(x, y), ok
	}
	return compareNumbers(a, b)
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// compareNumbers compares numbers by their value. NaN has no order.
func compareNumbers(a, b any) (c int, ok bool) {
	x, okA := exact(a)
	y, okB := exact(b)
	if !okA || !okB {
		return 0, false
	}
	return x.Cmp(y), true
}

// exact is a number without loss.
func exact(v any) (*big.Float, bool) {
	f := new(big.Float).SetPrec(64)
	switch v := v.(type) {
	case int64:
		return f.SetInt64(v), true
	case uint64:
		return f.SetUint64(v), true
	case float64:
		if math.IsNaN(v) {
			return nil, false
		}
		return f.SetFloat64(v), true
	}
	return nil, false
}
