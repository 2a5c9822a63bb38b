package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pintle.dev/cluster"
)

func upCommand() *cobra.Command {
	var c cluster.Config
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run a whole cluster in the foreground",
		Long: `Up runs API server, controllers, scheduler and a node of this machine in one process, until it is interrupted.
A second start on the same data directory finds everything as it was; containers go on running in between.`,
		Example: `  pintle up                                # data in ./pintle-data
  pintle up --hollow-nodes 100             # with a hundred simulated nodes
  pintle up --ephemeral --no-node --listen 127.0.0.1:0 --kubeconfig /tmp/kubeconfig`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), cmd.OutOrStdout(), c, true) },
	}
	serverFlags(cmd.Flags(), &c)
	cmd.Flags().BoolVar(&c.NoNode, "no-node", false, "run no node agent on this machine")
	cmd.Flags().StringVar(&c.NodeName, "node-name", "", "name of this machine's node (default: the host's name)")
	cmd.Flags().StringVar(&c.Containerd, "containerd", "", "socket of the host's containerd; \"none\" always starts an own one (default: the host's where it runs, else an own one)")
	cmd.Flags().IntVar(&c.HollowNodes, "hollow-nodes", 0, "number of simulated nodes, which accept pods and report them running")
	return cmd
}

func serverCommand() *cobra.Command {
	c := cluster.Config{NoNode: true}
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run the control plane: API server, controllers, scheduler",
		Example: `  pintle server --data /var/lib/pintle --listen 0.0.0.0:6443
  pintle server --ephemeral --kubeconfig /tmp/kubeconfig`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), cmd.OutOrStdout(), c, false) },
	}
	serverFlags(cmd.Flags(), &c)
	cmd.Flags().BoolVar(&c.NoControllers, "no-controllers", false, "serve the API alone")
	return cmd
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%q: %s takes no arguments (%w)", args[0], cmd.CommandPath(), errUsage)
	}
	return nil
}

// oneArg wants the one argument that usage names.
func oneArg(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%d arguments: want %s (%w)", len(args), cmd.UseLine(), errUsage)
	}
	return nil
}

// defaultListen is where kubectl and scripts expect an API server.
const defaultListen = "127.0.0.1:6443"

func serverFlags(f *pflag.FlagSet, c *cluster.Config) {
	f.StringVar(&c.Data, "data", "", "directory that keeps everything (default ./pintle-data)")
	f.BoolVar(&c.Ephemeral, "ephemeral", false, "keep objects in memory only")
	f.StringVar(&c.Listen, "listen", defaultListen, "HOST:PORT to serve on; port 0 takes a free one")
	f.StringSliceVar(&c.Hosts, "host", nil, "further name or address that clients reach the server by, for its certificate")
	f.StringVar(&c.Kubeconfig, "kubeconfig", "", "file to write the administrator's kubeconfig to when ready (default DATA/kubeconfig)")
}

// startSettles is how long after a start its controllers and nodes have done their first work.
const startSettles = 2 * time.Second

// run starts a system, says how to reach it, and ends it when ctx does.
func run(ctx context.Context, out io.Writer, c cluster.Config, hints bool) error {
	if c.Data == "" && !c.Ephemeral {
		c.Data = "pintle-data"
	}
	if c.Kubeconfig == "" && c.Data != "" {
		c.Kubeconfig = filepath.Join(c.Data, "kubeconfig")
	}
	loaded := tuneCollector()
	deepenStacks(ctx)
	began := time.Now()
	c.Progress = func(part string, took time.Duration) {
		fmt.Fprintf(out, "%-16s %7.1f ms\n", part, float64(took.Microseconds())/1000)
	}
	c.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	slog.SetDefault(c.Log)
	quiet(c.Log)
	sys, err := cluster.Start(ctx, c)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "ready after %.0f ms at %s\n", float64(time.Since(began).Microseconds())/1000, sys.URL())
	if hints {
		printHints(out, c)
	}
	started := time.AfterFunc(startSettles, func() {
		loaded()
		if err := forgetStart(); err != nil {
			c.Log.Warn("cannot give back the memory that starting took", "err", err)
		}
	})
	defer started.Stop()
	var failure error
	select {
	case <-ctx.Done():
		fmt.Fprintln(out, "stopping")
	case failure = <-sys.Failed():
	}
	if err := sys.Close(); failure == nil {
		failure = err
	}
	return failure
}

func printHints(out io.Writer, c cluster.Config) {
	if c.Kubeconfig == "" {
		fmt.Fprintln(out, "\nno kubeconfig was written: name a file with --kubeconfig FILE")
		return
	}
	fmt.Fprintf(out, `
  export KUBECONFIG=%s
  kubectl get nodes
  kubectl create deployment hello --image=IMAGE --replicas=3

(without kubectl on this machine: pintle kubectl)
`, absolute(c.Kubeconfig))
}

func absolute(path string) string {
	if p, err := filepath.Abs(path); err == nil {
		return p
	}
	return path
}
