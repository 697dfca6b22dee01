package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// parseWhen reads a time as docker's --since does: how long before now, seconds since 1970, or a date in RFC 3339 or parts of it, in the
// local zone when it has none. "" is the zero time.
func parseWhen(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d), nil
	}
	seconds, fraction, _ := strings.Cut(text, ".")
	if n, err := strconv.ParseInt(seconds, 10, 64); err == nil {
		const digits = 9
		nanos, err := strconv.ParseInt((fraction + "000000000")[:digits], 10, 64)
		if err == nil && nanos >= 0 && len(fraction) <= digits {
			return time.Unix(n, nanos), nil
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02T15:04Z07:00", "2006-01-02", "2006-01-02Z07:00"} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("want a time such as 2026-01-02T15:04:05Z, seconds since 1970, or how long ago, such as 10m")
}
