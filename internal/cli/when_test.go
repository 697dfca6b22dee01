package cli

import (
	"testing"
	"time"
)

func TestParseWhen(t *testing.T) {
	zone := time.FixedZone("", 3600)
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, zone)
	for text, want := range map[string]time.Time{
		"":                          {},
		"10m":                       now.Add(-10 * time.Minute),
		"1767366245":                time.Unix(1767366245, 0),
		"1767366245.5":              time.Unix(1767366245, 500000000),
		"2026-01-02T15:04:05Z":      time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC),
		"2026-01-02T15:04:05.25":    time.Date(2026, 1, 2, 15, 4, 5, 250000000, zone),
		"2026-01-02T15:04":          time.Date(2026, 1, 2, 15, 4, 0, 0, zone),
		"2026-01-02":                time.Date(2026, 1, 2, 0, 0, 0, 0, zone),
		"2026-01-02T15:04:05+02:00": time.Date(2026, 1, 2, 13, 4, 5, 0, time.UTC),
	} {
		if got, err := parseWhen(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, bad := range []string{"soon", "1.x", "2026-13-01", "12:00"} {
		if got, err := parseWhen(bad, now); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}
