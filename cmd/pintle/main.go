// Pintle is a whole Kubernetes in one binary; see package cli for its commands.
package main

import (
	"os"

	"pintle.dev/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
