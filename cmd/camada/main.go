// Command camada builds, keeps, ships, runs and guards container images.
package main

import (
	"os"

	"github.com/camada/camada/container"
	"github.com/camada/camada/internal/cli"
	"github.com/camada/camada/userns"
)

// version is set when the binary is linked.
var version = "dev"

func main() {
	// The same binary becomes the first process of each container, and the first
	// process of a user namespace; both come before anything else is done.
	if container.IsInit() {
		container.RunInit()
	}
	if userns.IsChild() {
		userns.RunChild()
	}
	os.Exit(cli.Main(version))
}
