package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"pintle.dev/bench"
)

func benchCommand() *cobra.Command {
	var c bench.Config
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure an API server, and the floor that no server can beat, side by side",
		Long: `Bench does the same work against any Kubernetes API server and against a bare net/http server that answers the same requests
with constant bytes of the same size (the floor), and prints each figure also as a multiple of the floor's. It makes namespaces
and a CustomResourceDefinition of its own and removes what it made.`,
		Example: `  pintle bench --kubeconfig pintle-data/kubeconfig --pid $(pidof pintle)
  pintle bench --kubeconfig ~/.kube/config --pid 4711 --pid 4712 --json > upstream.json   # kube-apiserver and etcd
  pintle bench --kubeconfig pintle-data/kubeconfig --curve 1000,10000,100000`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.Kubeconfig == "" {
				return fmt.Errorf("no server is named: give --kubeconfig FILE (%w)", errUsage)
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("finding this program, to run it as the floor: %w", err)
			}
			c.Command = []string{self, "bench"}
			c.Progress = func(format string, args ...any) { fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...) }
			report, err := bench.Run(cmd.Context(), c)
			if report != nil {
				if asJSON {
					e := json.NewEncoder(cmd.OutOrStdout())
					e.SetIndent("", "  ")
					err = errors.Join(err, e.Encode(report))
				} else {
					_, werr := report.WriteTo(cmd.OutOrStdout())
					err = errors.Join(err, werr)
				}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Kubeconfig, "kubeconfig", "", "kubeconfig of the server; its user must be allowed to do everything")
	f.IntSliceVar(&c.PIDs, "pid", nil, "process of the server, for CPU and memory; give all it has")
	f.IntVar(&c.Objects, "objects", 10_000, "objects of each kind")
	f.IntVar(&c.Writers, "writers", 32, "requests in flight")
	f.IntVar(&c.Watchers, "watchers", 100, "watchers of the fan-out")
	f.IntVar(&c.Rate, "rate", 100, "updates a second of the fan-out")
	f.DurationVar(&c.Duration, "duration", 10*time.Second, "how long the fan-out lasts")
	f.IntVar(&c.IdleWatches, "idle-watches", 0, "watches to measure the memory of, on a server that has done nothing yet")
	f.IntVar(&c.Pods, "pods", 0, "pods of a Deployment to bring up; needs nodes (pintle up --hollow-nodes 100)")
	f.IntVar(&c.Definitions, "crds", 0, "CustomResourceDefinitions of 20 KB to make")
	f.IntSliceVar(&c.Curve, "curve", nil, "numbers of objects to measure the cost at, ascending")
	f.StringSliceVar(&c.Kinds, "kinds", nil, "customresources, configmaps, pods (watched by their nodes), none (default all)")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(floorCommand(), listerCommand())
	return cmd
}

// floorCommand is the floor server that bench runs as a process of its own.
func floorCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "floor",
		Short:  "Serve constant answers of the sizes that one is told",
		Hidden: true,
		Args:   noArgs,
		RunE:   func(cmd *cobra.Command, _ []string) error { return bench.ServeFloor(cmd.Context(), cmd.OutOrStdout()) },
	}
}

// listerCommand is the other client that bench runs as a process of its own.
func listerCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "lister",
		Short:  "List what standard input says, again and again",
		Hidden: true,
		Args:   noArgs,
		RunE:   func(cmd *cobra.Command, _ []string) error { return bench.List(cmd.Context(), cmd.InOrStdin()) },
	}
}
