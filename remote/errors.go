package remote

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/camada/camada/errdefs"
)

// maxErrorBody bounds what is read of the body of an answer that is an error, in bytes.
const maxErrorBody = 64 << 10

// errorBody is the body of errors (OCI distribution-spec, "Error Codes").
type errorBody struct {
	Errors []struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"errors"`
}

// statusError makes an error of an answer, and closes it.
func statusError(res *http.Response) error {
	defer res.Body.Close()
	text := short(printable(res.Status))
	if text == "" {
		text = http.StatusText(res.StatusCode)
	}
	if data, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody)); err == nil {
		if said := saying(data); said != "" {
			text += ": " + said
		}
	}
	r := &refusal{status: res.StatusCode, err: errdefs.New(classOf(res.StatusCode), "%s", text)}
	if r.status == http.StatusTooManyRequests || r.status >= http.StatusInternalServerError {
		r.after = retryAfter(res.Header.Get("Retry-After"))
	}
	return r
}

// saying is what the registry says of an error, in one line; "" when nothing.
func saying(data []byte) string {
	var body errorBody
	if json.Unmarshal(data, &body) != nil {
		return ""
	}
	var parts []string
	for _, e := range body.Errors {
		if s := strings.TrimSpace(e.Message); s != "" {
			parts = append(parts, s)
		} else if e.Code != "" {
			parts = append(parts, e.Code)
		}
		if len(parts) == 3 {
			break
		}
	}
	return short(printable(strings.Join(parts, "; ")))
}

// maxSaying is how much of what a registry says is told, in characters.
const maxSaying = 300

// short cuts off what is too long to be told.
func short(line string) string {
	if r := []rune(line); len(r) > maxSaying {
		return string(r[:maxSaying]) + "…"
	}
	return line
}

// printable drops what could write to a terminal more than text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, s)
}

// classOf is the class of a status that is an error.
func classOf(status int) errdefs.Class {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusPaymentRequired, http.StatusProxyAuthRequired:
		return errdefs.ErrPermission
	case http.StatusNotFound, http.StatusGone:
		return errdefs.ErrNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return errdefs.ErrConflict
	case http.StatusRequestEntityTooLarge, http.StatusInsufficientStorage:
		return errdefs.ErrLimit
	case http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusUnsupportedMediaType, http.StatusNotImplemented:
		return errdefs.ErrUnsupported
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusTooEarly:
		return errdefs.ErrUnavailable
	}
	if status >= 500 {
		return errdefs.ErrUnavailable
	}
	return errdefs.ErrInvalid
}

// isCertificateError reports whether a server could not prove who it is.
func isCertificateError(err error) bool {
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var hostname x509.HostnameError
	return errors.As(err, &verify) || errors.As(err, &unknown) || errors.As(err, &hostname)
}

// isUnknownHost reports whether there is no host of the registry's name.
func isUnknownHost(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}
