package cli

import "github.com/spf13/cobra"

// commands lists the subcommands; completion and help are cobra's own.
func commands() []*cobra.Command {
	return []*cobra.Command{
		upCommand(),
		serverCommand(),
		backupCommand(),
		restoreCommand(),
		benchCommand(),
		nodeCommand(),
		imageCommand(),
		kubectlCommand(),
		versionCommand(),
	}
}
