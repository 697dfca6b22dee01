package errdefs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/camada/camada/errdefs"
)

func TestClassSurvivesWrapping(t *testing.T) {
	err := fmt.Errorf("open store: %w", errdefs.NotFound("tag %q: %w", "app", fs.ErrNotExist))
	if !errdefs.IsNotFound(err) {
		t.Errorf("IsNotFound(%v) = false", err)
	}
	if errdefs.IsConflict(err) {
		t.Errorf("IsConflict(%v) = true", err)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cause is lost in %v", err)
	}
	if got, want := err.Error(), `open store: tag "app": file does not exist`; got != want {
		t.Errorf("text = %q, want %q", got, want)
	}
}

func TestWith(t *testing.T) {
	if errdefs.With(errdefs.ErrLimit, nil) != nil {
		t.Error("With(class, nil) is not nil")
	}
	if err := errdefs.With(errdefs.ErrLimit, errors.New("too many entries")); !errdefs.IsLimit(err) || err.Error() != "too many entries" {
		t.Errorf("With = %v", err)
	}
}
