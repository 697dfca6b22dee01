package container_test

import (
	"context"
	"testing"

	"github.com/camada/camada/container"
)

func BenchmarkStart(b *testing.B) {
	root := busybox(b)
	m := overlayOf(b, root)
	for b.Loop() {
		p, err := container.Start(context.Background(), container.Config{ID: unique(b), Spec: defaults(b, "true"), Rootfs: m})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
