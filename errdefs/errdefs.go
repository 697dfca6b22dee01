// Package errdefs names the classes of errors that camada's packages return.
//
// A package gives an error its class where the cause is known, and wraps it
// with what was being done to what on the way up:
//
//	return errdefs.NotFound("tag %s: no such image", ref)
//	return fmt.Errorf("read manifest %s: %w", dgst, err)
//
// A caller asks for the class, never for the text:
//
//	if errdefs.IsNotFound(err) { ... }
//
// A class says what a caller can do about the error. Exit codes and HTTP
// statuses are derived from classes in the faces (internal/cli and registry),
// in one place each.
package errdefs

import (
	"errors"
	"fmt"
)

// Class is the kind of an error. A Class is itself an error, so that
// errors.Is(err, errdefs.ErrNotFound) works on any wrapped error.
type Class string

// Error returns the class's name as a phrase.
func (c Class) Error() string { return string(c) }

// The classes.
const (
	// ErrNotFound: the thing asked for does not exist.
	ErrNotFound Class = "not found"
	// ErrAlreadyExists: the thing to be made is there already.
	ErrAlreadyExists Class = "already exists"
	// ErrInvalid: the input is malformed; trying again will not help.
	ErrInvalid Class = "invalid argument"
	// ErrConflict: the state does not allow the operation (a lost
	// compare-and-swap, a container that still runs, an immutable tag).
	ErrConflict Class = "conflict"
	// ErrPermission: the caller may not do this.
	ErrPermission Class = "permission denied"
	// ErrCorrupt: stored or received bytes are not what their digest, size or
	// format promised.
	ErrCorrupt Class = "corrupt data"
	// ErrLimit: a limit on size, count, depth or time was exceeded.
	ErrLimit Class = "limit exceeded"
	// ErrUnsupported: known, but not supported here or not supported yet.
	ErrUnsupported Class = "not supported"
	// ErrUnavailable: a peer, device or resource cannot be used right now;
	// trying again may help.
	ErrUnavailable Class = "unavailable"
)

// classed is an error with a class that does not repeat the class in its text.
type classed struct {
	class Class
	err   error
}

func (e *classed) Error() string        { return e.err.Error() }
func (e *classed) Unwrap() error        { return e.err }
func (e *classed) Is(target error) bool { c, ok := target.(Class); return ok && c == e.class }

// New returns an error of class c with a text formatted as fmt.Errorf does
// (so %w works). The text does not repeat the class.
func New(c Class, format string, args ...any) error {
	return &classed{class: c, err: fmt.Errorf(format, args...)}
}

// With gives err the class c and keeps its text. With(c, nil) is nil.
func With(c Class, err error) error {
	if err == nil {
		return nil
	}
	return &classed{class: c, err: err}
}

// NotFound is New with ErrNotFound.
func NotFound(format string, args ...any) error { return New(ErrNotFound, format, args...) }

// AlreadyExists is New with ErrAlreadyExists.
func AlreadyExists(format string, args ...any) error { return New(ErrAlreadyExists, format, args...) }

// Invalid is New with ErrInvalid.
func Invalid(format string, args ...any) error { return New(ErrInvalid, format, args...) }

// Conflict is New with ErrConflict.
func Conflict(format string, args ...any) error { return New(ErrConflict, format, args...) }

// Permission is New with ErrPermission.
func Permission(format string, args ...any) error { return New(ErrPermission, format, args...) }

// Corrupt is New with ErrCorrupt.
func Corrupt(format string, args ...any) error { return New(ErrCorrupt, format, args...) }

// Limit is New with ErrLimit.
func Limit(format string, args ...any) error { return New(ErrLimit, format, args...) }

// Unsupported is New with ErrUnsupported.
func Unsupported(format string, args ...any) error { return New(ErrUnsupported, format, args...) }

// Unavailable is New with ErrUnavailable.
func Unavailable(format string, args ...any) error { return New(ErrUnavailable, format, args...) }

// IsNotFound reports whether err is of class ErrNotFound.
func IsNotFound(err error) bool { return errors.Is(err, ErrNotFound) }

// IsAlreadyExists reports whether err is of class ErrAlreadyExists.
func IsAlreadyExists(err error) bool { return errors.Is(err, ErrAlreadyExists) }

// IsInvalid reports whether err is of class ErrInvalid.
func IsInvalid(err error) bool { return errors.Is(err, ErrInvalid) }

// IsConflict reports whether err is of class ErrConflict.
func IsConflict(err error) bool { return errors.Is(err, ErrConflict) }

// IsPermission reports whether err is of class ErrPermission.
func IsPermission(err error) bool { return errors.Is(err, ErrPermission) }

// IsCorrupt reports whether err is of class ErrCorrupt.
func IsCorrupt(err error) bool { return errors.Is(err, ErrCorrupt) }

// IsLimit reports whether err is of class ErrLimit.
func IsLimit(err error) bool { return errors.Is(err, ErrLimit) }

// IsUnsupported reports whether err is of class ErrUnsupported.
func IsUnsupported(err error) bool { return errors.Is(err, ErrUnsupported) }

// IsUnavailable reports whether err is of class ErrUnavailable.
func IsUnavailable(err error) bool { return errors.Is(err, ErrUnavailable) }
