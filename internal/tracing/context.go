package tracing

import (
	"context"
	"encoding/hex"
	"net/http"
	"strings"
)

// maxState bounds what is passed on of other vendors (Trace Context, section 3.3.1.5: at least 512 characters).
const maxState = 512

// Remote is ctx with the span of who sent a request (W3C Trace Context, section 3), when it names one.
func Remote(ctx context.Context, h http.Header) context.Context {
	if len(h["Traceparent"]) != 1 {
		return ctx
	}
	id, ok := parseParent(h["Traceparent"][0])
	if !ok {
		return ctx
	}
	if state := strings.Join(h["Tracestate"], ","); len(state) <= maxState && plain(state) {
		id.state = state
	}
	return context.WithValue(ctx, contextKey{}, id)
}

// plain reports whether a text is safe in a header.
func plain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// parseParent reads VERSION-TRACE-SPAN-FLAGS (section 3.2).
func parseParent(s string) (identity, bool) {
	var id identity
	// Later versions may have more at their end, and begin with the same.
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' || s[:2] == "00" && len(s) != 55 || len(s) > 55 && s[55] != '-' || len(s) > maxState {
		return id, false
	}
	var version, flags [1]byte
	if !lowerHex(version[:], s[:2]) || version[0] == 0xff || !lowerHex(id.trace[:], s[3:35]) || !lowerHex(id.span[:], s[36:52]) || !lowerHex(flags[:], s[53:55]) {
		return id, false
	}
	id.sampled = flags[0]&1 != 0
	return id, id.trace != [16]byte{} && id.span != [8]byte{}
}

func lowerHex(dst []byte, s string) bool {
	if strings.ToLower(s) != s {
		return false
	}
	_, err := hex.Decode(dst, []byte(s))
	return err == nil
}

// Inject puts the span of ctx into the header of a request, for who gets it.
func Inject(ctx context.Context, h http.Header) {
	id, ok := identityOf(ctx)
	if !ok {
		return
	}
	flags := "00"
	if id.sampled {
		flags = "01"
	}
	h["Traceparent"] = []string{"00-" + hex.EncodeToString(id.trace[:]) + "-" + hex.EncodeToString(id.span[:]) + "-" + flags}
	if delete(h, "Tracestate"); id.state != "" {
		h["Tracestate"] = []string{id.state}
	}
}
