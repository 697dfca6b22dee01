package hcl

import (
	"reflect"
	"strconv"

	"github.com/camada/camada/errdefs"
)

// What values are to one another: texts, numbers, truths, and how many of them are too many.

// Text is a value as a string, as templates show it.
func Text(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	}
	return "", errdefs.Invalid("%s is not a string", kind(v))
}

func number(v any) (float64, error) {
	switch v := v.(type) {
	case float64:
		return v, nil
	case string:
		if n, err := strconv.ParseFloat(v, 64); err == nil {
			return n, nil
		}
	}
	return 0, errdefs.Invalid("%s is not a number", kind(v))
}

func boolean(v any) (bool, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case string:
		if v == "true" || v == "false" {
			return v == "true", nil
		}
	}
	return false, errdefs.Invalid("%s is neither true nor false", kind(v))
}

// kind names a value for messages, without saying what a long one holds.
func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return "the number " + strconv.FormatFloat(v, 'f', -1, 64)
	case string:
		if len(v) > 60 {
			v = v[:60] + "..."
		}
		return "the string " + strconv.Quote(v)
	case []any:
		return "a list"
	}
	return "a map"
}

func equal(l, r any) bool { return reflect.DeepEqual(l, r) }

func element(of, key any) (any, error) {
	switch of := of.(type) {
	case map[string]any:
		name, err := Text(key)
		if err != nil {
			return nil, err
		}
		v, ok := of[name]
		if !ok {
			return nil, errdefs.Invalid("the map has no %q", name)
		}
		return v, nil
	case []any:
		n, err := number(key)
		if err != nil {
			return nil, err
		}
		i := int(n)
		if float64(i) != n || i < 0 || i >= len(of) {
			return nil, errdefs.Invalid("the list has %d elements, no element %v", len(of), key)
		}
		return of[i], nil
	}
	return nil, errdefs.Invalid("%s has no elements", kind(of))
}

func bounded(line int, v any) error {
	switch v := v.(type) {
	case string:
		if len(v) > maxText {
			return at(line, errdefs.Limit("a string of more than %d bytes", maxText))
		}
	case []any:
		if len(v) > maxItems {
			return at(line, errdefs.Limit("a list of more than %d elements", maxItems))
		}
	case map[string]any:
		if len(v) > maxItems {
			return at(line, errdefs.Limit("a map of more than %d elements", maxItems))
		}
	}
	return nil
}
