package local_test

import (
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/content/contenttest"
	"github.com/camada/camada/content/local"
)

func TestStore(t *testing.T) {
	contenttest.Run(t, func(t *testing.T) content.Store { return local.Open(t.TempDir(), local.Options{}) })
}
