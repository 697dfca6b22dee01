package keyless_test

import (
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/sign/keyless"
	"github.com/camada/camada/sign/signtest"
)

// TestTokenAsArgument has the token where the name of a file belongs: no error shows it.
func TestTokenAsArgument(t *testing.T) {
	token := signtest.Token("me@example.com", "https://issuer.example.com")
	_, err := keyless.Token(t.Context(), keyless.New(keyless.Options{}), token, func(string) string { return "" })
	if !errdefs.IsInvalid(err) || strings.Contains(err.Error(), token[:20]) {
		t.Errorf("%v", err)
	}
}
