package cli

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"pintle.dev/auth"
	"pintle.dev/cluster"
)

func nodeCommand() *cobra.Command {
	var c cluster.NodeConfig
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Run this machine as a node of a cluster whose server runs elsewhere",
		Long: `Node runs the node agent alone: pods bound to this machine run in its containerd. The kubeconfig with the node's
identity is made on the server's machine with "pintle node identity".`,
		Example: `  pintle node identity worker-1 --server https://10.0.0.1:6443 > worker-1.kubeconfig   # on the server's machine
  pintle node --kubeconfig worker-1.kubeconfig                                         # on the node`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.Kubeconfig == "" {
				return fmt.Errorf("no kubeconfig: give --kubeconfig FILE, made with \"pintle node identity\" on the server's machine (%w)", errUsage)
			}
			c.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
			slog.SetDefault(c.Log)
			quiet(c.Log)
			c.Progress = func(part string, took time.Duration) {
				fmt.Fprintf(cmd.OutOrStdout(), "%-16s %7.1f ms\n", part, float64(took.Microseconds())/1000)
			}
			return cluster.RunNode(cmd.Context(), c)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Kubeconfig, "kubeconfig", "", "kubeconfig with the node's identity")
	f.StringVar(&c.Data, "data", "pintle-node", "directory of the node: its pods, logs and own containerd")
	f.StringVar(&c.Name, "node-name", "", "name of the node (default: the one its identity was made for)")
	f.StringVar(&c.Containerd, "containerd", "", "socket of the host's containerd; \"none\" always starts an own one")
	f.StringVar(&c.Listen, "listen", "", fmt.Sprintf("HOST:PORT for logs, exec and port-forward, which the server opens (default :%d)", cluster.NodePort))
	f.StringVar(&c.IP, "ip", "", "the node's address (default: that of the default route)")
	cmd.AddCommand(nodeIdentityCommand())
	return cmd
}

func nodeIdentityCommand() *cobra.Command {
	var data, server, out string
	cmd := &cobra.Command{
		Use:     "identity NAME",
		Short:   "Make the kubeconfig with which a machine joins as a node",
		Long:    "Identity signs a certificate for a node with the cluster's authority. Run it where the server's data directory is.",
		Example: "  pintle node identity worker-1 --data /var/lib/pintle --server https://10.0.0.1:6443 --out worker-1.kubeconfig",
		Args:    oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if server == "" {
				return fmt.Errorf("no server: give --server https://HOST:PORT, as the node reaches it (%w)", errUsage)
			}
			text, err := cluster.NodeIdentity(data, server, args[0])
			if err != nil {
				return err
			}
			if out != "" {
				return auth.WriteFile(out, text, 0o600)
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", "pintle-data", "data directory of the server")
	cmd.Flags().StringVar(&server, "server", "", "address of the server, as the node reaches it")
	cmd.Flags().StringVar(&out, "out", "", "file to write, mode 0600 (default: standard output)")
	return cmd
}
