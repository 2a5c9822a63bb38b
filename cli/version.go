package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"pintle.dev/server/describe"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version, and that of the Kubernetes API it serves",
		Example: "  pintle version",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := describe.Version()
			build := "built"
			if v.GitCommit != "" {
				build += " of " + v.GitCommit[:min(12, len(v.GitCommit))]
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "pintle %s (%s with %s, %s/%s)\n", v.GitVersion, build, v.GoVersion, runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
