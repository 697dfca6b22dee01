package cel

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/camada/camada/errdefs"
)

// conversions are the functions that are called like types (langdef.md, "Conversions").
func (t table) conversions() {
	for _, of := range []*Type{Bool, Int, Uint, Double, String, Bytes, Timestamp, Duration} {
		if of != Timestamp && of != Duration && of != Bytes && of != Bool {
			t.add("double", false, Double, toDouble, of)
			t.add("uint", false, Uint, toUint, of)
		}
		if of != Duration && of != Bytes && of != Bool {
			t.add("int", false, Int, toInt, of)
		}
		t.add("string", false, String, toString, of)
	}
	same := func(_ *call, args []any) (any, error) { return args[0], nil }
	t.add("bool", false, Bool, same, Bool)
	t.add("bool", false, Bool, func(_ *call, args []any) (any, error) {
		switch args[0] {
		case "true", "True", "TRUE", "t", "1":
			return true, nil
		case "false", "False", "FALSE", "f", "0":
			return false, nil
		}
		return nil, errdefs.Invalid("%q is no bool", args[0])
	}, String)
	t.add("bytes", false, Bytes, same, Bytes)
	t.add("bytes", false, Bytes, func(_ *call, args []any) (any, error) { return []byte(args[0].(string)), nil }, String)
	t.add("duration", false, Duration, same, Duration)
	t.add("duration", false, Duration, func(_ *call, args []any) (any, error) {
		d, err := time.ParseDuration(args[0].(string))
		if err != nil {
			return nil, errdefs.Invalid("%q is no duration such as 90s or 12h", args[0])
		}
		return d, nil
	}, String)
	t.add("timestamp", false, Timestamp, same, Timestamp)
	t.add("timestamp", false, Timestamp, func(_ *call, args []any) (any, error) {
		m, err := time.Parse(time.RFC3339Nano, args[0].(string))
		if err != nil || m.UTC().Year() < 1 || m.UTC().Year() > 9999 {
			return nil, errdefs.Invalid("%q is no time such as 2030-01-31T12:00:00Z", args[0])
		}
		return m, nil
	}, String)
	t.add("timestamp", false, Timestamp, func(_ *call, args []any) (any, error) {
		n := args[0].(int64)
		if n < -62135596800 || n > 253402300799 {
			return nil, errOverflow
		}
		return time.Unix(n, 0).UTC(), nil
	}, Int)
}

func toInt(_ *call, args []any) (any, error) {
	switch v := args[0].(type) {
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v), nil
		}
	case float64:
		if v > -(1<<63) && v < 1<<63 { // NaN is neither
			return int64(v), nil
		}
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return nil, errdefs.Invalid("%q is no int", v)
		}
		return n, nil
	case time.Time:
		return v.Unix(), nil
	case int64:
		return v, nil
	}
	return nil, errOverflow
}

func toUint(_ *call, args []any) (any, error) {
	switch v := args[0].(type) {
	case int64:
		if v >= 0 {
			return uint64(v), nil
		}
	case float64:
		if v > -1 && v < 1<<64 && v >= 0 {
			return uint64(v), nil
		}
	case string:
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return nil, errdefs.Invalid("%q is no uint", v)
		}
		return n, nil
	case uint64:
		return v, nil
	}
	return nil, errOverflow
}

func toDouble(_ *call, args []any) (any, error) {
	switch v := args[0].(type) {
	case int64:
		return float64(v), nil
	case uint64:
		return float64(v), nil
	case string:
		f, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return nil, errdefs.Invalid("%q is no double", v)
		}
		return f, nil
	}
	return args[0], nil
}

func toString(_ *call, args []any) (any, error) {
	switch v := args[0].(type) {
	case bool:
		return strconv.FormatBool(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case uint64:
		return strconv.FormatUint(v, 10), nil
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	case []byte:
		if !utf8.Valid(v) {
			return nil, errdefs.Invalid("the bytes are not UTF-8")
		}
		return string(v), nil
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano), nil
	case time.Duration:
		return strconv.FormatFloat(v.Seconds(), 'f', -1, 64) + "s", nil
	}
	return args[0], nil
}
