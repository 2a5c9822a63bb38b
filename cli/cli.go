// Package cli is the pintle command: one file per subcommand, listed in commands.go. It reads flags into a
// cluster.Config, runs what was asked for, and says plainly what went wrong. It decides nothing else.
package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Main runs the command line and returns the exit status: 0, 1 for a failure, 2 for words that make no command.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "pintle:", err)
		return 2
	}
	var exit exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	fmt.Fprintln(os.Stderr, "pintle:", err)
	return 1
}

// errUsage marks an error in the words of the command.
var errUsage = errors.New("see --help")

// exitError carries the exit status of a program that was run in pintle's place, which has said what there is to say.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", e.code) }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "pintle",
		Short: "A whole Kubernetes in one binary",
		Long: `Pintle is a whole Kubernetes in one binary: API server with custom resources, controllers, scheduler, node agent.
kubectl, Helm, client-go and controller-runtime work with it unchanged.`,
		Example: `  pintle up                          # a cluster on this machine, in the foreground
  pintle up --ephemeral --no-node    # a control plane in memory, for tests
  pintle kubectl get nodes           # kubectl, for machines without it`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%s: %w (%w)", c.CommandPath(), err, errUsage)
	})
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddCommand(commands()...)
	return root
}
