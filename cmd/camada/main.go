// Command camada builds, keeps, ships, runs and guards container images.
package main

import (
	"os"
	"runtime/debug"

	"github.com/camada/camada/container"
	"github.com/camada/camada/internal/cli"
	"github.com/camada/camada/userns"
)

// memory is how much of it, in bytes, is used without hurry to give some back. Contexts of hundreds of thousands of files
// need half of it: without this, as much again would be garbage before it is collected.
const memory = 160 << 20

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
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory)
	}
	os.Exit(cli.Main(version))
}
