package test

import (
	"net/http/httptest"
	"testing"
)

// parityServer serves files and a git repository to both builders, on this machine alone, and returns its address.
func parityServer(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(nil)
	t.Cleanup(s.Close)
	return s.URL
}
