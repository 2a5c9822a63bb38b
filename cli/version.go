package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"pintle.dev/server"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version, and that of the Kubernetes API it serves",
		Example: "  pintle version",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "pintle %s (%s, %s/%s)\n", server.Version().GitVersion, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
