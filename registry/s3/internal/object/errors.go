package object

import (
	"fmt"
	"io"
	"net/http"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/xmltree"
)

// parseXML parses an answer.
func parseXML(data []byte) (*xmltree.Element, error) {
	e, err := xmltree.Parse(data)
	if err != nil {
		return nil, errdefs.Corrupt("the object store's answer is not XML: %w", err)
	}
	return e, nil
}

// failure gives an answer that is none its class: ErrNotFound, ErrConflict for a condition that does not hold, ErrInvalid for a range, and
// ErrUnavailable for what may pass. All else has none: what the store does not let us do is no fault of whoever asks the registry.
func failure(status int, body io.Reader) error {
	// What is not XML, or is of a proxy on the way, has no code: the status says enough.
	code, message := "", ""
	if data, err := io.ReadAll(body); err == nil {
		if e, err := parseXML(data); err == nil {
			code, message = e.Get("Code"), e.Get("Message")
		}
	}
	if code == "" {
		code = http.StatusText(status)
	}
	var class errdefs.Class
	switch {
	case code == "NoSuchBucket":
		class = errdefs.ErrUnavailable // it says nothing about the object
	case status == http.StatusNotFound:
		class = errdefs.ErrNotFound
	case status == http.StatusPreconditionFailed || status == http.StatusNotModified:
		class = errdefs.ErrConflict
	case status == http.StatusRequestedRangeNotSatisfiable:
		class = errdefs.ErrInvalid
	case code == "RequestTimeTooSkewed", code == "ExpiredToken", code == "RequestExpired":
		class = errdefs.ErrUnavailable // the next try knows the store's clock, and newer credentials
	case status == http.StatusConflict, // another write to the same key was under way
		status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500,
		code == "RequestTimeout", code == "SlowDown", code == "ThrottlingException", code == "OperationAborted":
		class = errdefs.ErrUnavailable
	}
	err := fmt.Errorf("the object store says %d %.60s: %.200s", status, code, message)
	if class != "" {
		err = errdefs.With(class, err)
	}
	return err
}
